"""A short day of a pool of an engine on a simulated clock, with what the benchmark of a whole day checks."""

from __future__ import annotations

import pytest

from tests.benchmarks.cluster_day import Day, missed


@pytest.mark.slow
def test_day_with_an_engine_ends_with_equal_bills_and_without_jobs_or_leases_that_are_left() -> None:
    day = Day(nodes=2, notebooks=60, hours=1.0, seed=5)
    day.live(lambda _: None)
    figures = day.figures()
    assert missed(figures) == [], figures
    assert figures["leases"] == 60
    assert figures["waiting_max"] > 1  # the cluster was full for a while
    assert set(figures["ends"]) >= {"released", "allocation_lost"}
