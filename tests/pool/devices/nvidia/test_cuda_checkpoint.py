"""Parking by CUDA's checkpoint: every path of it on a fake CUDA, and the memory that the host needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.driver import DeviceProcess, ListedProcesses, NotNow, ProcessUnusable
from fastgpu_jupyter.pool.devices.nvidia import cuda_checkpoint as checkpoint
from fastgpu_jupyter.pool.devices.nvidia import parking as lease_memory
from fastgpu_jupyter.pool.devices.nvidia.checkpoint_process import NoAnswer, Refused
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import (
    MOVE_S,
    CheckpointParker,
    CudaState,
    mapping,
    uuid_bytes,
)
from fastgpu_jupyter.pool.devices.nvidia.parking import LeaseParker
from fastgpu_jupyter.units import GIB
from fastgpu_jupyter.wire import host_memory
from tests.pool.devices.nvidia.cuda_driver import FakeCuda, PlayedProcesses
from tests.refusals import refused

S = CudaState


def parker(cuda: FakeCuda, processes: PlayedProcesses | None = None) -> CheckpointParker:
    processes = processes or PlayedProcesses(lambda: cuda)
    return CheckpointParker(processes, cuda.clock, cuda.sleep, is_alive=cuda.states.__contains__)


def test_park_locks_all_processes_before_the_first_checkpoint() -> None:
    cuda = FakeCuda(1, 2)
    parking = parker(cuda)
    parking.park([1, 2], 0)
    assert cuda.states == {1: S.CHECKPOINTED, 2: S.CHECKPOINTED}
    assert cuda.done == ["Lock 1", "Lock 2", "Checkpoint 1", "Checkpoint 2"]
    assert cuda.lock_timeouts_ms == [checkpoint.LOCK_MS] * 2
    assert parking.may_be_parked([1]) == [1]
    parking.resume([1, 2], {}, 0)
    assert cuda.states == {1: S.RUNNING, 2: S.RUNNING}
    assert cuda.done[4:] == ["Restore 1", "Restore 2", "Unlock 1", "Unlock 2"]
    assert parking.may_be_parked([1]) == []


def test_park_and_resume_are_safe_to_repeat() -> None:
    cuda = FakeCuda(1)
    for _ in range(2):
        parker(cuda).park([1], 0)
    for _ in range(2):
        parker(cuda).resume([1], {}, 0)
    assert cuda.done == ["Lock 1", "Checkpoint 1", "Restore 1", "Unlock 1"]


@pytest.mark.parametrize("state", [S.LOCKED, S.CHECKPOINTED, S.CHECKPOINTING, S.RESTORING])
def test_park_continues_from_the_state_of_each_process(state: CudaState) -> None:
    cuda = FakeCuda(1)
    cuda.states[1] = state
    parker(cuda).park([1], 0)
    assert cuda.states[1] is S.CHECKPOINTED
    cuda.states[1] = state
    parker(cuda).resume([1], {}, 0)
    assert cuda.states == {1: S.RUNNING}


def test_park_with_a_process_that_cannot_be_locked_changes_nothing() -> None:
    cuda = FakeCuda(1, 2, 3)
    cuda.refuse["Lock 2"] = "CUDA_ERROR_NOT_READY"
    with pytest.raises(Refused, match="did not come to an end within 10 seconds"):
        parker(cuda).park([1, 2, 3], 0)
    assert set(cuda.states.values()) == {S.RUNNING}
    assert cuda.done == ["Lock 1", "Unlock 1"]


def test_park_with_a_failed_checkpoint_restores_the_others() -> None:
    cuda = FakeCuda(1, 2)
    cuda.refuse["Checkpoint 2"] = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(Refused, match="OUT_OF_MEMORY"):
        parker(cuda).park([1, 2], 0)
    assert set(cuda.states.values()) == {S.RUNNING}


def test_park_with_a_failed_process_reports_it_and_others_go_on() -> None:
    cuda = FakeCuda(1, 2)
    cuda.fail.add("Checkpoint 2")
    with pytest.raises(ProcessUnusable, match="process 2"):
        parker(cuda).park([1, 2], 0)
    assert cuda.states == {1: S.RUNNING, 2: S.FAILED}


def test_park_of_a_process_that_had_failed_is_refused_at_once() -> None:
    cuda = FakeCuda(1)
    cuda.states[1] = S.FAILED
    moves: list[Callable[[], object]] = [lambda: parker(cuda).park([1], 0), lambda: parker(cuda).resume([1], {}, 0)]
    for move in moves:
        with pytest.raises(ProcessUnusable):
            move()
    assert parker(cuda).may_be_parked([1]) == [1]


def test_park_that_cannot_be_undone_reports_the_process_as_unusable() -> None:
    cuda = FakeCuda(1, 2)
    cuda.refuse.update({"Checkpoint 2": "CUDA_ERROR_UNKNOWN", "Restore 1": "CUDA_ERROR_OUT_OF_MEMORY"})
    with pytest.raises(ProcessUnusable, match=r"UNKNOWN.*OUT_OF_MEMORY"):
        parker(cuda).park([1, 2], 0)
    assert cuda.states == {1: S.CHECKPOINTED, 2: S.RUNNING}


def test_resume_without_room_leaves_the_process_parked() -> None:
    cuda = FakeCuda(1)
    parker(cuda).park([1], 0)
    cuda.refuse["Restore 1"] = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(Refused, match="OUT_OF_MEMORY"):
        parker(cuda).resume([1], {}, 0)
    assert cuda.states[1] is S.CHECKPOINTED


def test_park_checks_the_state_and_not_the_answer() -> None:
    cuda = FakeCuda(1)
    cuda.lie.add("Checkpoint 1")
    with pytest.raises(Refused, match="left process 1 locked, not checkpointed"):
        parker(cuda).park([1], 0)
    assert cuda.states[1] is S.RUNNING


def test_park_with_a_checkpoint_that_hangs_kills_its_worker_and_restores_the_others() -> None:
    cuda = FakeCuda(1, 2, 3)
    cuda.hang.add("Checkpoint 2")
    processes = PlayedProcesses(lambda: cuda)
    with pytest.raises(NoAnswer, match="did not return from the call 'checkpoint'"):
        parker(cuda, processes).park([1, 2, 3], 10 * GIB)
    assert set(cuda.states.values()) == {S.RUNNING}, "all go on, and the lease is as it was"
    assert cuda.done[-1] == "Unlock 2", "the one that did not answer comes last"
    assert processes.killed == 1
    assert MOVE_S < processes.limits_s["Checkpoint 2"] < 2 * MOVE_S


@pytest.mark.parametrize("call", ["GetState 2", "Lock 2", "Unlock 2"])
def test_park_with_a_process_that_never_answers_reports_it_and_the_others_go_on(call: str) -> None:
    cuda = FakeCuda(1, 2, 3)
    cuda.hang |= {call, "Checkpoint 2", *(["Unlock 2"] if call == "Lock 2" else [])}
    if call == "Lock 2":
        cuda.states[2] = S.LOCKED
    with pytest.raises(ProcessUnusable, match="did not return"):
        parker(cuda).park([1, 2, 3], 0)
    assert (cuda.states[1], cuda.states[3]) == (S.RUNNING, S.RUNNING)


def test_park_of_processes_that_communicate_unlocks_the_first_before_it_asks_for_the_second() -> None:
    """While one process of an NCCL group is locked, calls on the others hang, even the one for their state."""
    cuda = FakeCuda(1, 2, 3)
    cuda.group = {1, 2, 3}
    processes = PlayedProcesses(lambda: cuda)
    with pytest.raises(NoAnswer):
        parker(cuda, processes).park([1, 2, 3], 0)
    assert set(cuda.states.values()) == {S.RUNNING}
    assert processes.killed <= 2


def test_park_finds_what_a_killed_pool_manager_left_locked() -> None:
    cuda = FakeCuda(1, 2)
    cuda.group, cuda.states[1] = {1, 2}, S.LOCKED
    parking = parker(cuda)
    assert parking.may_be_parked([1, 2]) == [1, 2], "the state of the second cannot be found out"
    with pytest.raises(NoAnswer):
        parking.park([1, 2], 0)
    assert set(cuda.states.values()) == {S.RUNNING}


def test_resume_with_a_process_that_never_answers_reports_it_and_the_others_go_on() -> None:
    cuda = FakeCuda(1, 2, 3)
    parking = parker(cuda)
    parking.park([1, 2, 3], 0)
    cuda.hang.add("Restore 2")
    with pytest.raises(ProcessUnusable, match="'restore'"):
        parking.resume([1, 2, 3], {}, 0)
    assert (cuda.states[1], cuda.states[3]) == (S.RUNNING, S.RUNNING)


def test_park_with_a_process_that_stays_transient_gives_up() -> None:
    cuda = FakeCuda(1)
    cuda.states[1], cuda.settles = S.CHECKPOINTING, False
    with pytest.raises(ProcessUnusable, match="has been moving"):
        parker(cuda).park([1], 0)


def test_park_of_a_process_that_ends_succeeds() -> None:
    cuda = FakeCuda(1, 2)
    cuda.ends_at["Lock 1"] = 2
    parker(cuda).park([1, 2], 0)
    assert cuda.states == {1: S.CHECKPOINTED}
    parker(cuda).resume([1, 2], {}, 0)


def test_park_of_a_process_unknown_to_cuda_is_refused() -> None:
    cuda = FakeCuda(1)
    cuda.refuse["GetState 1"] = "CUDA_ERROR_NOT_SUPPORTED"  # one on MIG, say
    with pytest.raises(HostFault, match="NOT_SUPPORTED"):
        parker(cuda).park([1], 0)
    assert parker(cuda).may_be_parked([1]) == []


def test_call_that_the_driver_lacks_is_refused() -> None:
    cuda = FakeCuda(1)
    cuda.absent.add("GetState 1")
    with pytest.raises(HostFault, match="cuCheckpointProcessGetState: it cannot be called here"):
        parker(cuda).park([1], 0)


A, B, C = (f"GPU-{letter * 8}-0000-0000-0000-{letter * 12}" for letter in "abc")


def test_resume_on_another_gpu_names_every_gpu() -> None:
    cuda = FakeCuda(1)
    parking = parker(cuda)
    parking.park([1], 0)
    parking.resume([1], mapping([A], [B], [A, B, C]), 0)
    assert cuda.pairs == [(A, B), (B, A), (C, C)]
    assert uuid_bytes(A)[:4] == b"\xaa" * 4
    for wrong in ("SIM-0", "GPU-12", "GPU-zz"):
        with pytest.raises(HostFault, match="not the UUID"):
            uuid_bytes(wrong)


@pytest.mark.parametrize(
    ("origin", "target", "expected"),
    [
        ("ab", "ab", ""),
        ("ab", "ba", "bacd"),
        ("ab", "bc", "bcad"),
        ("ab", "cd", "cdab"),
        ("a", "d", "dbca"),
    ],
)
def test_mapping_has_each_gpu_once_on_either_side(origin: str, target: str, expected: str) -> None:
    found = mapping(list(origin), list(target), list("abcd"))
    assert found == dict(zip("abcd", expected, strict=False))
    assert sorted(found.values()) == sorted(found)


# -- one lease --------------------------------------------------------------------------------------------------------


class FakeParker:
    """A parker that records its calls."""

    def __init__(self) -> None:
        self.parked: set[int] = set()
        self.calls: list[tuple[Any, ...]] = []

    def may_be_parked(self, pids: Any) -> list[int]:
        return [pid for pid in pids if pid in self.parked]

    def park(self, pids: Any, memory_bytes: int) -> None:
        self.calls.append(("park", list(pids)))
        self.parked.update(pids)

    def resume(self, pids: Any, onto: Any, memory_bytes: int) -> None:
        self.calls.append(("resume", list(pids), dict(onto)))
        self.parked.difference_update(pids)


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """This process, and a child of it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield os.getpid(), child.pid
        child.kill()


