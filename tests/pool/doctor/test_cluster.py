"""What the doctor says of a cluster, by what the pool manager knows of it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.messages import render, view_of
from fastgpu_jupyter.pool.devices.diagnosis import FindingState
from fastgpu_jupyter.pool.doctor.cluster import SLURM_COMMANDS, ClusterFacts, findings
from fastgpu_jupyter.wire.schemas import PoolClusterView

KIND = {"partition": "gpu", "model": "a100", "per_node_max": 2, "nodes": 1}
VIEW: dict[str, Any] = {
    "engine": "slurm", "version": "22.05.8", "simulated": False, "unanswered_since": None, "message": None,
    "kinds": [KIND], "partitions": ["gpu"], "time_limit_default_ms": None,
}  # fmt: skip
SILENT = {"unanswered_since": 5, "message": view_of(Message.of("cluster.engine_hangs", seconds=30))}


@pytest.mark.parametrize(
    ("changes", "state", "words", "serves"),
    [
        ({}, FindingState.OK, "GPUs of slurm 22.05.8: a100, in the partitions gpu", True),
        (SILENT, FindingState.BROKEN, "now. The cluster has not answered for 30 seconds. Running kernels go on", False),
        ({"kinds": None}, FindingState.BROKEN, "has not said yet", True),
        ({"kinds": []}, FindingState.BROKEN, "offers you none", True),
    ],
)
def test_findings_say_what_the_cluster_of_the_pool_does(
    changes: dict[str, Any], state: FindingState, words: str, serves: bool
) -> None:
    facts = ClusterFacts(cast(PoolClusterView, {**VIEW, **changes}))
    (found,) = findings(facts)
    assert (found.state, facts.serves) == (state, serves)
    assert words in render(found.detail)


def test_findings_name_the_setting_where_only_the_commands_are_here() -> None:
    assert list(findings(ClusterFacts(None, SLURM_COMMANDS))) == []
    (found,) = findings(ClusterFacts(None, ()))
    assert found.state is FindingState.OFF
    assert found.remedy is not None
    assert "c.FastGPUPool.cluster" in render(found.remedy)
