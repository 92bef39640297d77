# SPDX-License-Identifier: GPL-2.0-only
for i in range(3):
    pass
