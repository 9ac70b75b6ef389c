"""The one-dimensional cutting-stock problem: how much of a device each requested size really uses up.

Devices are to be cut into the requested sizes with as few devices as possible. :func:`packing_values` solves the linear
relaxation by column generation (Gilmore and Gomory, 1961). Its dual variable of a size is the part of a device that one
piece of this size uses up: 0.81 of a device uses up all of it, because nothing that is requested fits beside it; 0.65
uses two thirds where thirds are requested.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import gcd

#: Number of bins that a device is divided into; capacity itself is never rounded.
BINS = 1000

#: Number of sizes that the linear program has; a further size counts as the next smaller one.
SIZES_MAX = 24


def packing_values(weights: Mapping[int, float]) -> list[float]:
    """Return, for each number of free bins, the value of the best set of requested sizes that fits into them.

    ``weights`` has how often each size (in bins) is requested. The value of a whole device is 1.
    """
    weights = {BINS: 0.0, **weights}
    if len(weights) > SIZES_MAX:
        by_weight = sorted(weights, key=lambda size: (size != BINS, -weights[size], size))
        chosen = sorted(by_weight[:SIZES_MAX])
        for size in [size for size in weights if size not in chosen]:
            below = chosen[max(0, bisect_right(chosen, size) - 1)]
            weights[below] += weights.pop(size)
    sizes = sorted(weights)
    duals = _dual_values(sizes, [max(weights[size], 1e-9) for size in sizes])
    return _knapsack(sizes, duals, 1)[0]


def _dual_values(sizes: Sequence[int], wanted: Sequence[float]) -> list[float]:
    """Return the dual values of: as few devices as possible that yield the wanted amount of each size."""
    count = len(sizes)
    unit = gcd(*sizes, BINS)
    #: Inverse of the basis, row by row; the first basis cuts each device into one size only.
    inverse = [[float(i == j) / (BINS // sizes[i]) for j in range(count)] for i in range(count)]
    amount = [wanted[i] / (BINS // sizes[i]) for i in range(count)]
    duals = [sum(column) for column in zip(*inverse, strict=True)]
    for _ in range(20 * count):
        best, last = _knapsack(sizes, duals, unit)
        if best[-1] <= 1 + 1e-9:
            break
        pattern = _pattern(sizes, last, unit)
        direction = [sum(row[i] * n for i, n in pattern.items()) for row in inverse]
        leaving = min(
            (i for i in range(count) if direction[i] > 1e-9), key=lambda i: (amount[i] / direction[i], i), default=-1
        )
        if leaving < 0:  # impossible, because every pattern uses up something
            break
        step = amount[leaving] / direction[leaving]
        pivot = [x / direction[leaving] for x in inverse[leaving]]
        for i in range(count):
            if i != leaving and direction[i]:
                inverse[i] = [x - direction[i] * y for x, y in zip(inverse[i], pivot, strict=True)]
                amount[i] = max(0.0, amount[i] - direction[i] * step)
        inverse[leaving], amount[leaving] = pivot, step
        duals = [sum(column) for column in zip(*inverse, strict=True)]
    top = max(1.0, _knapsack(sizes, duals, unit)[0][-1])
    return [max(0.0, dual) / top for dual in duals]


def _knapsack(sizes: Sequence[int], values: Sequence[float], unit: int) -> tuple[list[float], list[int]]:
    """Solve the unbounded knapsack: return the best value of each number of bins, and the size taken last.

    The size is its index in ``sizes``, or -1 where none is taken.
    """
    best, last = [0.0] * (BINS // unit + 1), [-1] * (BINS // unit + 1)
    items = [(size // unit, value, i) for i, (size, value) in enumerate(zip(sizes, values, strict=True)) if value > 0]
    for n in range(1, len(best)):
        best[n] = best[n - 1]
        for size, value, i in items:
            if size <= n and best[n - size] + value > best[n] + 1e-12:
                best[n], last[n] = best[n - size] + value, i
    return best, last


def _pattern(sizes: Sequence[int], last: Sequence[int], unit: int) -> dict[int, int]:
    """Return how often each size is in the best knapsack, by its index."""
    pattern: dict[int, int] = {}
    n = len(last) - 1
    while n > 0:
        i = last[n]
        if i < 0:
            n -= 1
        else:
            pattern[i] = pattern.get(i, 0) + 1
            n -= sizes[i] // unit
    return pattern
