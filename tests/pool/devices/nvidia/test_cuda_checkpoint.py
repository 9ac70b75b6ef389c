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
from fastgpu_jupyter.pool.devices.driver import ProcessUnusable
from fastgpu_jupyter.pool.devices.nvidia import cuda_checkpoint as checkpoint
from fastgpu_jupyter.pool.devices.nvidia import parking as lease_memory
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import (
    LIMIT_S,
    CheckpointParker,
    CudaState,
    Refused,
    mapping,
    uuid_bytes,
)
from fastgpu_jupyter.pool.devices.nvidia.parking import LeaseParker
from fastgpu_jupyter.pool.host import memory
from fastgpu_jupyter.units import GIB
from tests.pool.devices.nvidia.cuda_driver import FakeCuda

S = CudaState


def parker(cuda: FakeCuda) -> CheckpointParker:
    return CheckpointParker(lambda: cuda, cuda.clock, cuda.sleep, is_alive=cuda.states.__contains__)


def test_park_locks_all_processes_before_the_first_checkpoint() -> None:
    cuda = FakeCuda(1, 2)
    parking = parker(cuda)
    parking.park([1, 2])
    assert cuda.states == {1: S.CHECKPOINTED, 2: S.CHECKPOINTED}
    assert cuda.done == ["Lock 1", "Lock 2", "Checkpoint 1", "Checkpoint 2"]
    assert cuda.lock_timeouts_ms == [checkpoint.LOCK_MS] * 2
    assert parking.is_parked(1)
    parking.resume([1, 2], {})
    assert cuda.states == {1: S.RUNNING, 2: S.RUNNING}
    assert cuda.done[4:] == ["Restore 1", "Restore 2", "Unlock 1", "Unlock 2"]
    assert not parking.is_parked(1)


def test_park_and_resume_are_safe_to_repeat() -> None:
    cuda = FakeCuda(1)
    for _ in range(2):
        parker(cuda).park([1])
    for _ in range(2):
        parker(cuda).resume([1], {})
    assert cuda.done == ["Lock 1", "Checkpoint 1", "Restore 1", "Unlock 1"]


@pytest.mark.parametrize("state", [S.LOCKED, S.CHECKPOINTED, S.CHECKPOINTING, S.RESTORING])
def test_park_continues_from_the_state_of_each_process(state: CudaState) -> None:
    cuda = FakeCuda(1)
    cuda.states[1] = state
    parker(cuda).park([1])
    assert cuda.states[1] is S.CHECKPOINTED
    cuda.states[1] = state
    parker(cuda).resume([1], {})
    assert cuda.states == {1: S.RUNNING}


def test_park_with_a_process_that_cannot_be_locked_changes_nothing() -> None:
    cuda = FakeCuda(1, 2, 3)
    cuda.refuse["Lock 2"] = "CUDA_ERROR_NOT_READY"
    with pytest.raises(Refused, match="did not come to an end within 10 seconds"):
        parker(cuda).park([1, 2, 3])
    assert set(cuda.states.values()) == {S.RUNNING}
    assert cuda.done == ["Lock 1", "Unlock 1"]


def test_park_with_a_failed_checkpoint_restores_the_others() -> None:
    cuda = FakeCuda(1, 2)
    cuda.refuse["Checkpoint 2"] = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(Refused, match="OUT_OF_MEMORY"):
        parker(cuda).park([1, 2])
    assert set(cuda.states.values()) == {S.RUNNING}


def test_park_with_a_failed_process_reports_it_and_others_go_on() -> None:
    cuda = FakeCuda(1, 2)
    cuda.fail.add("Checkpoint 2")
    with pytest.raises(ProcessUnusable, match="process 2"):
        parker(cuda).park([1, 2])
    assert cuda.states == {1: S.RUNNING, 2: S.FAILED}


def test_park_of_a_process_that_had_failed_is_refused_at_once() -> None:
    cuda = FakeCuda(1)
    cuda.states[1] = S.FAILED
    moves: list[Callable[[], object]] = [lambda: parker(cuda).park([1]), lambda: parker(cuda).resume([1], {})]
    for move in moves:
        with pytest.raises(ProcessUnusable):
            move()
    assert parker(cuda).is_parked(1)


