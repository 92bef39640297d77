# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own tests of memory management, beside the model."""
