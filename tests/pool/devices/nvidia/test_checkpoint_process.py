"""The processes that make CUDA's checkpoint calls: real ones, with a played CUDA in them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.nvidia.checkpoint_process import CheckpointProcesses, NoAnswer, Refused
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import CheckpointParker
from tests.helpers import alive
from tests.pool.devices.nvidia.played_cuda import CHECKPOINTED, CHECKPOINTING, LOCKED, RUNNING, PlayedCuda
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
#: For calls that are answered, and for one that hangs.
LONG_S, SHORT_S = 60.0, 0.3


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlayedCuda:
    return PlayedCuda(tmp_path / "cuda", monkeypatch)


@pytest.fixture
def processes(cuda: PlayedCuda) -> Iterator[CheckpointProcesses]:
    started = CheckpointProcesses()
    yield started
    started.close()


@pytest.fixture
def target() -> Iterator[int]:
    """A process that CUDA is asked about."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def test_calls_of_several_moves_are_made_by_one_worker(
    cuda: PlayedCuda, processes: CheckpointProcesses, target: int
) -> None:
    for _ in range(2):
        with processes.calls() as make_call:
            assert make_call("state", target, LONG_S) == RUNNING
            assert make_call("lock", target, LONG_S, timeout_ms=10) is None
            with pytest.raises(Refused, match="cuCheckpointProcessLock: 401"):
                make_call("lock", target, LONG_S, timeout_ms=10)
            make_call("unlock", target, LONG_S)
    assert len({pid for _, pid in cuda.calls()}) == 1
    assert [call for call, _ in cuda.calls()].count("cuInit") == 1


def test_call_that_hangs_costs_its_worker_and_the_next_call_has_another(
    cuda: PlayedCuda, processes: CheckpointProcesses, target: int
) -> None:
    processes.probe()
    cuda.hang(f"Lock {target}")
    with processes.calls() as make_call:
        with pytest.raises(NoAnswer, match="'lock'"):
            make_call("lock", target, SHORT_S, timeout_ms=10)
        (hung,) = {pid for _, pid in cuda.calls()}
        assert not alive(hung)
        assert make_call("state", target, LONG_S) == RUNNING


def test_hangs_of_several_moves_do_not_delay_another_one(
    cuda: PlayedCuda, processes: CheckpointProcesses, target: int
) -> None:
    """The deadline of the calls that hang is never reached here."""
    cuda.hang(f"Checkpoint {target}")
    failures: list[BaseException] = []

    def hang() -> None:
        try:
            with processes.calls() as make_call:
                make_call("checkpoint", target, LONG_S)
        except HostFault as fault:
            failures.append(fault)

    threads = [threading.Thread(target=hang) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: [call for call, _ in cuda.calls()].count(f"Checkpoint {target}") == 5, "five calls hang")
    with processes.calls() as make_call:
        assert make_call("state", target, LONG_S) == RUNNING
    cuda.hang()  # they return
    for thread in threads:
        thread.join()
    assert [type(one) for one in failures] == [Refused] * 5, "they were answered: it was not locked"


def test_worker_ends_with_the_pool_manager_though_a_call_hangs(cuda: PlayedCuda, target: int) -> None:
    code = (
        "from fastgpu_jupyter.pool.devices.nvidia.checkpoint_process import CheckpointProcesses\n"
        f"with CheckpointProcesses().calls() as make_call:\n    make_call('lock', {target}, 60, timeout_ms=10)"
    )
    cuda.hang(f"Lock {target}")
    with subprocess.Popen([sys.executable, "-c", code]) as manager:
        calls = wait_until(lambda: [one for one in cuda.calls() if one[0] == f"Lock {target}"], "the call hangs")
        manager.kill()
    wait_until(lambda: not alive(calls[0][1]), "the worker ends")


@pytest.mark.parametrize(
    ("package", "says"),
    [
        (None, "CUDA refused cuInit: 100"),
        ("raise ImportError", r"needs NVIDIA's Python package cuda-bindings: pip install 'fastgpu-jupyter\[park\]'"),
        ("", "too old to park"),
        ("import os; os._exit(3)", "has ended"),
    ],
)
def test_worker_that_cannot_begin_says_what_is_missing(
    tmp_path: Path, cuda: PlayedCuda, monkeypatch: pytest.MonkeyPatch, package: str | None, says: str
) -> None:
    if package is None:
        cuda.refuse("cuInit")
    else:
        folder = tmp_path / "other/cuda/bindings"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        (folder / "__init__.py").touch()
        (folder / "driver.py").write_text(package)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "other"), os.environ["PYTHONPATH"]]))
    with pytest.raises(HostFault, match=says):
        CheckpointProcesses().probe()


def test_worker_that_does_not_begin_is_killed(cuda: PlayedCuda) -> None:
    cuda.hang("cuInit")
    with pytest.raises(NoAnswer, match="'cuInit'"):
        CheckpointProcesses(start_s=SHORT_S).probe()


def test_park_after_a_hang_leaves_the_process_running(
    cuda: PlayedCuda, processes: CheckpointProcesses, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint.MOVE_S", SHORT_S)
    cuda.hang(f"Checkpoint {target}")
    parker = CheckpointParker(processes)
    with pytest.raises(NoAnswer):
        parker.park([target], 0)
    assert cuda.state(target) == RUNNING
    cuda.hang()
    monkeypatch.undo()

    def move() -> None:
        wait_until(lambda: cuda.state(target) == CHECKPOINTING, "its memory moves")
        cuda.set_state(target, CHECKPOINTED)

    mover = threading.Thread(target=move)
    mover.start()
    parker.park([target], 0)
    mover.join()
    assert parker.may_be_parked([target]) == [target]


def test_state_of_a_process_that_does_not_answer_may_be_parked(
    cuda: PlayedCuda, processes: CheckpointProcesses, target: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint.CALL_S", SHORT_S)
    cuda.set_state(target, LOCKED)
    cuda.hang(f"GetState {target}")
    assert CheckpointParker(processes).may_be_parked([target]) == [target]
