"""The health of NVIDIA's GPUs: errors by number as NVML reports them, and readings that are checked regularly.

Events exist for whole GPUs only; one of a MIG instance names the instance. What an older driver does not report is left
out: a GPU is not unhealthy for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import pynvml

from ....core.model.entities import Health
from ....errors import HostFault
from ...host import pid_namespace
from ..health import HealthEvent, HealthReport
from . import session
from .process_calls import running_processes
from .xid import RECOVERY_ACTION_CHANGED, fault_of

T = TypeVar("T")
WAIT_MS = 500
#: In an event that is not of an instance.
NO_INSTANCE = 0xFFFFFFFF
#: Events that are a reason for a check, beside those with an error number. Numbers of NVML.
REASONS_TO_CHECK = (
    pynvml.nvmlEventTypeDoubleBitEccError
    | pynvml.nvmlEventTypeDramRetirementEvent
    | pynvml.nvmlEventTypeDramRetirementFailure
    | pynvml.nvmlEventTypeGpuUnavailableError
    | pynvml.nvmlEventTypeGpuRecoveryAction
)
WANTED = pynvml.nvmlEventTypeXidCriticalError | REASONS_TO_CHECK
#: Errors about the call, not about the GPU.
_UNKNOWN = session.UNANSWERABLE | {pynvml.NVML_ERROR_INVALID_ARGUMENT}


class HealthReadings(NamedTuple):
    """The readings of one check of a device; ``None`` where it does not report one."""

    recovery_action: int | None = None
    remap_pending: bool = False
    remap_failed: bool = False
    uncorrected_errors: int | None = None  #: since it was last reset
    silent: str | None = None  #: the error with which it answers nothing
    lost: bool = False  #: it answers that it is no longer there


#: The recovery action that the driver recommends, by number: the health of the device, and what helps.
RECOVERY: dict[int, HealthReport] = {
    1: HealthReport(Health.FAULTY, "The driver wants this GPU reset (`nvidia-smi --gpu-reset`)."),
    2: HealthReport(Health.FAULTY, "The driver wants this machine restarted for the sake of this GPU."),
    3: HealthReport(Health.SUSPECT, "The driver wants traffic between GPUs drained from this one."),
    4: HealthReport(Health.SUSPECT, "The driver wants this GPU drained and then reset (`nvidia-smi --gpu-reset`)."),
    5: HealthReport(Health.SUSPECT, "The driver wants the memory domain that this GPU shares with others recovered."),
    6: HealthReport(Health.FAULTY, "The driver wants the bus of this GPU reset."),
    7: HealthReport(Health.FAULTY, "The driver wants this machine restarted for the sake of this GPU."),
}
_OTHER_ACTION = HealthReport(Health.SUSPECT, "The driver wants something done about this GPU: see `nvidia-smi -q`.")


def assess(readings: HealthReadings) -> HealthReport:
    """Return what the readings mean, the worst first."""
    if readings.lost:
        return HealthReport(Health.FAULTY, f"The GPU is lost to the driver ({readings.silent}).", lost=True)
    if readings.silent:
        return HealthReport(Health.FAULTY, f"The GPU does not answer ({readings.silent}).")
    if readings.remap_failed:
        return HealthReport(Health.FAULTY, "The GPU has bad memory that it could not replace: it should be exchanged.")
    if readings.recovery_action:
        return RECOVERY.get(readings.recovery_action, _OTHER_ACTION)
    if readings.remap_pending:
        return HealthReport(
            Health.SUSPECT, "The GPU has bad memory that is replaced when it is reset (`nvidia-smi --gpu-reset`)."
        )
    if readings.uncorrected_errors:
        return HealthReport(
            Health.SUSPECT,
            f"The GPU has had {readings.uncorrected_errors} memory errors that could not be corrected since it was "
            "last reset.",
        )
    return HealthReport(Health.HEALTHY)


class NvmlHealthWatcher:
    """Watches the GPUs with these UUIDs. Raises :class:`HostFault` where none of them can be watched."""

    def __init__(self, device_ids: Sequence[str]) -> None:
        self._handles: dict[str, Any] = {}  # a lookup by UUID may take seconds
        try:
            self._events = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            raise HostFault(f"The NVIDIA driver reports no errors of its GPUs ({error}).") from error
        self._listening: set[str] = set()  #: devices that were registered for events, whether they support them or not
        for device_id in device_ids:
            with suppress(pynvml.NVMLError):  # a check will report what is wrong with it
                self._listen(device_id)

    def next_event(self) -> HealthEvent | None:
        """Return the next event. Raises :class:`HostFault` where the driver does not even wait."""
        try:
            event = pynvml.nvmlEventSetWait_v2(self._events, WAIT_MS)
            device_id = pynvml.nvmlDeviceGetUUID(event.device)
        except pynvml.NVMLError_Timeout:
            return None
        except pynvml.NVMLError as error:
            self._begin_again()
            raise HostFault(f"The NVIDIA driver reports no errors of its GPUs ({error}).") from error
        instance = None if event.gpuInstanceId == NO_INSTANCE else event.gpuInstanceId
        xid = event.eventData if event.eventType == pynvml.nvmlEventTypeXidCriticalError else None
        fault = None if xid in (None, RECOVERY_ACTION_CHANGED) else fault_of(xid)
        return HealthEvent(device_id, fault, instance)

    def _begin_again(self) -> None:
        """Make another set of events: after the driver was loaded again the old one gives no more."""
        with suppress(pynvml.NVMLError):
            self._events = pynvml.nvmlEventSetCreate()
            self._listening.clear()  # the next check of each device listens again
            self._handles.clear()

    def check(self, device_id: str) -> HealthReport:
        """Return the health of the GPU now."""
        try:
            readings = _read(self._handle(device_id))
            if device_id not in self._listening:  # it has appeared, or come back, since
                self._listen(device_id)
        except pynvml.NVMLError as error:
            self._handles.pop(device_id, None)
            self._listening.discard(device_id)
            # One that is not found may come back; the inventory gives it up if it does not.
            readings = HealthReadings(silent=str(error), lost=error.value == pynvml.NVML_ERROR_GPU_IS_LOST)
        return assess(readings)

    def _listen(self, device_id: str) -> None:
        handle = self._handle(device_id)
        self._listening.add(device_id)
        with suppress(pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            wanted = WANTED & pynvml.nvmlDeviceGetSupportedEventTypes(handle)
            pynvml.nvmlDeviceRegisterEvents(handle, wanted, self._events)

    def processes(self, device_id: str, partition: int | None) -> Sequence[int]:
        """Return the pids of processes with a CUDA context on the GPU, or on that instance of it."""
        try:
            if not pid_namespace.is_first():
                raise HostFault("The GPU's processes have other numbers here.")
            handle = self._handle(device_id)
            found = running_processes(pynvml, handle)
            with suppress(pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported, AttributeError):
                found += running_processes(pynvml, handle, "MPSCompute")
        except pynvml.NVMLError as error:
            raise HostFault(f"The GPU's processes cannot be listed ({error}).") from error
        return [process.pid for process in found if partition is None or process.gpuInstanceId == partition]

    def close(self) -> None:
        """Free the event set."""
        try:
            pynvml.nvmlEventSetFree(self._events)
        except pynvml.NVMLError:
            return  # the driver is gone, and the set with it

    def _handle(self, device_id: str) -> Any:
        if device_id not in self._handles:
            self._handles[device_id] = pynvml.nvmlDeviceGetHandleByUUID(device_id)
        return self._handles[device_id]


def _read(handle: Any) -> HealthReadings:
    _if_known(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))  # any answer will do
    kind = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    errors = _if_known(lambda: pynvml.nvmlDeviceGetTotalEccErrors(handle, *kind))
    remapped = _if_known(lambda: pynvml.nvmlDeviceGetRemappedRows(handle)) or (0, 0, 0, 0)
    action = _if_known(lambda: _recovery_action(handle))
    return HealthReadings(action, bool(remapped[2]), bool(remapped[3]), errors)


def _recovery_action(handle: Any) -> int | None:
    [field] = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    return int(field.value.uiVal) if field.nvmlReturn == pynvml.NVML_SUCCESS else None


def _if_known(ask: Callable[[], T]) -> T | None:
    """Return the answer, or ``None`` where this driver or GPU does not support the call."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        if error.value in _UNKNOWN:
            return None
        raise
