# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/uapi/asm-generic/errno-base.h (v7.0), which include/linux/errno.h includes."""

ENOENT = 2
ENOMEM = 12
EBUSY = 16
EEXIST = 17
EINVAL = 22
EFAULT = 14
