"""Draw the activity of notebook sessions whose statistics are those of a month of real ones.

    python tests/benchmarks/notebook_activity.py [SEED ...]     prints what was drawn beside what was published

The statistics are quantiles, in minutes, of the lists of June 2021 that were published with NotebookOS (ASPLOS 2026).
They are read from where they lie beside the repository, or from the file that ``FASTGPU_NOTEBOOK_ACTIVITY`` names, and
are never copied into it. The lists themselves are not used.

Exact in each draw are the quantiles of cell durations, of the gaps between cells, of cells per session and of first
cells, and the sizes. Fitted are the span and the duty cycle of each session: durations and gaps are dealt out by rank,
and a session's ranks are raised or lowered until it has the span and the duty cycle that were drawn for it. So sessions
differ, and cells of one session are alike, as the published rank correlations of consecutive cells say. Independent
values would be easier to serve.

Nothing was published about how these belong together. :data:`CORRELATED`, :data:`SERIAL` and :data:`ROTATIONS` were
chosen with seeds 1 to 3 so that means over time are as in the lists: duty cycle 0.271, 963 GPUs reserved (at most
1,182), 266 in use (459 in 99 percent of the time, at most 504). Stamps were whole minutes; values are spread evenly
over their minutes. The shape of the longest one in a thousand, of which only the maximum is known, makes the sums
right.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

# ruff: noqa: T201

QUANTILES = Path(
    os.environ.get("FASTGPU_NOTEBOOK_ACTIVITY")
    or Path(__file__).resolve().parents[3] / "shared" / "traces" / "notebook-activity" / "quantiles.json"
)
MINUTE_MS = 60_000
MONTH_MINUTES = 43_200

#: Correlations of the normal scores of two ranks.
CORRELATED = {("duty", "span"): -0.4, ("cells", "busy"): 0.8, ("gpus", "span"): 0.5, ("gpus", "duty"): 0.2}
#: The same of a duration or gap with the one before it, beyond what sessions have in common.
SERIAL = 0.55
#: So many rotations of a session's cells are tried, for the one that computes most when others do.
ROTATIONS = 4
#: Rounds in which ranks are fitted.
ROUNDS = 25


class Cell(NamedTuple):
    """A cell: how long it computes, and how long after it the next one is run, in milliseconds."""

    runs_ms: int
    gap_ms: int


class Session(NamedTuple):
    """A notebook: when its first cell is run, in milliseconds, its GPUs, and its cells."""

    start_ms: int
    gpus: int
    cells: tuple[Cell, ...]


class Quantiles:
    """The quantile functions of the published statistics."""

    def __init__(self, published: dict[str, Any]) -> None:
        self.published = published
        self._ranks = [percent / 100 for percent in published["percentiles"]]

    def value(self, name: str, rank: float, tail: float = 1.0) -> float:
        """Return the value at a rank from 0 to 1; between listed values that are far apart on a logarithmic scale.

        ``tail``: the exponent of the part of the last step, which lowers or raises what is between its ends.
        """
        values, at = self.published[name], min(bisect_right(self._ranks, rank), len(self._ranks) - 1)
        low, high = values[at - 1], values[at]
        part = (rank - self._ranks[at - 1]) / (self._ranks[at] - self._ranks[at - 1])
        part **= tail if at == len(self._ranks) - 1 else 1.0
        return float(low * (high / low) ** part if 0 < 2 * low < high else low + part * (high - low))

    def ascending(self, name: str, count: int, tail: float = 1.0) -> list[float]:
        """Return values at evenly spaced ranks."""
        return [self.value(name, (at + 0.5) / count, tail) for at in range(count)]

    def with_sum(self, name: str, count: int, total: float) -> list[float]:
        """Return the same with the exponent of the tail with which their sum is closest to ``total``."""
        first = sum((at + 0.5) / count < self._ranks[-2] for at in range(count))
        body = sum(self.ascending(name, count)[:first])
        low, high = 0.05, 50.0
        for _ in range(30):
            tail = math.sqrt(low * high)
            found = body + sum(self.value(name, (at + 0.5) / count, tail) for at in range(first, count))
            low, high = (tail, high) if found > total else (low, tail)
        return self.ascending(name, count, tail)


def read(path: Path = QUANTILES) -> Quantiles:
    """Return the published statistics."""
    return Quantiles(json.loads(path.read_text()))


def draw(quantiles: Quantiles, seed: int) -> list[Session]:
    """Return the sessions of a month."""
    return _Draw(quantiles, seed).sessions()


class _Draw:
    def __init__(self, quantiles: Quantiles, seed: int) -> None:
        self._quantiles = quantiles
        self._random = random.Random(seed)
        self._count: int = quantiles.published["sessions"]
        self._scores = [statistics.NormalDist().inv_cdf((at + 0.5) / self._count) for at in range(self._count)]
        self._known: dict[str, list[float]] = {}  #: normal scores of the ranks of each property

    def sessions(self) -> list[Session]:
        quantiles, count = self._quantiles, self._count
        spans = self._dealt("span", quantiles.ascending("session_span", count))
        duty = self._dealt("duty", quantiles.ascending("session_duty_cycle", count))
        self._known["busy"] = self._scores_of([part * span for part, span in zip(duty, spans, strict=True)])
        cells = self._dealt("cells", [max(1, round(one)) for one in quantiles.ascending("cells_per_session", count)])
        by_size = {int(gpus): number for gpus, number in quantiles.published["gpus_per_session"].items()}
        gpus = self._dealt("gpus", [size for size in sorted(by_size) for _ in range(by_size[size])])

        busy = [max(part * span, float(number)) for part, span, number in zip(duty, spans, cells, strict=True)]
        idle = [max(span - of, (number - 1) / 2) for span, of, number in zip(spans, busy, cells, strict=True)]
        gaps = [number - 1 for number in cells]
        runs_of = self._assigned(quantiles.with_sum("cell_duration", sum(cells), sum(busy)), cells, busy)
        gaps_of = self._assigned(quantiles.with_sum("idle_gap", sum(gaps), sum(idle)), gaps, idle)
        starts = self._starts([sum(runs) + sum(pauses) for runs, pauses in zip(runs_of, gaps_of, strict=True)])
        return self._rotated(starts, gpus, runs_of, gaps_of)

    def _dealt(self, name: str, ascending: Sequence[Any]) -> list[Any]:
        """Return values in the order of sessions, correlated with the properties that are known already."""
        with_ = [(self._known[other], by) for (one, other), by in CORRELATED.items() if one == name]
        rest = math.sqrt(1 - sum(by * by for _, by in with_))
        keys = [
            sum(by * scores[at] for scores, by in with_) + rest * self._random.gauss(0, 1) for at in range(self._count)
        ]
        self._known[name] = self._scores_of(keys)
        return [ascending[rank] for rank in _ranks(keys)]

    def _scores_of(self, keys: Sequence[float]) -> list[float]:
        return [self._scores[rank] for rank in _ranks(keys)]

    def _assigned(self, ascending: list[float], counts: Sequence[int], sums: Sequence[float]) -> list[list[float]]:
        """Return so many of the values for each session, all of them in all, with sums near those wanted."""
        owners = [at for at, count in enumerate(counts) for _ in range(count)]
        noise = [one for count in counts for one in self._noise(count)]
        scale = sum(ascending) / sum(one for one, count in zip(sums, counts, strict=True) if count)
        levels = [math.log(max(0.05, one / count)) if count else 0.0 for one, count in zip(sums, counts, strict=True)]
        for _ in range(ROUNDS):
            ranks = _ranks([levels[at] + own for at, own in zip(owners, noise, strict=True)])
            found = [0.0] * len(counts)
            for at, rank in zip(owners, ranks, strict=True):
                found[at] += ascending[rank]
            for at, one in enumerate(sums):
                levels[at] += max(-1.0, min(1.0, math.log(max(0.1, one * scale) / max(0.1, found[at])) / 2))
        values = iter([ascending[rank] for rank in ranks])
        return [[next(values) for _ in range(count)] for count in counts]

    def _noise(self, count: int) -> Iterator[float]:
        last = self._random.gauss(0, 1)
        for _ in range(count):
            yield last
            last = SERIAL * last + math.sqrt(1 - SERIAL * SERIAL) * self._random.gauss(0, 1)

    def _starts(self, spans: Sequence[float]) -> list[float]:
        """Return when sessions begin; each ends within the month where a start is left that is early enough."""
        left = self._quantiles.ascending("session_first_cell", self._count)
        starts = [0.0] * self._count
        for at in sorted(range(self._count), key=lambda at: -spans[at]):
            early_enough = bisect_right(left, MONTH_MINUTES - spans[at])
            starts[at] = left.pop(self._random.randrange(early_enough) if early_enough else 0)
        return starts

    def _rotated(
        self, starts: list[float], gpus: list[int], runs_of: list[list[float]], gaps_of: list[list[float]]
    ) -> list[Session]:
        in_use = [0.0] * (MONTH_MINUTES // 60 + 1)  # by the hour
        sessions = []
        for start, size, runs, gaps in zip(starts, gpus, runs_of, gaps_of, strict=True):
            tried: list[tuple[float, int, list[Cell], list[tuple[int, float]]]] = []
            for _ in range(ROTATIONS):
                by = self._random.randrange(len(runs))
                cells = self._cells(_rotate(runs, by), _rotate(gaps, by))
                hours = list(_by_hour(start, cells, len(in_use)))
                tried.append((sum(in_use[hour] * part for hour, part in hours), len(tried), cells, hours))
            _, _, cells, hours = max(tried)
            for hour, part in hours:
                in_use[hour] += size * part
            sessions.append(Session(round(start * MINUTE_MS), size, tuple(cells)))
        return sessions

    def _cells(self, runs: list[float], gaps: list[float]) -> list[Cell]:
        even = self._random.uniform
        return [
            Cell(round(max(0.5, run + even(-0.5, 0.5)) * MINUTE_MS), round(abs(gap + even(-0.5, 0.5)) * MINUTE_MS))
            for run, gap in zip(runs, [*gaps, 0.0], strict=True)
        ]


def _ranks(keys: Sequence[float]) -> list[int]:
    ranks = [0] * len(keys)
    for rank, at in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
        ranks[at] = rank
    return ranks


def _rotate(values: list[float], by: int) -> list[float]:
    by %= max(1, len(values))
    return values[by:] + values[:by]


def _by_hour(start_minute: float, cells: Sequence[Cell], hours: int) -> Iterator[tuple[int, float]]:
    """Yield hours and the part of each that a cell takes."""
    hour_ms, at_ms = 60 * MINUTE_MS, start_minute * MINUTE_MS
    for cell in cells:
        until_ms = at_ms + cell.runs_ms
        for hour in range(int(at_ms // hour_ms), min(hours, int(until_ms // hour_ms) + 1)):
            yield hour, (min(until_ms, (hour + 1) * hour_ms) - max(at_ms, hour * hour_ms)) / hour_ms
        at_ms = until_ms + cell.gap_ms


# -- what was drawn ---------------------------------------------------------------------------------------------------


class Level(NamedTuple):
    """Mean over time, 99th percentile and maximum of a number of GPUs."""

    mean: float
    p99: int
    peak: int


def reserved(sessions: Sequence[Session]) -> Level:
    """Return how many GPUs the sessions have while each keeps its own from its first cell to the end of its last."""
    return _level([(one.start_ms, _end_ms(one), one.gpus) for one in sessions])


def in_use(sessions: Sequence[Session]) -> Level:
    """Return how many GPUs cells need, if none waits."""
    spans = []
    for session in sessions:
        at_ms = session.start_ms
        for cell in session.cells:
            spans.append((at_ms, at_ms + cell.runs_ms, session.gpus))
            at_ms += cell.runs_ms + cell.gap_ms
    return _level(spans)


def _end_ms(session: Session) -> int:
    cells = session.cells
    return session.start_ms + sum(cell.runs_ms + cell.gap_ms for cell in cells) - cells[-1].gap_ms


def _level(spans: list[tuple[int, int, int]]) -> Level:
    month_ms, level, last_ms = MONTH_MINUTES * MINUTE_MS, 0, 0
    changes = sorted(change for since, to, by in spans for change in ((since, by), (to, -by)))
    lasted: dict[int, int] = {}
    for at_ms, by in [*changes, (month_ms, 0)]:
        until_ms = min(at_ms, month_ms)
        lasted[level] = lasted.get(level, 0) + until_ms - last_ms
        level, last_ms = level + by, until_ms
    mean, passed_ms = sum(level * ms for level, ms in lasted.items()) / month_ms, 0
    for level in sorted(lasted):
        passed_ms += lasted[level]
        if passed_ms >= 0.99 * month_ms:
            break
    return Level(mean, level, max(level for level, ms in lasted.items() if ms))


def _rank_correlation(values: Sequence[Sequence[int]]) -> float:
    pairs = [pair for one in values for pair in pairwise(one)]
    return statistics.correlation(_mean_ranks([one for one, _ in pairs]), _mean_ranks([other for _, other in pairs]))


def _mean_ranks(values: Sequence[int]) -> list[float]:
    first: dict[int, int] = {}
    ordered = sorted(values)
    for rank, value in enumerate(ordered):
        first.setdefault(value, rank)
    last = {value: rank for rank, value in enumerate(ordered)}
    return [(first[value] + last[value]) / 2 for value in values]


def _describe(quantiles: Quantiles, sessions: list[Session]) -> None:
    spans = [(_end_ms(one) - one.start_ms) / MINUTE_MS for one in sessions]
    busy = [sum(cell.runs_ms for cell in one.cells) / MINUTE_MS for one in sessions]
    medians = [statistics.median(cell.runs_ms // MINUTE_MS for cell in one.cells) for one in sessions]
    drawn = {
        "session_span": spans,
        "session_duty_cycle": [part / span for part, span in zip(busy, spans, strict=True)],
        "session_median_duration_percentiles": medians,
    }
    for name, values in drawn.items():
        at = [0.1, 0.25, 0.5, 0.75, 0.9]
        found = [f"{sorted(values)[int(rank * len(values))]:.4g}" for rank in at]
        print(f"{name:36} {'  '.join(found)}   published {[quantiles.value(name, rank) for rank in at]}")
    print(f"duty cycle over time                 {sum(busy) / sum(spans):.3f}   published 0.271")
    runs = _rank_correlation([[cell.runs_ms // MINUTE_MS for cell in one.cells] for one in sessions])
    gaps = _rank_correlation([[cell.gap_ms // MINUTE_MS for cell in one.cells[:-1]] for one in sessions])
    print(f"rank correlation of runs, gaps       {runs:.2f}  {gaps:.2f}   published 0.58 0.51")
    print(f"reserved                             {reserved(sessions)}   published 962.5, at most 1182")
    print(f"in use                               {in_use(sessions)}   published 265.9, 459, 504")


if __name__ == "__main__":
    published = read()
    for name in sys.argv[1:] or ["1"]:
        print(f"seed {name}")
        _describe(published, draw(published, int(name)))
