# SPDX-License-Identifier: GPL-2.0-only
"""Commands that have a file of their own; `cli` has the others."""
