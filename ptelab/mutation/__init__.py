# SPDX-License-Identifier: GPL-2.0-only
"""Mutants of the model: small changes after the patterns of real bugs, each of which some test should catch."""