def test_park_that_cannot_be_undone_reports_the_process_as_unusable() -> None:
    cuda = FakeCuda(1, 2)
    cuda.refuse.update({"Checkpoint 2": "CUDA_ERROR_UNKNOWN", "Restore 1": "CUDA_ERROR_OUT_OF_MEMORY"})
    with pytest.raises(ProcessUnusable, match=r"UNKNOWN.*OUT_OF_MEMORY"):
        parker(cuda).park([1, 2])
    assert cuda.states == {1: S.CHECKPOINTED, 2: S.RUNNING}


def test_resume_without_room_leaves_the_process_parked() -> None:
    cuda = FakeCuda(1)
    parker(cuda).park([1])
    cuda.refuse["Restore 1"] = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(Refused, match="OUT_OF_MEMORY"):
        parker(cuda).resume([1], {})
    assert cuda.states[1] is S.CHECKPOINTED


def test_park_checks_the_state_and_not_the_answer() -> None:
    cuda = FakeCuda(1)
    cuda.lie.add("Checkpoint 1")
    with pytest.raises(Refused, match="left process 1 locked, not checkpointed"):
        parker(cuda).park([1])
    assert cuda.states[1] is S.RUNNING


def test_park_that_takes_too_long_is_undone() -> None:
    cuda = FakeCuda(1)
    cuda.takes_s["Checkpoint 1"] = LIMIT_S + 1
    with pytest.raises(HostFault, match="longer than"):
        parker(cuda).park([1])
    assert cuda.states[1] is S.RUNNING


def test_park_with_a_process_that_stays_transient_gives_up() -> None:
    cuda = FakeCuda(1)
    cuda.states[1], cuda.settles = S.CHECKPOINTING, False
    with pytest.raises(ProcessUnusable, match="has been moving"):
        parker(cuda).park([1])


def test_park_of_a_process_that_ends_succeeds() -> None:
    cuda = FakeCuda(1, 2)
    cuda.ends_at["Lock 1"] = 2
    parker(cuda).park([1, 2])
    assert cuda.states == {1: S.CHECKPOINTED}
    parker(cuda).resume([1, 2], {})


def test_park_of_a_process_unknown_to_cuda_is_refused() -> None:
    cuda = FakeCuda(1)
    cuda.refuse["GetState 1"] = "CUDA_ERROR_NOT_SUPPORTED"  # one on MIG, say
    with pytest.raises(HostFault, match="NOT_SUPPORTED"):
        parker(cuda).park([1])
    assert not parker(cuda).is_parked(1)


def test_checkpoint_parker_without_the_package_says_what_to_install() -> None:
    def absent() -> Any:
        raise ImportError("cuda")

    with pytest.raises(HostFault, match=r"fastgpu-jupyter\[park\]"):
        CheckpointParker(absent)
    with pytest.raises(HostFault, match="too old"):
        CheckpointParker(object)
    cuda = FakeCuda()
    cuda.refuse["cuInit"] = "CUDA_ERROR_NO_DEVICE"
    with pytest.raises(HostFault, match="NO_DEVICE"):
        parker(cuda)
    cuda = FakeCuda(1)
    cuda.absent.add("GetState 1")
    with pytest.raises(HostFault, match="cannot be asked for cuCheckpointProcessGetState"):
        parker(cuda).park([1])


A, B, C = (f"GPU-{letter * 8}-0000-0000-0000-{letter * 12}" for letter in "abc")


def test_resume_on_another_gpu_names_every_gpu() -> None:
    cuda = FakeCuda(1)
    parking = parker(cuda)
    parking.park([1])
    parking.resume([1], mapping([A], [B], [A, B, C]))
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

    def is_parked(self, pid: int) -> bool:
        return pid in self.parked

    def park(self, pids: Any) -> None:
        self.calls.append(("park", list(pids)))
        self.parked.update(pids)

    def resume(self, pids: Any, onto: Any) -> None:
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
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * GIB)
    monkeypatch.setattr(memory, "headroom_bytes", lambda _: None)


def of_lease(parker: FakeParker, on_device: dict[int, int | None], *, moves: bool = True) -> LeaseParker:
    return LeaseParker(parker, lambda _: on_device, lambda: [A, B, C], moves=moves)


