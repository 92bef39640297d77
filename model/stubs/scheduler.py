# SPDX-License-Identifier: GPL-2.0-only
"""Who else wants a CPU.

NEED_RESCHED is 1 in tests in which somebody may want it at any time; what gives way then goes on at once, as nobody
else has anything to do there.
"""

from ptelab.lang import choose, param

NEED_RESCHED = param("NEED_RESCHED", 0)


def somebody_waits() -> bool:
    """Whether another task waits for this CPU."""
    if NEED_RESCHED == 0:
        return False
    return choose(2) == 1
