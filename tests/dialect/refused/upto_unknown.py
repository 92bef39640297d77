# SPDX-License-Identifier: GPL-2.0-only
A: TypeAlias = Annotated[int, upto(x)]
