# SPDX-License-Identifier: GPL-2.0-only
from ptelab.lang import step
