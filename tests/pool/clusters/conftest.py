"""A pool manager whose leases a simulated cluster grants, in a thread of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.pool.clusters.fake import FakeEngine, Faults
from fastgpu_jupyter.pool.clusters.options import EngineOptions
from fastgpu_jupyter.pool.clusters.service import Times
from fastgpu_jupyter.pool.clusters.set_up import ClusterSetUp
from fastgpu_jupyter.units import GIB
from fastgpu_jupyter.wire.schemas import LeaseClusterView, LeaseView, PoolClusterView
from tests.pool.served import ServedPool
from tests.waiting import wait_until

#: Short, so that tests do not wait for what takes seconds on a real cluster.
QUICK = Times(settle_s=0.2)


class ClusterPool(ServedPool):
    """A pool in engine mode; :attr:`engine` is the simulated cluster behind it, with two nodes of two GPUs."""

    def __init__(self, folder: Path, times: Times = QUICK) -> None:
        self.engine = FakeEngine("2xA100-80GB, 2xH100-80GB", folder / "fake")
        options = EngineOptions("fake", memory_bytes={"a100": 80 * GIB})
        super().__init__(folder, cluster=ClusterSetUp(self.engine, options, folder / "cluster", {}, times))

    def lease(self, lease_id: str) -> LeaseView:
        """One lease."""
        return self.client.lease(lease_id)

    def job_of(self, lease: LeaseView) -> LeaseClusterView:
        """The job of a lease, as it is now."""
        view = self.lease(lease["id"])["cluster"]
        assert view is not None
        return view

    def wait_for(self, lease: LeaseView, state: str) -> LeaseView:
        """Return the lease once it has that state."""
        wait_until(lambda: self.lease(lease["id"])["state"] == state, lambda: f"{state}: {self.lease(lease['id'])}")
        return self.lease(lease["id"])

    def cluster_view(self) -> PoolClusterView:
        """The engine, as it is now."""
        view = self.client.pool()["cluster"]
        assert view is not None
        return view


@pytest.fixture(scope="module")
def started_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPool]:
    """Yield a pool in engine mode that the tests of a module share, and let no job of it outlive them."""
    pool = ClusterPool(tmp_path_factory.mktemp("cluster"))
    yield pool
    pool.stop()
    end_jobs(pool.engine)


@pytest.fixture
def cluster_pool(started_pool: ClusterPool) -> Iterator[ClusterPool]:
    """Yield that pool without faults; afterwards there is no live lease and no job."""
    yield started_pool
    started_pool.engine.faults = Faults()
    for lease in started_pool.client.leases():
        if lease["state"] != "ended":
            started_pool.client.release(lease["id"])
    wait_until(lambda: not started_pool.engine.list(""), lambda: f"no job is left: {started_pool.engine.list('')}")
    wait_until(lambda: all(one["state"] == "ended" for one in started_pool.client.leases()), "all leases end")


def end_jobs(engine: FakeEngine) -> None:
    """End all jobs, and wait until their processes have ended."""
    engine.faults = Faults(hold=True)
    for job_id in engine.list("").values():
        engine.cancel(job_id)
    wait_until(lambda: not engine.list(""), "all jobs end")
