"""The stub of ``libcuda.so.1``, compiled, and the memory of GPUs that exist only in files."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

from tests.compiled import Compiler

_HERE = Path(__file__).parent
_NAME = "libcuda.so.1"
PAGES, PAGE_BYTES = 16, 2 << 20
MEMORY_BYTES = PAGES * PAGE_BYTES
OUT_OF_MEMORY, UNKNOWN = 2, 999


class _Page(ctypes.Structure):
    _fields_ = (("pid", ctypes.c_int32), ("length", ctypes.c_int32), ("began", ctypes.c_uint64))


class _Head(ctypes.Structure):
    _fields_ = (
        ("fail", ctypes.c_char * 32),
        ("error", ctypes.c_int32),
        ("hangs", ctypes.c_int32),
        ("calls", ctypes.c_int32),
        ("padding", ctypes.c_int32),
        ("page", _Page * PAGES),
    )


class FakeMemory:
    """The memory of one GPU, or of one MIG instance, by its UUID."""

    def __init__(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(PAGE_BYTES + MEMORY_BYTES)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._head = _Head.from_buffer(self._map)

    def fail(self, function: str, error: int = UNKNOWN) -> None:
        """From now on ``function`` gives ``error``."""
        self._head.error, self._head.hangs, self._head.fail = error, 0, function.encode()

    def hang(self, function: str) -> None:
        """From now on ``function`` does not return, until :meth:`lift`."""
        self._head.error, self._head.hangs, self._head.fail = 0, 1, function.encode()

    def lift(self) -> None:
        """It works again, also for the calls that hang."""
        self._head.fail, self._head.error, self._head.hangs = b"", 0, 0

    @property
    def contexts(self) -> int:
        """How many were ever made."""
        return int(self._head.calls)

    def pages_with(self, word: int) -> int:
        """How many pages begin with those 32 bits, in whatever process."""
        begins = (PAGE_BYTES + page * PAGE_BYTES for page in range(PAGES))
        return sum(self._map[at : at + 4] == word.to_bytes(4, "little") for at in begins)

    def close(self) -> None:
        self.lift()
        del self._head
        self._map.close()


class CudaStub:
    """The library, in ``folder``; the memory of its devices is in ``memory_folder``."""

    def __init__(self, compiler: Compiler, memory_folder: Path) -> None:
        self.folder, self.memory_folder = compiler.library("libcuda", _NAME, [_HERE / "stub.c"]), memory_folder

    def memory(self, uuid: str) -> FakeMemory:
        """A device of that name, with memory in which nothing was ever written."""
        return FakeMemory(self.memory_folder / uuid)

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment, from its start on, to see the devices."""
        paths = [str(self.folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_LIBRARY_PATH": os.pathsep.join(paths), "FAKE_CUDA_FOLDER": str(self.memory_folder)}
