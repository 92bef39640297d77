# SPDX-License-Identifier: GPL-2.0-only
"""`python -m ptelab`."""

from ptelab.cli import main

main()
