"""Set the free memory of the visible GPU to zero, and exit.

The driver's command for scrubbing (:meth:`.driver.NvidiaDriver.scrub_commands`) runs this module in a process of its
own: the pool manager itself uses no CUDA memory, and this process can be killed where it hangs. It uses the driver's
library and nothing else. It allocates all free memory in pieces, so that each is other memory than the one before,
writes zeros, and frees them. Ordinary device memory only: managed memory would move to the host instead of being
refused.

Prints ``{"overwritten_bytes": …, "left_bytes": …, "total_bytes": …}`` and ends with 0, or one sentence and ends with 1.
Names and numbers are those of CUDA's driver API.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

LIBRARY = "libcuda.so.1"
GIB, MIB = 2**30, 2**20
#: The largest piece, and the smallest: the driver hands memory out in such blocks.
PIECE_BYTES_MAX, PIECE_BYTES_MIN = GIB, 2 * MIB
_OUT_OF_MEMORY = 2
_PR_SET_PDEATHSIG = 1


class CudaRefused(Exception):
    """A call failed; the text names the call and CUDA's error."""

    def __init__(self, name: str, number: int, error: str) -> None:
        super().__init__(f"{name} answered {error}")
        self.number = number


class Cuda:
    """The one device that is visible, with a context on it."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise CudaRefused(LIBRARY, 0, f"nothing: it cannot be loaded ({error})") from error
        count, device, context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        self("cuInit", ctypes.c_uint(0))
        self("cuDeviceGetCount", ctypes.byref(count))
        if count.value != 1:  # the wrong one would be overwritten
            raise CudaRefused("cuDeviceGetCount", 0, f"{count.value} devices where one was to be visible")
        self("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self("cuCtxSetCurrent", context)

    def __call__(self, name: str, *args: Any) -> None:
        """Call a function of the library. Raises :class:`CudaRefused`."""
        number = getattr(self._library, name)(*args)
        if number:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(number, ctypes.byref(text))
            raise CudaRefused(name, number, (text.value or b"").decode(errors="replace") or f"error {number}")

    def memory(self) -> tuple[int, int]:
        """Return free bytes, and all bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, memory_bytes: int) -> int | None:
        """Return the address of a new piece; ``None`` where no piece of that size is free."""
        address = ctypes.c_uint64()
        try:
            self("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(memory_bytes))
        except CudaRefused as refusal:
            if refusal.number == _OUT_OF_MEMORY:
                return None
            raise
        return address.value


def overwrite(cuda: Cuda) -> dict[str, int]:
    """Set all free memory to zero, and return how much that was."""
    pieces: list[tuple[int, int]] = []
    size = PIECE_BYTES_MAX
    while size >= PIECE_BYTES_MIN:
        address = cuda.allocate(size)
        if address is None:
            size //= 2
            continue
        pieces.append((address, size))
        cuda("cuMemsetD8_v2", ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size))
    cuda("cuCtxSynchronize")  # before it, nothing need have been written
    left_bytes, total_bytes = cuda.memory()
    for address, _ in pieces:
        cuda("cuMemFree_v2", ctypes.c_uint64(address))
    overwritten_bytes = sum(size for _, size in pieces)
    return {"overwritten_bytes": overwritten_bytes, "left_bytes": left_bytes, "total_bytes": total_bytes}


def main() -> None:
    """Overwrite the memory and print the result. Ends with its parent, whose pid is the argument."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if len(sys.argv) > 1 and os.getppid() != int(sys.argv[1]):
        sys.exit("The pool manager ended.")
    try:
        sys.stdout.write(json.dumps(overwrite(Cuda())) + "\n")
    except CudaRefused as refusal:
        sys.exit(f"CUDA's {refusal}.")


if __name__ == "__main__":
    main()
