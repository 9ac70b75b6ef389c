"""The real pool manager on GPUs that MIG divides, simulated below ``pynvml`` (see ``tests/nvml/README.md``)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fastgpu_jupyter.errors import FastGPUError, NoSuchDevice
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import KernelHelper, PoolProcess, fastgpu
from tests.nvml.machine import FakeGpu, FakeMachine
from tests.pool.conftest import machine_pool
from tests.views import device_of, explanation_of, gpu_of, mechanisms_of, pending_reason_of, position_of, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
MIB = 1024**2
GIB = 1024**3
Build = Callable[..., FakeMachine]
IN_USE, INSUFFICIENT_RESOURCES = 19, 23
pool = machine_pool


def ask(pool: PoolProcess, profile: str) -> str:
    return str(pool.client.request(profile, token=new_token())["id"])


def active(pool: PoolProcess, profile: str) -> str:
    lease_id = ask(pool, profile)
    pool.wait_state(lease_id, "active")
    return lease_id


def places(gpu: FakeGpu) -> set[tuple[str, int]]:
    return {(one.profile, one.start) for one in gpu.instances}


def visible(pool: PoolProcess, lease_id: str) -> str:
    return str(pool.lease(lease_id)["environment"]["CUDA_VISIBLE_DEVICES"])


@pytest.mark.parametrize(
    ("model", "small", "half"),
    [
        ("A100-SXM4-80GB", "1g.10gb", "3g.40gb"),
        ("H100-80GB", "1g.10gb", "3g.40gb"),
        ("H200-141GB", "1g.18gb", "3g.71gb"),
    ],
)
def test_mixed_leases_fill_a_gpu_and_release_it(
    use_machine: Build, pool: PoolProcess, model: str, small: str, half: str
) -> None:
    (gpu,) = use_machine(f"1x{model} MIG").gpus
    pool.start()
    (device,) = pool.client.devices()
    assert (device["capabilities"]["mechanisms"], device["capabilities"]["parkable"]) == (["mig"], False)
    leases = [active(pool, size) for size in (small, "half", small, "any:1/8")]
    assert sorted(one.profile for one in gpu.instances) == [small, small, small, half]
    uuids = [visible(pool, lease_id) for lease_id in leases]
    assert sorted(uuids) == sorted(one.uuid for one in gpu.instances)
    view = pool.lease(leases[1])
    assert (gpu_of(view)["mechanism"], view["enforcement"]["memory_limit"], view["parking"]["parkable"]) == (
        "mig",
        "hardware",
        False,
    )
    waiting = ask(pool, "half")
    assert pool.state(waiting) == "waiting"
    for lease_id in leases:
        pool.client.release(lease_id)
    pool.wait_state(waiting, "active")
    pool.client.release(waiting)
    wait_until(lambda: not gpu.instances, "nothing is left")


def test_partition_stays_until_the_kernels_memory_is_gone(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper
) -> None:
    (gpu,) = use_machine("1xH100-80GB MIG").gpus
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    (instance,) = gpu.instances
    assert instance.profile == "7g.80gb", "a whole GPU was asked for"
    shown = kernel.run("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])").stream().strip()
    assert shown == instance.uuid
    gpu.add_process(kernel.pid, 3 * GIB, utilization=60, instance=instance)
    wait_until(lambda: (pool.lease(kernel.lease_id)["memory"]["used_bytes"] or 0) >= 3 * GIB, "its memory is measured")
    wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["utilization_percent"], "and its use, on Hopper")
    pool.client.release(kernel.lease_id)
    pool.wait_state(kernel.lease_id, "draining")
    assert gpu.instances
    gpu.remove_process(kernel.pid)
    pool.wait_state(kernel.lease_id, "ended")
    assert not gpu.instances


def test_pool_killed_before_journalling_a_partition_adopts_it(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    pool.start()
    machine.hang("nvmlComputeInstanceGetInfo_v2")  # which follows the making
    lease_id = ask(pool, "half")
    wait_until(lambda: gpu.instances and gpu.instances[0].uuids, "it is made")
    before = {one.uuid for one in gpu.instances}
    pool.kill()
    machine.lift()
    pool.start()
    pool.wait_state(lease_id, "active")
    assert {one.uuid for one in gpu.instances} == before
    assert {visible(pool, lease_id)} == before
    assert pool.client.pool()["message"] is None, "all of it is the pool's own"


def test_pool_killed_during_creation_completes_the_partition(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    pool.start()
    machine.hang("nvmlGpuInstanceCreateComputeInstance")
    lease_id = ask(pool, "half")
    wait_until(lambda: gpu.instances, "the GPU instance is made")
    pool.kill()
    machine.lift()
    pool.start()
    pool.wait_state(lease_id, "active")
    (instance,) = gpu.instances
    assert visible(pool, lease_id) == instance.uuid


def test_pool_killed_during_destruction_completes_it(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    pool.start()
    lease_id = active(pool, "half")
    machine.hang("nvmlGpuInstanceDestroy")
    pool.client.release(lease_id)
    wait_until(lambda: [one.uuids for one in gpu.instances] == [[]], "the compute instance is gone")
    pool.kill()
    machine.lift()
    pool.start()
    pool.wait_state(lease_id, "ended")
    assert not gpu.instances


@pytest.mark.parametrize("function", ["nvmlComputeInstanceDestroy", "nvmlGpuInstanceDestroy"])
def test_partition_in_use_is_destroyed_once_it_is_free(use_machine: Build, pool: PoolProcess, function: str) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    pool.start()
    lease_id = active(pool, "full")
    machine.fail(function, IN_USE, times=2)
    waiting = ask(pool, "full")
    pool.client.release(lease_id)
    pool.wait_state(lease_id, "ended")
    pool.wait_state(waiting, "active")
    assert len(gpu.instances) == 1
    assert machine.calls()[function] >= 3


def test_unleased_process_blocks_only_its_partition(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    (gpu,) = machine.gpus
    pool.start()
    held, other = active(pool, "half"), active(pool, "half")
    instance = next(one for one in gpu.instances if one.uuid == visible(pool, held))
    gpu.add_process(4_000_000, GIB, instance=instance, stays=True)
    pool.client.release(held)
    pool.client.release(other)
    pool.wait_state(other, "ended")
    machine.forget_calls()
    wait_until(lambda: machine.calls().get("nvmlComputeInstanceDestroy", 0) > 1, "it is tried again")
    assert pool.state(held) == "draining"
    gpu.remove_process(4_000_000)
    pool.wait_state(held, "ended")


def test_lease_on_an_unhealthy_gpu_migrates_with_the_kernels_restart(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str
) -> None:
    machine = use_machine("2xA100-SXM4-80GB MIG")
    gpus = {gpu.uuid: gpu for gpu in machine.gpus}
    pool.start()
    kernel = kernels.start(half)
    lease_id, old_pid = kernel.lease_id, kernel.pid
    pool.wait_state(lease_id, "active")
    assert "is healthy and in service" in fastgpu("migrate", lease_id).stderr
    old = gpus[str(device_of(pool.lease(lease_id)))]
    other = next(gpu for gpu in machine.gpus if gpu is not old)
    before = visible(pool, lease_id)
    old.add_process(old_pid, GIB, instance=old.instances[0])

    old.xid(63)
    said = wait_until(lambda: kernel.run("1").stream("stderr"), "the notebook shows it")
    assert "`%fastgpu migrate`" in said
    assert "the kernel must then be restarted, and what it has on this one is lost" in said
    assert (pool.state(lease_id), pool.lease(lease_id)["health"]["migration"]) == ("active", "restart"), (
        "nothing is moved unasked"
    )
    (shown,) = kernel.run("%fastgpu migrate").shown()
    assert "the restart discards the kernel's GPU memory" in shown
    assert (visible(pool, lease_id), pool.lease(lease_id)["health"]["migration"]) == (before, "accepted")

    assert kernel.manager is not None
    kernel.manager.restart_kernel()
    kernel.wait_ready()
    assert kernel.value("__import__('os').environ['CUDA_VISIBLE_DEVICES']") == repr(other.instances[0].uuid)
    assert (kernel.lease_id, device_of(pool.lease(lease_id))) == (lease_id, other.uuid)
    assert pool.lease(lease_id)["health"]["migration"] is None
    assert not old.instances


def test_partition_destroyed_by_others_ends_only_its_lease(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    pool.start()
    mine, other = active(pool, "half"), active(pool, "1g.10gb")
    next(one for one in gpu.instances if one.uuid == visible(pool, mine)).destroy()
    pool.wait_state(mine, "ended")
    view = pool.lease(mine)
    assert value_of(view["end_reason"]) == "device_lost"
    assert "Its MIG instance was destroyed, not by the pool" in str(explanation_of(view))
    assert pool.state(other) == "active"
    active(pool, "half")


def test_partition_created_again_by_others_is_not_the_leases(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    pool.start()
    mine = active(pool, "half")
    (instance,) = gpu.instances
    instance.destroy()
    theirs = gpu.create_instance("3g.40gb", instance.start).uuid
    pool.wait_state(mine, "ended")
    assert [one.uuids for one in gpu.instances] == [[theirs]]
    wait_until(lambda: "leased as it is" in str(pool.client.pool()["message"]), "it belongs to another program")
    assert visible(pool, active(pool, "half")) == theirs


def test_partition_of_an_administrator_is_leased_as_it_is_and_stays(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    made = gpu.create_instance("2g.20gb", 0).uuid
    pool.start()
    assert "2g.20gb at slot 0 (leased as it is)" in str(pool.client.pool()["message"])
    lease_id = active(pool, "2g.20gb")
    assert visible(pool, lease_id) == made
    beside = active(pool, "2g.20gb")
    pool.kill()
    pool.start()
    for one in (lease_id, beside):
        assert pool.state(one) == "active"
        pool.client.release(one)
        pool.wait_state(one, "ended")
    assert [one.uuids for one in gpu.instances] == [[made]]


def test_unknown_partitions_are_removed_only_if_configured(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    pool.start()
    mine = active(pool, "1g.10gb")
    pool.kill()
    uuid = visible_of(gpu)
    busy = gpu.create_instance("2g.20gb", 0)
    gpu.add_process(4_000_000, GIB, instance=busy, stays=True)
    gpu.create_instance("1g.20gb", 2)
    pool.start("--Devices.remove_unknown_partitions=True")
    assert pool.state(mine) == "active"
    assert {one.uuid for one in gpu.instances} == {uuid, busy.uuid}
    gpu.remove_process(4_000_000)
    wait_until(lambda: visible_of(gpu) == uuid, "it goes once nothing runs there")


def visible_of(gpu: FakeGpu) -> str | None:
    uuids = [one.uuid for one in gpu.instances]
    return uuids[0] if len(uuids) == 1 else None


def test_place_taken_by_others_is_avoided(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    pool.start()
    theirs = gpu.create_instance("1g.20gb", 6)
    active(pool, "1g.10gb")  # which would have been made at slot 6
    assert theirs.uuid in {one.uuid for one in gpu.instances}
    assert {profile for profile, _ in places(gpu)} == {"1g.20gb", "1g.10gb"}


def test_request_that_fits_nowhere_keeps_its_position_with_a_reason(use_machine: Build, pool: PoolProcess) -> None:
    machine = use_machine("2xA100-SXM4-80GB MIG")
    pool.start()
    held, machine_of = active(pool, "full"), {gpu.uuid: gpu for gpu in machine.gpus}
    (other,) = set(machine_of) - {str(device_of(pool.lease(held)))}
    theirs = machine_of[other].create_instance("1g.10gb", 0)
    # Before the pool has looked, or after: it waits, and is next, and nothing is made.
    waiting, behind = ask(pool, "full"), ask(pool, "full")
    pool.wait_state(waiting, "waiting")
    view = pool.lease(waiting)
    assert (position_of(view), position_of(pool.lease(behind))) == (1, 2)
    assert pending_reason_of(view) in ("not_prepared", "capacity")
    if pending_reason_of(view) == "not_prepared":  # else the pool has looked just in time
        assert "1g.10gb at slot 0" in str(explanation_of(view))
    theirs.destroy()
    pool.wait_state(waiting, "active")
    assert pool.state(behind) == "waiting"


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("nvmlDeviceCreateGpuInstanceWithPlacement", INSUFFICIENT_RESOURCES),
        ("nvmlGpuInstanceCreateComputeInstance", INSUFFICIENT_RESOURCES),
        ("nvmlGpuInstanceCreateComputeInstance", IN_USE),
    ],
)
def test_driver_that_fails_for_a_while_leaves_no_partition(
    use_machine: Build, pool: PoolProcess, function: str, error: int
) -> None:
    machine = use_machine("1xA100-SXM4-80GB MIG")
    pool.start()
    machine.fail(function, error, times=3)
    lease_id = active(pool, "half")
    assert machine.calls()[function] == 4
    assert {one.uuid for one in machine.gpus[0].instances} == {visible(pool, lease_id)}


def test_mig_mode_switched_by_others_is_followed(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xH100-80GB MIG").gpus
    pool.start()
    lease_id = active(pool, "half")
    gpu.switch_mig(on=False)
    pool.wait_state(lease_id, "ended")
    assert value_of(pool.lease(lease_id)["end_reason"]) == "device_lost"
    wait_until(lambda: "exclusive" in str(pool.client.devices()), "it is had whole")
    whole = active(pool, "full")
    assert visible(pool, whole) == gpu.uuid
    gpu.switch_mig(on=True)
    pool.wait_state(whole, "ended")
    wait_until(lambda: mechanisms_of(pool.client.devices()) == [["mig"]], "it is divided")
    active(pool, "1g.10gb")


def test_size_that_the_gpu_lacks_is_refused_at_once(use_machine: Build, pool: PoolProcess) -> None:
    use_machine("1xA100-SXM4-80GB MIG, 1xL4")
    pool.start()
    with pytest.raises(NoSuchDevice, match=r"1g\.10gb"):
        ask(pool, "a100:1g.18gb")
    with pytest.raises(NoSuchDevice, match="not divided by MIG"):
        ask(pool, "l4:1g.10gb")
    with pytest.raises(FastGPUError):
        ask(pool, "2xa100")


def test_old_driver_creates_partitions_as_well(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-40GB MIG", old_driver=True).gpus
    pool.start()
    active(pool, "half")
    active(pool, "1g.5gb")
    assert {profile for profile, _ in places(gpu)} == {"3g.20gb", "1g.5gb"}


def test_pool_without_permission_names_the_remedy(use_machine: Build, pool: PoolProcess) -> None:
    use_machine("1xA100-SXM4-80GB MIG", privileged=False)
    pool.start()
    assert pool.client.devices() == []
    assert "mig/config" in str(pool.client.pool()["message"])


def test_status_shows_the_partition(use_machine: Build, pool: PoolProcess) -> None:
    use_machine("1xA100-SXM4-80GB MIG")
    pool.start()
    active(pool, "half")
    shown = fastgpu("status")
    assert "mig 3g.40gb" in shown.stdout
    (lease,) = json.loads(fastgpu("status", "--json").stdout)["leases"]
    assert (gpu_of(lease)["partition"], lease["memory"]["limit_bytes"]) == ("3g.40gb", 40192 * MIB)


# -- the mode ---------------------------------------------------------------------------------------------------------


def test_mig_command_shows_the_mode_and_switches_only_an_empty_gpu(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xH100-80GB").gpus
    pool.start()
    lease_id = active(pool, "full")
    shown = fastgpu("mig", gpu.uuid, "on")
    assert shown.returncode == 0
    assert f"leases that must be released first: {lease_id}" in shown.stdout
    assert "no reset is needed" in shown.stdout
    assert "does not survive a restart" in shown.stdout
    assert "Nothing was changed" in shown.stdout
    refused = fastgpu("mig", gpu.uuid, "on", "--yes")
    assert (refused.returncode, "1 leases are on this device" in refused.stderr) == (1, True)
    assert not gpu.raw.mig_current
    assert pool.state(lease_id) == "active"

    pool.client.release(lease_id)
    pool.wait_state(lease_id, "ended")
    gpu.add_process(4_000_000, GIB, stays=True)
    assert "4000000" in fastgpu("mig", gpu.uuid, "on").stdout
    assert "Processes are on this device: 4000000" in fastgpu("mig", gpu.uuid, "on", "--yes").stderr
    gpu.remove_process(4_000_000)

    assert "MIG mode of" in fastgpu("mig", gpu.uuid, "on", "--yes").stdout
    assert gpu.raw.mig_current
    assert [(one["capabilities"]["mechanisms"], one["drained"]) for one in pool.client.devices()] == [(["mig"], False)]
    half = active(pool, "half")
    assert "leases are on this device" in fastgpu("mig", gpu.uuid, "off", "--yes").stderr
    pool.client.release(half)
    pool.wait_state(half, "ended")
    assert fastgpu("mig", gpu.uuid, "off", "--yes").returncode == 0
    assert pool.client.devices()[0]["capabilities"]["partitions"] == []


def test_mig_command_checks_the_mode_after_the_switch(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB MIG").gpus
    gpu.create_instance("1g.10gb", 0)
    pool.start()
    refused = fastgpu("mig", gpu.uuid, "off", "--yes")
    assert "something uses it" in refused.stderr
    assert (gpu.raw.mig_current, gpu.raw.mig_pending) == (1, 1)
    assert not pool.client.devices()[0]["drained"]


def test_mig_mode_is_pending_until_the_reset(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xA100-SXM4-80GB").gpus
    gpu.set(mig_needs_reset=True)
    pool.start()
    done = fastgpu("mig", gpu.uuid, "on", "--yes")
    assert "MIG mode of" in done.stdout
    assert "when the GPU is reset" in done.stdout
    assert pool.client.devices()[0]["capabilities"]["partitions"] == []


def test_mig_command_for_a_gpu_without_mig_says_so(use_machine: Build, pool: PoolProcess) -> None:
    (gpu,) = use_machine("1xL4").gpus
    pool.start()
    assert "does not support MIG" in fastgpu("mig", gpu.uuid, "on").stdout
    assert "cannot be divided by MIG" in fastgpu("mig", gpu.uuid, "on", "--yes").stderr
    assert "no device" in fastgpu("mig", "GPU-nowhere", "on").stderr
    assert "Name a device" in fastgpu("mig").stderr
