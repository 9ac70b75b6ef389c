"""What NVML says about the devices of the job, by ctypes: a node need not have pynvml.

All calls are made in one thread, because a driver may hang. What cannot be found out is None.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .node import of_this_job

SAMPLE_S = 2.0
PROCESSES_MAX = 256
_NAME_BYTES = 96
#: In place of a number that the driver does not have.
_NOT_AVAILABLE = 2**64 - 1


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_uint64), ("free", ctypes.c_uint64), ("used", ctypes.c_uint64))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Process(ctypes.Structure):
    """``nvmlProcessInfo_t`` of the functions with the suffix ``_v3``."""

    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_uint64),
        ("instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class NvmlCallFailed(Exception):
    """A call of NVML has failed, or the library does not have it."""


class Nvml:
    """The library, initialized. Raises :class:`OSError` where there is none, :class:`NvmlCallFailed` without a driver.

    ``environ`` has ``CUDA_VISIBLE_DEVICES`` of the job: numbers in the order of NVML, or UUIDs.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._library = ctypes.CDLL("libnvidia-ml.so.1")
        self._call("nvmlInitWithFlags", ctypes.c_uint(0))
        self._handles = [self._handle(name) for name in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]

    def devices(self) -> list[dict[str, Any]]:
        """Return number, UUID, model and memory of each device of the job."""
        return [
            {
                "index": self._index(handle),
                "uuid": self._text("nvmlDeviceGetUUID", handle),
                "model": self._text("nvmlDeviceGetName", handle),
                "memory_bytes": self._memory(handle)[1],
            }
            for handle in self._handles
        ]

    def sample(self) -> list[dict[str, Any]]:
        """Return the use of each device; of its processes only those of this job."""
        found = []
        for handle in self._handles:
            used, total = self._memory(handle)
            found.append(
                {
                    "uuid": self._text("nvmlDeviceGetUUID", handle),
                    "utilization_percent": self._utilization(handle),
                    "memory_used_bytes": used,
                    "memory_total_bytes": total,
                    "memory_by_process": self._processes(handle),
                }
            )
        return found

    def _call(self, function: str, *arguments: Any) -> None:
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise NvmlCallFailed(function) from None
        if code:
            raise NvmlCallFailed(f"{function}: {code}")

    def _handle(self, name: str) -> Any:
        handle = ctypes.c_void_p()
        if name.isdigit():
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(name)), ctypes.byref(handle))
        else:
            self._call("nvmlDeviceGetHandleByUUID", name.encode(), ctypes.byref(handle))
        return handle

    def _index(self, handle: Any) -> int:
        number = ctypes.c_uint()
        try:
            self._call("nvmlDeviceGetIndex", handle, ctypes.byref(number))
        except NvmlCallFailed:
            return 0  # a MIG instance
        return number.value

    def _text(self, function: str, handle: Any) -> str:
        text = ctypes.create_string_buffer(_NAME_BYTES)
        self._call(function, handle, text, ctypes.c_uint(_NAME_BYTES))
        return text.value.decode(errors="replace")

    def _memory(self, handle: Any) -> tuple[int | None, int | None]:
        """Return used and whole memory in bytes."""
        memory = _Memory()
        try:
            self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        except NvmlCallFailed:
            return None, None
        return memory.used, memory.total

    def _utilization(self, handle: Any) -> int | None:
        rates = _Utilization()
        try:
            self._call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(rates))
        except NvmlCallFailed:
            return None
        return rates.gpu if rates.gpu <= 100 else None

    def _processes(self, handle: Any) -> dict[int, int] | None:
        count = ctypes.c_uint(PROCESSES_MAX)
        processes = (_Process * PROCESSES_MAX)()
        try:
            self._call("nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), processes)
        except NvmlCallFailed:
            return None
        own = [each for each in processes[: count.value] if of_this_job(each.pid)]
        if any(each.memory == _NOT_AVAILABLE for each in own):
            return None
        return {each.pid: each.memory for each in own}


class DeviceSampler(threading.Thread):
    """Keeps what NVML says. ``devices`` and ``use`` are None while that is unknown.

    Calls ``on_ready``, from its thread, once NVML has answered or there is none.
    """

    def __init__(self, environ: Mapping[str, str], on_ready: Callable[[], Any] = lambda: None) -> None:
        super().__init__(name="fastgpu-nvml", daemon=True)
        self.ready = threading.Event()
        self._on_ready = on_ready
        self.devices: list[dict[str, Any]] | None = None
        self._environ = dict(environ)
        self._use: tuple[float, list[dict[str, Any]]] | None = None
        self._wake = threading.Event()
        self._asked = 0.0

    def use(self, now: float) -> list[dict[str, Any]] | None:
        """Return the use of the devices, None if the last answer is old; ask for the next one."""
        self._asked = now
        self._wake.set()
        known = self._use
        return None if known is None or now - known[0] > 3 * SAMPLE_S else known[1]

    def run(self) -> None:
        """Answer each question of :meth:`use`, until the driver cannot be loaded."""
        try:
            library = Nvml(self._environ)
            self.devices = library.devices()
        except (OSError, NvmlCallFailed):
            return
        finally:
            self.ready.set()
            self._on_ready()
        while True:
            asked = self._asked
            try:
                self._use = asked, library.sample()
            except NvmlCallFailed:
                self._use = None
            self._wake.wait()
            self._wake.clear()
