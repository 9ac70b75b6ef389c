"""Advice on the size of a lease that an engine granted: from what the engine offers of the same kind of GPU."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.cluster import ClusterAllocation, ClusterDevice
from fastgpu_jupyter.core.model.entities import Enforcement, Isolation, Lease
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.core.sizing import advice
from fastgpu_jupyter.pool.clusters.allocation import Allocations
from fastgpu_jupyter.pool.clusters.engine import GPUKind
from fastgpu_jupyter.pool.clusters.sizes import choices_of_kind
from fastgpu_jupyter.pool.devices.registry import CATALOG
from fastgpu_jupyter.units import GIB, MS_PER_HOUR
from fastgpu_jupyter.wire.client import new_token
from tests.core.world import World, text
from tests.pool.clusters.conftest import ClusterPool

#: Ten cells that computed for half an hour of one, with 6 GiB and a fifth of the utilization.
USE = MeasuredUse(10, MS_PER_HOUR // 2, MS_PER_HOUR, 0, 6 * GIB, 20 * MS_PER_HOUR // 2, MS_PER_HOUR // 2)
ALLOCATIONS = Allocations(CATALOG, {}, {})
A100 = GPUKind("gpu", "a100-80gb", 2, 1, shards_per_gpu=4, memory_bytes=80 * GIB)
H100 = GPUKind("gpu", "h100-80gb", 2, 1, shards_per_gpu=8, memory_bytes=80 * GIB)


def _measured(
    size: str = "a100-80gb", model: str = "a100-80gb", isolation: Isolation = Isolation.NONE
) -> tuple[World, Lease]:
    world = World()
    lease = world.on_cluster("far", size, isolation=isolation)
    device = ClusterDevice("n1:gpu0", model, 80 * GIB, 2_500_000)
    world.do(
        c.ClusterGranted("far", world.job("far"), ClusterAllocation("n1", (device,), 1000, Enforcement.NONE, None))
    )
    world.pass_time(MS_PER_HOUR)
    world.do(c.RecordUse("far", USE))
    return world, lease


def _advise(world: World, lease: Lease, *kinds: GPUKind) -> tuple[str | None, str]:
    """Return the size that is named, and the sentence."""
    measured = advice.measured_of(world.state, lease, MeasuredUse(), world.at)
    found, reason = advice.advise(world.state, lease, measured, choices_of_kind(kinds, ALLOCATIONS, lease))
    return (None, text(reason)) if found is None else (str(found.choice.size), text(found.basis))


def test_advice_names_a_size_of_the_same_kind_for_a_new_request() -> None:
    size, why = _advise(*_measured(), A100, H100)
    assert size == "a100-80gb:1/4"
    assert "6 GiB of 80 GiB, 20 % utilization. Size a100-80gb:1/4 would have cost 75 % less. This lease keeps" in why
    assert "for a new kernel in a new job" in why


@pytest.mark.parametrize(
    ("size", "model", "kinds", "expected"),
    [
        ("a100", "NVIDIA A100-SXM4-80GB", (A100, H100), "a100-80gb:1/4"),  # the request names the kind
        ("any", "a100-80gb", (H100, A100), "a100-80gb:1/4"),
        ("any", "NVIDIA A100-SXM4-80GB", (A100, H100), None),  # of which kind it is, is not known
        ("a100", "NVIDIA A100-SXM4-80GB", (A100, A100._replace(model="a100-40gb", memory_bytes=40 * GIB)), None),
        ("a100-80gb", "a100-80gb", (A100._replace(memory_bytes=None),), None),
        ("a100-80gb", "a100-80gb", (H100,), None),
        ("a100-80gb", "a100-80gb", (), None),
    ],
)
def test_sizes_of_a_kind_that_is_not_certain_are_unknown(
    size: str, model: str, kinds: tuple[GPUKind, ...], expected: str | None
) -> None:
    found, why = _advise(*_measured(size, model), *kinds)
    assert found == expected
    assert ("which sizes of this GPU the cluster offers is not known" in why) == (expected is None)


def test_kind_that_is_not_divided_leaves_no_smaller_size() -> None:
    found, why = _advise(*_measured(), A100._replace(shards_per_gpu=None))
    assert found is None
    assert "No smaller size would do" in why


def test_isolation_that_was_requested_is_kept() -> None:
    found, _ = _advise(*_measured(isolation=Isolation.HARDWARE), A100._replace(mig=("1g.10gb", "2g.20gb")))
    assert found == "a100-80gb:2g.20gb"  # a smaller one would compute more slowly, and a quarter is not isolated


@pytest.mark.slow
def test_pool_gives_advice_for_a_lease_on_the_cluster(cluster_pool: ClusterPool) -> None:
    lease = cluster_pool.client.request("a100-80gb", None, "kernel-3", "advice.ipynb", token=new_token())
    cluster_pool.wait_for(lease, "active")
    commands = cluster_pool.services.commands
    cluster_pool.run(commands.submit(c.RecordUse(lease["id"], USE)))
    found = cluster_pool.client.advice(lease["id"])["advice"]
    assert found is not None
    assert (found["size"], found["saving_milli"]) == ("a100-80gb:1/4", 750)
    assert found["basis"]["code"] == "advice.basis_new_job"
