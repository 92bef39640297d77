# SPDX-License-Identifier: GPL-2.0-only
@onstack
class Batch:
    count: u4


def f(batch: Batch) -> tuple[u4, Batch]:
    return batch.count, batch
