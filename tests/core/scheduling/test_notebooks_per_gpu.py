"""A small version of ``tests/benchmarks/notebooks_per_gpu.py``, with statistics of its own."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks import notebook_activity, notebooks_picture
from tests.benchmarks.notebook_activity import MINUTE_MS, Quantiles, Session
from tests.benchmarks.notebooks_replay import GPUS_PER_HOST, Replay, Served, replay_counted

PUBLISHED = {
    "percentiles": [0, 25, 50, 75, 90, 99, 100],
    "cell_duration": [1, 2, 2, 6, 20, 220, 2000],
    "idle_gap": [0, 0, 1, 3, 60, 600, 5000],
    "session_span": [100, 4000, 20_000, 35_000, 41_000, 43_000, 43_200],
    "session_duty_cycle": [0.01, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95],
    "cells_per_session": [10, 20, 40, 60, 80, 90, 100],
    "session_first_cell": [2, 1000, 5000, 20_000, 30_000, 40_000, 42_000],
    "gpus_per_session": {"1": 20, "4": 20, "8": 20},
    "sessions": 60,
}
SEED = 3
HOSTS = 6


@cache
def sessions() -> list[Session]:
    return notebook_activity.draw(Quantiles(PUBLISHED), SEED)


@cache
def served(gb_per_s: float, ahead_ms: int | None) -> Served:
    """Return how 6 hosts serve the notebooks."""
    found = Replay(sessions(), HOSTS, gb_per_s, ahead_ms).run()
    assert found is not None
    return found


@pytest.mark.slow
def test_draw_has_the_quantiles_that_were_published() -> None:
    quantiles = Quantiles(PUBLISHED)
    cells = [cell for session in sessions() for cell in session.cells]
    assert sorted(session.gpus for session in sessions()) == [1] * 20 + [4] * 20 + [8] * 20
    for name, values in (
        ("cell_duration", sorted(cell.runs_ms for cell in cells)),
        ("idle_gap", sorted(cell.gap_ms for session in sessions() for cell in session.cells[:-1])),
    ):
        for rank in (0.3, 0.5, 0.75, 0.9):
            minutes = values[int(rank * len(values))] / MINUTE_MS
            assert minutes == pytest.approx(quantiles.value(name, rank), rel=0.1, abs=0.6), (name, rank)
    assert notebook_activity.draw(quantiles, SEED) == sessions()
    assert notebook_activity.draw(quantiles, SEED + 1) != sessions()


@pytest.mark.slow
def test_fewer_gpus_than_reserved_serve_notebooks_whose_idle_leases_are_parked() -> None:
    found = served(50, None)
    assert notebook_activity.reserved(sessions()).peak > 1.7 * GPUS_PER_HOST * HOSTS
    assert found.meets_targets()
    assert found.parked > 0
    assert len(found.delays_ms) >= 0.99 * sum(len(session.cells) for session in sessions())


@pytest.mark.slow
def test_parking_ahead_delays_fewer_cells_where_transfers_are_slow() -> None:
    ahead, without = served(5, 600_000), served(5, None)
    assert ahead.parked_ahead > 0
    assert ahead.share_over(5000) < 0.001 < without.share_over(5000)


@pytest.mark.slow
def test_counted_gpus_serve_at_once_where_none_is_parked_and_too_few_delay_cells() -> None:
    peak = notebook_activity.reserved(sessions()).peak
    assert replay_counted(sessions(), peak, 5).share_over(0) == 0
    assert not replay_counted(sessions(), peak // 4, 5).meets_targets()


def test_picture_is_one_element_with_the_lines_of_all_figures() -> None:
    rows = [{"gb_per_s": speed, "ahead_s": ahead_s, "factor": 2.0} for speed in (50.0, 5.0) for ahead_s in (600, None)]
    curves = {"50": [{"gpus": 8, "over_5_s_percent": 1.0}, {"gpus": 16, "over_5_s_percent": 0.0}]}
    picture = ET.fromstring(notebooks_picture.draw(rows, rows[:1], curves))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert picture.get("role") == "img"
    assert picture.get("aria-label")
    assert {"also parked ahead", "parked for a request", "GPUs without hosts", "50 GB/s", "target"} <= set(texts)
