# SPDX-License-Identifier: GPL-2.0-only
"""What compiled functions return, and the words through which they, and the search, hand things on."""

BLOCKED, OK, NO_ALTERNATIVE, FIRST_FLAG = 0, 1, 2, 3
RETURNED = -1
"""What functions that may stop return within a transition when it goes on in their caller."""
REACHED_WORDS = 4
"""Words 0 … 3 of the scratch area: one bit for each situation gone through."""
SCRATCH_THREAD, SCRATCH_CPU, SCRATCH_ALTERNATIVE, SCRATCH_RETURN = 4, 5, 6, 7
"""Who moves, which of a choose's alternatives is tried, and what a function that RETURNED leaves: context, may."""
SCRATCH_ROUNDS = 8
"""How often loops have gone round in this transition."""
SCRATCH_VALUES = 9
"""From this word of the scratch area on: arguments and results that pass between functions that may stop."""
