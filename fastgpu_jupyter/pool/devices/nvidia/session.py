"""The NVML session, and calls whose answers are checked: an answer that cannot be true is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pynvml

from ....errors import HostFault
from ....units import MEMORY_BYTES_MAX
from ...host import machine
from ..registration import DriverNotInstalled
from .env import VISIBLE_DEVICES

#: Texts of NVML that are longer are no names.
TEXT_MAX = 96


#: Return codes that are answers: the call, the GPU or the permissions of this process do not allow what was asked.
UNANSWERABLE = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
_NO_PERMISSION = (
    "this process may not read it. In a container that has only a MIG instance of the GPU, run the pool where the "
    "whole GPU is visible"
)


class Unanswerable(HostFault):
    """The driver answers, and cannot say what was asked: that is not silence."""


class SessionLost(HostFault):
    """The session is not valid any more, as after the driver was loaded again."""


class Identity(NamedTuple):
    """Which GPU has an index."""

    handle: Any
    uuid: str
    divided: bool  #: whether it is in MIG mode


def open_session() -> None:
    """Open the session.

    Raises :class:`DriverNotInstalled` where there is no driver, :class:`HostFault` where one does not answer.
    """
    # It restricts which GPUs the pool serves (:mod:`.visibility`), not what programs that the pool starts may see.
    os.environ.pop(VISIBLE_DEVICES, None)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound as error:
        text = "There is no NVIDIA driver on this machine (libnvidia-ml.so.1 was not found)."
        raise DriverNotInstalled(text) from error
    except pynvml.NVMLError as error:
        raise HostFault(
            f"The NVIDIA driver does not answer ({error}). Check it with `nvidia-smi`; "
            "FastGPU does not simulate GPUs on a machine whose GPUs are broken."
        ) from error


def close_session() -> None:
    """End the session, where there is one."""
    with suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()


def ask(what: str, call: Callable[..., Any], *args: Any) -> Any:
    """Return the answer of a call of NVML.

    Raises :class:`Unanswerable` where the driver cannot say that here, :class:`HostFault` where the call fails.
    """
    try:
        return call(*args)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
        if is_unanswerable(error):
            raise Unanswerable(f"The NVIDIA driver cannot {what} here ({error}).") from error
        if getattr(error, "value", None) in (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
            raise SessionLost(f"The NVIDIA driver was unloaded ({error}). Check with `nvidia-smi`.") from error
        raise HostFault(f"The NVIDIA driver could not {what} ({error}). Check with `nvidia-smi`.") from error


def is_unanswerable(error: Exception) -> bool:
    """Return whether an error of the bindings is an answer about the question, and not about the GPU.

    A driver that lacks the newest form of a call gives an error that is not one of NVML's.
    """
    return isinstance(error, pynvml.NVMLLibraryMismatchError) or getattr(error, "value", None) in UNANSWERABLE


def gpu_count() -> int:
    """Return the number of GPUs that NVML shows."""
    return _sensible(ask("list its GPUs", pynvml.nvmlDeviceGetCount), 0, 1024, "number of GPUs")


def identify(index: int) -> Identity:
    """Return which GPU has that index."""
    handle = ask("say which GPU that is", pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = _text(ask("say which GPU that is", pynvml.nvmlDeviceGetUUID, handle), "GPU-", "UUID")
    return Identity(handle, uuid, in_mig_mode(handle))


def name_of(handle: Any) -> str:
    """Return the name of a GPU's model."""
    return _text(ask("say its name", pynvml.nvmlDeviceGetName, handle), "", "name")


def minor_of(handle: Any, index: int) -> int:
    """Return the number of a GPU's device file; its index where the driver does not report it."""
    try:
        return int(pynvml.nvmlDeviceGetMinorNumber(handle))
    except pynvml.NVMLError:
        return index


def memory_bytes(handle: Any) -> int:
    """Return all memory of a GPU; that of the machine where they share it (GB10), as such a GPU reports none.

    Raises :class:`Unanswerable` where this process may not read it, :class:`HostFault` where the GPU does not answer.
    """
    try:
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except pynvml.NVMLError_NotSupported:
        return machine.spec().memory_bytes
    except pynvml.NVMLError as error:
        if is_unanswerable(error):
            raise Unanswerable(f"Its memory is not known ({error}): {_NO_PERMISSION}.") from error
        raise HostFault(f"The GPU does not answer ({error}). Check with `nvidia-smi`.") from error
    return _sensible(total, 1, MEMORY_BYTES_MAX, "amount of memory")


def free_bytes(handle: Any) -> int | None:
    """Return the memory of a GPU that is not in use, or ``None`` where the driver does not report it."""
    try:
        return plausible_bytes(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    except pynvml.NVMLError:
        return None


def shares_memory(handle: Any) -> bool:
    """Return whether a GPU has no memory of its own: it uses the machine's, and reports none."""
    try:
        pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError_NotSupported:
        return True
    except pynvml.NVMLError:
        return False
    return False


def in_mig_mode(handle: Any) -> bool:
    """Return whether MIG divides the GPU."""
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False  # a GPU without MIG refuses the call
    except pynvml.NVMLError as error:
        raise HostFault(f"The NVIDIA driver could not say whether MIG divides the GPU ({error}).") from error


def is_known(uuid: str) -> bool:
    """Return whether the driver knows the GPU at all, working or not."""
    try:
        pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
        return False
    except pynvml.NVMLError:
        pass
    return True


def all_uuids() -> list[str]:
    """Return the UUIDs of all GPUs that the driver knows, leased or not."""
    count = ask("list its GPUs", pynvml.nvmlDeviceGetCount)
    handles = (ask("say which GPU that is", pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count))
    return [ask("say which GPU that is", pynvml.nvmlDeviceGetUUID, handle) for handle in handles]


def plausible_bytes(value: Any) -> int | None:
    """Return an amount of memory, or ``None`` where it cannot be one."""
    return value if isinstance(value, int) and 0 <= value <= MEMORY_BYTES_MAX else None


def _text(value: Any, prefix: str, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX or not value.isprintable():
        raise HostFault(f"The NVIDIA driver reports a {what} of it that cannot be one.")
    if not value.startswith(prefix):
        raise HostFault(f"The NVIDIA driver reports a {what} of it that cannot be one ({value[:40]!r}).")
    return value


def _sensible(value: Any, least: int, most: int, what: str) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise HostFault(f"The NVIDIA driver reports a {what} that cannot be true ({value!r}).")
    return value
