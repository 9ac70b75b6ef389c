"""A process that runs commands on a GPU, with nothing but the driver's own library (``libcuda.so.1``).

Run as ``python -m tests.gpu.cuda``: each line of standard input is a JSON list, a method of :class:`Worker` and its
arguments; each line of output is ``[CUDA's error number, value]``. A worker of its own for each story: a fault on the
GPU ends all that a process can do there.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

from tests.command_process import CommandProcess

OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700
MIB = 2**20
#: ``store`` writes where nothing is; ``spin`` computes for about so many clocks.
PTX = b"""
.version 6.0
.target sm_60
.address_size 64
.visible .entry store()
{
    .reg .b64 %a;
    .reg .b32 %v;
    mov.u64 %a, 0x70000000;
    mov.u32 %v, 1;
    st.global.u32 [%a], %v;
    ret;
}
.visible .entry spin(.param .u64 clocks)
{
    .reg .b64 %n, %b, %e, %d;
    .reg .pred %p;
    ld.param.u64 %n, [clocks];
    mov.u64 %b, %clock64;
again:
    mov.u64 %e, %clock64;
    sub.u64 %d, %e, %b;
    setp.lt.u64 %p, %d, %n;
    @%p bra again;
    ret;
}
\0"""


class CudaError(Exception):
    """CUDA answered with an error."""

    def __init__(self, number: int) -> None:
        super().__init__(f"CUDA error {number}")
        self.number = number


class Worker:
    """One context on the first visible GPU."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._blocks: list[tuple[ctypes.c_uint64, int]] = []
        self._module = ctypes.c_void_p()

    def _call(self, name: str, *args: Any) -> None:
        number = getattr(self._library, name)(*args)
        if number:
            raise CudaError(number)

    def start(self) -> None:
        """Make a context."""
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuModuleLoadData", ctypes.byref(self._module), PTX)

    def take(self, memory_bytes: int) -> None:
        """Allocate one block; what was in it stays in it."""
        pointer = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(memory_bytes))
        self._blocks.append((pointer, memory_bytes))

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and that there are, as CUDA says it to this process."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def take_all(self, block_bytes: int) -> int:
        """Allocate blocks until there is no room; how many."""
        count = 0
        while True:
            try:
                self.take(block_bytes)
            except CudaError as error:
                if error.number != OUT_OF_MEMORY:
                    raise
                return count
            count += 1

    def fill(self, word: int) -> None:
        """Write the same 32 bits all over what was allocated."""
        for pointer, memory_bytes in self._blocks:
            self._call("cuMemsetD32_v2", pointer, ctypes.c_uint(word), ctypes.c_size_t(memory_bytes // 4))
        self._call("cuCtxSynchronize")

    def count(self, word: int) -> int:
        """How many MiB of what was allocated have that word at their beginning."""
        found, buffer = 0, ctypes.c_uint32()
        for pointer, memory_bytes in self._blocks:
            for offset in range(0, memory_bytes, MIB):
                self._call("cuMemcpyDtoH_v2", ctypes.byref(buffer), ctypes.c_uint64(pointer.value + offset), 4)
                found += buffer.value == word
        return found

    def run(self, name: str, clocks: int = 0) -> None:
        """Launch one thread of a function of the module, and wait for it."""
        function, argument = ctypes.c_void_p(), ctypes.c_uint64(clocks)
        self._call("cuModuleGetFunction", ctypes.byref(function), self._module, name.encode())
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        self._call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, arguments if name == "spin" else None, None)
        self._call("cuCtxSynchronize")


class WorkerProcess(CommandProcess):
    """A worker as a process of its own. Raises :class:`CudaError`."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__("tests.gpu.cuda", env=environment, error=CudaError)


def main() -> None:
    """Do what the lines say."""
    worker = Worker()
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            answer = [0, getattr(worker, name)(*args)]
        except CudaError as error:
            answer = [error.number, None]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
