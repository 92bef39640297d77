# SPDX-License-Identifier: GPL-2.0-only
"""ptelab: a model-checking laboratory for Linux's page-table code."""

__version__ = "0.1.0"