@pytest.fixture(autouse=True)
def _cuda_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_memory, "_uses_cuda", lambda _: True)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 100 * GIB)
    monkeypatch.setattr(host_memory, "headroom_bytes", lambda _: None)


def of_lease(
    parker: FakeParker, on_device: dict[int, int | None], *, moves: bool = True, free_bytes: int | None = None
) -> LeaseParker:
    listed = ListedProcesses(tuple(DeviceProcess(number, used) for number, used in on_device.items()))
    return LeaseParker(parker, lambda _: listed, lambda _: free_bytes, lambda: [A, B, C], moves=moves)


def reserve(memory_bytes: int) -> None:
    """Let parked leases take as much host memory as they need."""


def test_lease_parker_parks_all_processes_of_the_lease_and_no_other(family: tuple[int, int]) -> None:
    own, child = family
    parker = FakeParker()
    lease = of_lease(parker, {own: GIB, child: 2 * GIB, 1: 5 * GIB})
    assert lease.park([A], own, 10 * GIB, reserve) == 3 * GIB
    assert parker.calls == [("park", sorted(family))]
    lease.resume([A], [B], own, 0)
    assert parker.calls[1] == ("resume", sorted(family), {A: B, B: A, C: C})


def test_lease_parker_finds_what_an_earlier_pool_parked(family: tuple[int, int]) -> None:
    own, child = family
    parker = FakeParker()
    parker.parked = {child}
    assert of_lease(parker, {own: GIB}).park([A], own, 10 * GIB, reserve) == GIB
    assert parker.calls == [("park", sorted(family))]


