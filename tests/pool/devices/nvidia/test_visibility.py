"""Which GPUs the environment of the pool manager, and its setting, leave to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastgpu_jupyter.core.model.entities import ExistingPartition
from fastgpu_jupyter.pool.devices.mechanisms.base import PartitionInstance
from fastgpu_jupyter.pool.devices.nvidia.visibility import GpuIdentity, VisibleDevices, restrict_to_mig_devices
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.wire.client import new_token
from tests.core.world import mig_spec
from tests.helpers import KernelHelper, PoolProcess
from tests.nvml.machine import FakeMachine
from tests.pool.conftest import machine_pool
from tests.views import device_of

pool = machine_pool
GPUS = [GpuIdentity(index, f"GPU-{letter}{index}", 6 - index, "A100") for index, letter in enumerate("aab")]
MIG = {"GPU-b2": {"MIG-1", "MIG-2"}}


def selected(
    environ: dict[str, str], only: tuple[str, ...] = (), gpus: list[GpuIdentity] = GPUS
) -> tuple[dict[int, frozenset[str] | None], str]:
    found = VisibleDevices(environ, only).select(gpus, lambda gpu: MIG.get(gpu, set()))
    return dict(found.gpus), found.note or ""


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        ("1", [1]),
        ("2, 0", [0, 2]),
        ("GPU-b2,GPU-a0", [0, 2]),
        ("GPU-b", [2]),
        ("0,GPU-a,1", [0]),  # two begin so
        ("0,7,1", [0]),
        ("0,-1,1", [0]),
        ("1,NoDevFiles", [1]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("all", []),
        ("GPU-c", []),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(value: str, indices: list[int]) -> None:
    found, note = selected({"CUDA_VISIBLE_DEVICES": value})
    assert sorted(found) == indices
    assert ("leaves this pool no GPU" in note) == (not indices)
    assert set(found.values()) <= {None}


def test_no_variable_restricts_nothing() -> None:
    assert not VisibleDevices({"PATH": "/bin"}).restricts
    assert VisibleDevices({"CUDA_VISIBLE_DEVICES": ""}).restricts


def test_entry_that_is_no_gpu_is_named() -> None:
    assert "'GPU-x'" in selected({"CUDA_VISIBLE_DEVICES": "0,GPU-x"})[1]


def test_entry_may_be_a_gpu_that_does_not_answer_now() -> None:
    gpus = [GpuIdentity(0), *GPUS[1:]]
    found, note = selected({"CUDA_VISIBLE_DEVICES": "GPU-a0,GPU-b2"}, gpus=gpus)
    assert (list(found), note) == ([2], "")


@pytest.mark.parametrize(("order", "indices"), [(None, []), ("FASTEST_FIRST", []), ("PCI_BUS_ID", [1])])
def test_index_among_several_models_needs_the_order_of_the_bus(order: str | None, indices: list[int]) -> None:
    gpus = [*GPUS[:2], GpuIdentity(2, "GPU-b2", 2, "T4")]
    environ = {"CUDA_VISIBLE_DEVICES": "1"} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    found, note = selected(environ, gpus=gpus)
    assert list(found) == indices
    assert ("CUDA_DEVICE_ORDER=PCI_BUS_ID" in note) == (not indices)
    assert list(selected({"CUDA_VISIBLE_DEVICES": "GPU-b2"}, gpus=gpus)[0]) == [2]


@pytest.mark.parametrize(
    ("environ", "indices"),
    [
        ({"SLURM_JOB_GPUS": "4,6"}, [0, 2]),  # numbers of device files
        ({"SLURM_JOB_GPUS": "4-5"}, [1, 2]),
        ({"SLURM_JOB_GPUS": "4,6", "SLURM_STEP_GPUS": "6"}, [0]),
        ({"SLURM_JOB_GPUS": "4,6", "CUDA_VISIBLE_DEVICES": "1"}, [1]),
        ({"SLURM_JOB_GPUS": ""}, []),
    ],
)
def test_slurm_job_leaves_its_gpus(environ: dict[str, str], indices: list[int]) -> None:
    assert sorted(selected(environ)[0]) == indices


def test_mig_device_stands_for_itself() -> None:
    found, _ = selected({"CUDA_VISIBLE_DEVICES": "MIG-2"})
    assert found == {2: frozenset({"MIG-2"})}
    spec = mig_spec("GPU-b2", existing_partitions=(ExistingPartition("1g.10gb", 0), ExistingPartition("3g.40gb", 4)))
    instances = [
        PartitionInstance("1g.10gb", 0, ("MIG-1",), complete=True),
        PartitionInstance("3g.40gb", 4, ("MIG-2",), complete=True),
    ]
    restricted = restrict_to_mig_devices(spec, instances, frozenset({"MIG-2"}))
    assert [(one.name, one.starts) for one in restricted.profiles] == [("3g.40gb", (4,))]
    assert [one.usable for one in restricted.existing_partitions] == [False, True]


@pytest.mark.parametrize(
    ("only", "indices"), [((), [1, 2]), (("2", "0"), [2]), (("GPU-a1",), [1]), (("GPU-b", "9"), [2])]
)
def test_setting_restricts_what_the_environment_leaves(only: tuple[str, ...], indices: list[int]) -> None:
    found, note = selected({"CUDA_VISIBLE_DEVICES": "1,2"}, only)
    assert sorted(found) == indices
    assert ("'9'" in note) == ("9" in only)


def test_setting_restricts_simulated_devices() -> None:
    driver = SimulatedDriver("2xA100-80GB, T4-16GB", {}, ("2", "SIM-0", "x"))
    specs, note = driver.inventory()
    assert [spec.index for spec in specs] == [0, 2]
    assert "'x'" in str(note)
    assert not driver.knows("SIM-1-A100-80GB")


@pytest.mark.slow
def test_pool_serves_only_the_gpus_of_its_environment_and_setting(
    use_machine: Callable[..., FakeMachine], pool: PoolProcess, kernels: KernelHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second, third = use_machine("3xL4").gpus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    pool.start()
    assert {one["id"] for one in pool.client.devices()} == {second.uuid, third.uuid}
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    assert kernel.value("__import__('os').environ['CUDA_VISIBLE_DEVICES']") == repr(
        device_of(pool.lease(kernel.lease_id))
    )
    kernel.client.shutdown()  # or it would start a successor on demand before this test does
    pool.wait_state(kernel.lease_id, "ended")
    pool.end()
    pool.start(f"--FastGPUPool.devices={third.uuid[:12]}")
    assert [one["id"] for one in pool.client.devices()] == [third.uuid]
    lease_id = pool.client.request("full", token=new_token())["id"]
    pool.wait_state(lease_id, "active")
    assert device_of(pool.lease(lease_id)) == third.uuid
