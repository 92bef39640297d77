# SPDX-License-Identifier: GPL-2.0-only
"""A scenario as a model for another checker, with the same states and transitions as without reductions."""
