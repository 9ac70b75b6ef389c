"""The tree finds the next key above a given one, as a scan does."""

from __future__ import annotations

import random

import pytest

from fastgpu_jupyter.core.accounting.fairshare import FairShareKey
from fastgpu_jupyter.core.scheduling.max_tree import HIGHEST, LOWEST, MaxTree


def scan(row: list[FairShareKey], start: int, level: FairShareKey) -> int | None:
    return next((at for at in range(start, len(row)) if row[at] > level), None)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 33])
def test_next_above_finds_what_a_scan_finds(length: int) -> None:
    draw = random.Random(length)
    levels = [LOWEST, HIGHEST, *(FairShareKey(draw.random() < 0.8, *[float(draw.randrange(9))] * 2) for _ in range(12))]
    row = [draw.choice(levels) for _ in range(length)]
    tree = MaxTree(row)
    for _ in range(length + 1):
        for level in levels:
            assert [tree.next_above(start, level) for start in range(length + 1)] == [
                scan(row, start, level) for start in range(length + 1)
            ]
        if row:
            gone = draw.randrange(length)
            row[gone] = LOWEST
            tree.remove(gone)
