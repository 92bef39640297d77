# SPDX-License-Identifier: GPL-2.0-only
NR = param('NUMBER')
