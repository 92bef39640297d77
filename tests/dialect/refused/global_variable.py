# SPDX-License-Identifier: GPL-2.0-only
count: u4
