# SPDX-License-Identifier: GPL-2.0-only
@struct
class Page:
    lock: Ghost[rw_semaphore]
