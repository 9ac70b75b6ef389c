"""A row of fair-share keys with a fast search for the next one above a given key.

The row is the bottom of a binary tree; each node is the maximum of its two children, so a subtree without a high enough
key is skipped at once. A search or a removal takes O(log n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..accounting.fairshare import FairShareKey

#: Below every key, and above every key.
LOWEST = FairShareKey(beyond=False, group=-math.inf, tenant=-math.inf)
HIGHEST = FairShareKey(beyond=True, group=math.inf, tenant=math.inf)


class MaxTree:
    """A row of keys, from which keys can be removed."""

    def __init__(self, row: Sequence[FairShareKey]) -> None:
        size = 1
        while size < len(row):
            size *= 2
        self._size = size
        #: Node 1 is the root, the children of node ``n`` are ``2 * n`` and ``2 * n + 1``, the row is at the end.
        self._nodes = [LOWEST] * size + [*row] + [LOWEST] * (size - len(row))
        for node in range(size - 1, 0, -1):
            self._nodes[node] = max(self._nodes[2 * node], self._nodes[2 * node + 1])

    def next_above(self, start: int, key: FairShareKey) -> int | None:
        """Return the index of the first key above ``key`` from ``start`` on; ``None`` where there is none."""
        if start >= self._size:
            return None
        node = self._size + start
        while self._nodes[node] <= key:
            while node % 2:  # a right child, or the root: everything below its parent has been searched
                node //= 2
            if not node:
                return None
            node += 1
        while node < self._size:
            node *= 2
            if self._nodes[node] <= key:
                node += 1
        return node - self._size

    def remove(self, at: int) -> None:
        """Remove the key at an index; the other indexes stay as they are."""
        node = self._size + at
        self._nodes[node] = LOWEST
        while node > 1:
            node //= 2
            self._nodes[node] = max(self._nodes[2 * node], self._nodes[2 * node + 1])