def test_lease_parker_leaves_out_kernels_below_a_server(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, child = family
    monkeypatch.setattr(lease_memory, "lease_of", {child: "another"}.get)
    parker = FakeParker()
    assert of_lease(parker, {own: GIB, child: GIB}).park([A], own, 10 * GIB, reserve) == GIB
    assert parker.calls == [("park", [own])]


def test_lease_parker_without_memory_parks_nothing() -> None:
    parker = FakeParker()
    assert of_lease(parker, {}).park([A], os.getpid(), GIB, reserve) == 0
    assert parker.calls == [("park", [])]


def test_lease_parker_counts_unknown_memory_as_the_whole_lease() -> None:
    assert of_lease(FakeParker(), {os.getpid(): None}).park([A], os.getpid(), 10 * GIB, reserve) == 10 * GIB


def test_lease_parker_without_host_memory_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    parker = FakeParker()
    lease = of_lease(parker, {os.getpid(): 10 * GIB})
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 10 * GIB)
    with refused(HostFault, match=r"takes about 10\.5 GiB of host memory, and 10 GiB are available on this machine"):
        lease.park([A], os.getpid(), 10 * GIB, reserve)
    monkeypatch.setattr(host_memory, "available_bytes", lambda: 20 * GIB)
    monkeypatch.setattr(host_memory, "headroom_bytes", lambda _: 9 * GIB)
    with refused(HostFault, match=r"leaves it 9 GiB\. Raise its memory\.max"):
        lease.park([A], os.getpid(), 10 * GIB, reserve)
    assert parker.calls == []


