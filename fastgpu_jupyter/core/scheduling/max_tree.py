"""A row of standings, and which of them is the next above a level: found without a look at those between.

A tree over the row: each node is the highest of the two below it, so that what has nothing high enough is passed over
at once. Asking and forgetting take as many steps as the row's length has binary digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..accounting.fairshare import FairShareKey

LOWEST = FairShareKey(beyond=False, group=-math.inf, tenant=-math.inf)
HIGHEST = FairShareKey(beyond=True, group=math.inf, tenant=math.inf)


class MaxTree:
    """Standings in a row."""

    def __init__(self, row: Sequence[FairShareKey]) -> None:
        size = 1
        while size < len(row):
            size *= 2
        self._size = size
        #: The top is at 1, and below the node ``n`` are ``2 * n`` and ``2 * n + 1``; the row is at the bottom.
        self._nodes = [LOWEST] * size + [*row] + [LOWEST] * (size - len(row))
        for node in range(size - 1, 0, -1):
            self._nodes[node] = max(self._nodes[2 * node], self._nodes[2 * node + 1])

    def next_above(self, start: int, level: FairShareKey) -> int | None:
        """Where the first standing above ``level`` is, from ``start`` on; ``None`` where there is none."""
        if start >= self._size:
            return None
        node = self._size + start
        while self._nodes[node] <= level:
            while node % 2:  # the right one of two, or the top: done with all that is below the one above
                node //= 2
            if not node:
                return None
            node += 1
        while node < self._size:
            node *= 2
            if self._nodes[node] <= level:
                node += 1
        return node - self._size

    def forget(self, at: int) -> None:
        """The one at that place is above no level from now on."""
        node = self._size + at
        self._nodes[node] = LOWEST
        while node > 1:
            node //= 2
            self._nodes[node] = max(self._nodes[2 * node], self._nodes[2 * node + 1])
