"""A real Slurm has the guarantees of every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.pool.clusters.engine import Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.pool.clusters.contract import EngineContract, Site
from tests.slurm.cluster import SlurmCluster

GPU = ClusterRequest(partition="gpu")


@pytest.mark.slow
class TestSlurmEngine(EngineContract):
    """What every engine guarantees."""

    @pytest.fixture
    def site(self, slurm: SlurmCluster, tmp_path: Path) -> Site:
        """Return the cluster of the tests: two a100 on one node, four h100 on another one."""
        one, rest = Want(1, ("a100",), options=GPU), Want(2, ("a100",), options=GPU)
        return Site(SlurmEngine(), one, rest, Want(3, ("a100",), options=GPU), tmp_path)
