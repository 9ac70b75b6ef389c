"""The fixtures of tests with a real Slurm; ``tests/conftest.py`` has them for all folders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import SlurmCluster, missing_programs


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A Slurm that the tests of this process share; skips where Slurm is not installed."""
    require_slurm()
    cluster = SlurmCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def slurm(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """That Slurm without a job in it, for this process and all that it starts."""
    for name, value in slurm_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_cluster
    slurm_cluster.reset()


def require_slurm() -> None:
    """Skip the test, with the reason, where Slurm is not installed."""
    if missing := missing_programs():
        pytest.skip(f"Slurm is not installed here ({', '.join(missing)} missing); .ci/slurm installs it")
