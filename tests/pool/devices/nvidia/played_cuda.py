"""A CUDA whose checkpoint calls are played by files in a folder, for the processes that a test starts.

See ``fake_cuda/cuda/bindings/driver.py``, which takes the place of NVIDIA's package in these processes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.nvml.machine import FakeGpu

FAKE_CUDA = Path(__file__).parent / "fake_cuda"
RUNNING, LOCKED, CHECKPOINTED, CHECKPOINTING, RESTORING = 0, 1, 2, 4, 5

#: A cell after which the kernel has CUDA loaded, as far as anybody can see.
PREPARE = """
import mmap, os, pathlib, signal, time
folder = pathlib.Path(os.environ["FASTGPU_PLAYED_CUDA"])
library = folder / "libcuda.so.1"
library.write_bytes(b"fake")
opened = library.open("rb")
mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
state = folder / str(os.getpid())
"""


class PlayedCuda:
    """What the processes of a test see of CUDA from here on."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        patch.setenv("FASTGPU_PLAYED_CUDA", str(folder))
        paths = [str(FAKE_CUDA), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def state(self, pid: int) -> int:
        """Return the state of a process."""
        path = self.folder / str(pid)
        return int(path.read_text()) if path.exists() else RUNNING

    def set_state(self, pid: int, state: int) -> None:
        """Set the state of a process."""
        _replace(self.folder / str(pid), str(state))

    def hang(self, *calls: str) -> None:
        """Let these calls hang, as in ``Checkpoint 17``, and no others."""
        _replace(self.folder / "hang", "\n".join(calls))

    def refuse(self, *calls: str) -> None:
        """Let these calls be refused, and no others."""
        _replace(self.folder / "refuse", "\n".join(calls))

    def calls(self) -> list[tuple[str, int]]:
        """Return the calls that were made, each with the process that made it."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(call, int(pid)) for call, _, pid in (line.rpartition(" by ") for line in lines)]


class Mover:
    """Moves the memory of processes between the simulated GPUs and the simulated host, as their states say."""

    def __init__(self, cuda: PlayedCuda, gpu: FakeGpu) -> None:
        self.cuda = cuda
        self._gpu = gpu
        self.has: dict[int, int] = {}
        self._on: dict[int, FakeGpu] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._move_for_ever)
        self._thread.start()

    def put(self, pid: int, memory_bytes: int, gpu: FakeGpu | None = None) -> None:
        """The process has so much on the GPU."""
        self.has[pid], self._on[pid] = memory_bytes, gpu or self._gpu
        self._on[pid].add_process(pid, memory_bytes)

    def close(self) -> None:
        """Move nothing any more."""
        self._done.set()
        self._thread.join()

    def _move_for_ever(self) -> None:
        while not self._done.wait(0.02):
            for pid, memory_bytes in list(self.has.items()):
                state = self.cuda.state(pid)
                if state == CHECKPOINTING:
                    self._on[pid].remove_process(pid)
                    self.cuda.set_state(pid, CHECKPOINTED)
                elif state == RESTORING:
                    self._on[pid].add_process(pid, memory_bytes)
                    self.cuda.set_state(pid, LOCKED)


def _replace(path: Path, text: str) -> None:
    """Replace a file as a whole: a concurrent reader reads one or the other."""
    written = path.with_suffix(".written")
    written.write_text(text)
    written.replace(path)
