# SPDX-License-Identifier: GPL-2.0-only
"""Other kernels: what Debian ships, booted under QEMU, against the model of the same version."""
