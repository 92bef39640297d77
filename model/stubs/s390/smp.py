# SPDX-License-Identifier: GPL-2.0-only
"""Calling a function on other CPUs by interrupt.

Differs: the only function called does nothing, so that all there is to it is the wait.
"""

from cpu import Core
from hw.memory import NR_CPUS

from ptelab.lang import at, cpu_id, wait_until


def smp_call_function() -> None:
    """Interrupt every other CPU, and wait until each has taken the interrupt."""
    for cpu in range(NR_CPUS):
        if cpu != cpu_id():
            wait_until(not at(Core, cpu).irqs_off)