def test_lease_parker_parks_all_processes_of_the_lease_and_no_other(family: tuple[int, int]) -> None:
    own, child = family
    parker = FakeParker()
    lease = of_lease(parker, {own: GIB, child: 2 * GIB, 1: 5 * GIB})
    assert lease.park([A], own, 10 * GIB) == 3 * GIB
    assert parker.calls == [("park", sorted(family))]
    lease.resume([A], [B], own)
    assert parker.calls[1] == ("resume", sorted(family), {A: B, B: A, C: C})


def test_lease_parker_finds_what_an_earlier_pool_parked(family: tuple[int, int]) -> None:
    own, child = family
    parker = FakeParker()
    parker.parked = {child}
    assert of_lease(parker, {own: GIB}).park([A], own, 10 * GIB) == GIB
    assert parker.calls == [("park", sorted(family))]


def test_lease_parker_leaves_out_kernels_below_a_server(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, child = family
    monkeypatch.setattr(lease_memory, "lease_of", {child: "another"}.get)
    parker = FakeParker()
    assert of_lease(parker, {own: GIB, child: GIB}).park([A], own, 10 * GIB) == GIB
    assert parker.calls == [("park", [own])]


def test_lease_parker_without_memory_parks_nothing() -> None:
    parker = FakeParker()
    assert of_lease(parker, {}).park([A], os.getpid(), GIB) == 0
    assert parker.calls == [("park", [])]


def test_lease_parker_counts_unknown_memory_as_the_whole_lease() -> None:
    assert of_lease(FakeParker(), {os.getpid(): None}).park([A], os.getpid(), 10 * GIB) == 10 * GIB


def test_lease_parker_without_host_memory_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    parker = FakeParker()
    lease = of_lease(parker, {os.getpid(): 10 * GIB})
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 * GIB)
    with pytest.raises(HostFault, match="10 GiB would move to the host's memory, and 10 GiB are left there"):
        lease.park([A], os.getpid(), 10 * GIB)
    monkeypatch.setattr(memory, "available_bytes", lambda: 20 * GIB)
    monkeypatch.setattr(memory, "headroom_bytes", lambda _: 9 * GIB)
    with pytest.raises(HostFault, match=r"leaves it 9 GiB of memory.*memory\.max"):
        lease.park([A], os.getpid(), 10 * GIB)
    assert parker.calls == []


def test_lease_parker_of_an_older_driver_refuses_another_gpu() -> None:
    parker = FakeParker()
    lease = of_lease(parker, {}, moves=False)
    lease.resume([A], [A], os.getpid())
    with pytest.raises(HostFault, match="only to the GPU that it was on"):
        lease.resume([A], [B], os.getpid())
    assert parker.calls == [("resume", [], {})]


def test_lease_parker_of_an_ended_process_raises() -> None:
    with pytest.raises(HostFault, match="has ended"):
        of_lease(FakeParker(), {}).park([A], 2**22 + 1, GIB)


# -- the host's memory ------------------------------------------------------------------------------------------------


def test_headroom_is_the_least_of_the_groups_above_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    leaf = groups / "jupyter/kernel"
    leaf.mkdir(parents=True)
    (proc / "7").mkdir(parents=True)
    (proc / "7/cgroup").write_text("0::/jupyter/kernel\n")
    assert memory.headroom_bytes(7, proc, groups) is None
    (leaf / "memory.max").write_text("max\n")
    (leaf / "memory.current").write_text("100\n")
    assert memory.headroom_bytes(7, proc, groups) is None
    (leaf.parent / "memory.max").write_text("1000\n")
    (leaf.parent / "memory.current").write_text("900\n")
    assert memory.headroom_bytes(7, proc, groups) == 100
    (leaf.parent / "memory.stat").write_text("anon 600\ninactive_file 250\n")
    assert memory.headroom_bytes(7, proc, groups) == 350
    (leaf / "memory.max").write_text("110\n")
    assert memory.headroom_bytes(7, proc, groups) == 10
    (proc / "7/cgroup").write_text("0::/../elsewhere\n")
    assert memory.headroom_bytes(7, proc, groups) is None
    assert memory.headroom_bytes(8, proc, groups) is None
    (proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:     2 kB\n")
    assert memory.available_bytes(proc) == 2048
    assert memory.available_bytes(tmp_path / "nothing") is None


def test_available_bytes_of_this_host_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (memory.available_bytes() or 0) > 2**20
