# SPDX-License-Identifier: GPL-2.0-only
"""The running kernel: the same scenarios, performed by real threads and processes, judged by what the model allows."""
