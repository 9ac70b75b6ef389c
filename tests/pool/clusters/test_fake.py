"""The simulated engine: what every engine guarantees, and that its jobs outlive it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import EngineUnavailable
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Queued, Running, Want
from fastgpu_jupyter.pool.clusters.fake import FakeEngine
from tests.pool.clusters.contract import PROGRAM, EngineContract, Site
from tests.waiting import wait_until


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A cluster of one node with two GPUs."""
    engine = FakeEngine("2xA100-80GB", tmp_path / "fake")
    yield engine
    engine.faults.silent, engine.faults.hold = False, True
    for job_id in engine.list("").values():
        engine.cancel(job_id)
    wait_until(lambda: not engine.list(""), "all jobs end")


@pytest.mark.slow
class TestFakeEngine(EngineContract):
    """What every engine guarantees."""

    @pytest.fixture
    def site(self, engine: FakeEngine, tmp_path: Path) -> Site:
        """Return a cluster of one node with two GPUs."""
        return Site(engine, Want(1, ("a100",)), Want(2), Want(3), tmp_path)


def test_jobs_outlive_the_engine_and_are_found_by_the_next_one(engine: FakeEngine, tmp_path: Path) -> None:
    spec = json.dumps({"path": str(tmp_path / "runs")}).encode()
    first = engine.submit(Want(2), AgentSpec(PROGRAM, spec), "fgpu-1")
    second = engine.submit(Want(2), AgentSpec(PROGRAM, spec.replace(b"runs", b"later")), "fgpu-2")
    again = FakeEngine("2xA100-80GB", tmp_path / "fake")
    assert again.list("fgpu-") == {"fgpu-1": first, "fgpu-2": second}
    found = again.statuses([first, second])
    assert isinstance(found[first], Running)
    assert isinstance(found[second], Queued)
    wait_until((tmp_path / "runs").exists, "the first one runs")
    again.cancel(first)
    wait_until(lambda: isinstance(again.statuses([first])[first], Ended), "the first one ends")
    wait_until((tmp_path / "later").exists, "the second one runs")
    again.cancel(second)
    wait_until(lambda: isinstance(again.statuses([second])[second], Ended), "the second one ends")


def test_faults_are_read_from_the_file_of_another_process(engine: FakeEngine, tmp_path: Path) -> None:
    control = tmp_path / "fake/control.json"
    control.write_text(json.dumps({"silent": True}))
    with pytest.raises(EngineUnavailable):
        engine.kinds()
    control.write_text(json.dumps({"silent": False, "hold": True}))
    job = engine.submit(Want(1), AgentSpec(PROGRAM, b"{}"), "fgpu-3")
    assert isinstance(engine.statuses([job])[job], Queued)