def test_lease_parker_reserves_host_memory_for_what_is_used_and_not_for_the_size() -> None:
    parker = FakeParker()
    reserved: list[int] = []
    lease = of_lease(parker, {os.getpid(): 10 * GIB})
    assert lease.park([A], os.getpid(), 80 * GIB, reserved.append) == 10 * GIB
    assert reserved == [10.5 * GIB]

    def refuse(memory_bytes: int) -> None:
        raise HostFault("There is not so much.")

    with pytest.raises(HostFault, match="not so much"):
        lease.park([A], os.getpid(), 80 * GIB, refuse)
    assert len(parker.calls) == 1


def test_lease_parker_resumes_only_where_enough_memory_is_free() -> None:
    parker = FakeParker()
    parker.parked = {os.getpid()}
    with refused(NotNow, match="parked memory needs 10 GiB, and 9 GiB are free on the GPU"):
        of_lease(parker, {}, free_bytes=9 * GIB).resume([A], [A], os.getpid(), 10 * GIB)
    with refused(NotNow, match="parked memory needs 20 GiB, and 18 GiB are free"):
        of_lease(parker, {}, free_bytes=9 * GIB).resume([A, B], [A, B], os.getpid(), 20 * GIB)
    assert parker.calls == []
    for free_bytes in (10 * GIB, None):
        parker.parked = {os.getpid()}
        of_lease(parker, {}, free_bytes=free_bytes).resume([A], [A], os.getpid(), 10 * GIB)
    assert [call[0] for call in parker.calls] == ["resume"] * 2


def test_lease_parker_of_an_older_driver_refuses_another_gpu() -> None:
    parker = FakeParker()
    lease = of_lease(parker, {}, moves=False)
    lease.resume([A], [A], os.getpid(), 0)
    with pytest.raises(HostFault, match="only to the GPU that it was on"):
        lease.resume([A], [B], os.getpid(), 0)
    assert parker.calls == [("resume", [], {})]


def test_lease_parker_of_an_ended_process_raises() -> None:
    with pytest.raises(HostFault, match="has ended"):
        of_lease(FakeParker(), {}).park([A], 2**22 + 1, GIB, reserve)


# -- the host's memory ------------------------------------------------------------------------------------------------


def test_headroom_is_the_least_of_the_groups_above_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    leaf = groups / "jupyter/kernel"
    leaf.mkdir(parents=True)
    (proc / "7").mkdir(parents=True)
    (proc / "7/cgroup").write_text("0::/jupyter/kernel\n")
    assert host_memory.headroom_bytes(7, proc, groups) is None
    (leaf / "memory.max").write_text("max\n")
    (leaf / "memory.current").write_text("100\n")
    assert host_memory.headroom_bytes(7, proc, groups) is None
    (leaf.parent / "memory.max").write_text("1000\n")
    (leaf.parent / "memory.current").write_text("900\n")
    assert host_memory.headroom_bytes(7, proc, groups) == 100
    (leaf.parent / "memory.stat").write_text("anon 600\ninactive_file 250\n")
    assert host_memory.headroom_bytes(7, proc, groups) == 350
    (leaf / "memory.max").write_text("110\n")
    assert host_memory.headroom_bytes(7, proc, groups) == 10
    (proc / "7/cgroup").write_text("0::/../elsewhere\n")
    assert host_memory.headroom_bytes(7, proc, groups) is None
    assert host_memory.headroom_bytes(8, proc, groups) is None
    (proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     2 kB\n")
    assert host_memory.available_bytes(proc) == 2048
    assert host_memory.available_bytes(tmp_path / "nothing") is None


def test_available_bytes_of_this_host_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (host_memory.available_bytes() or 0) > 2**20
