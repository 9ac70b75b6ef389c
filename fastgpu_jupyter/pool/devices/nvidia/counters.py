"""NVIDIA's counters of devices and processes, read cheaply and believed only where they can be true.

Cheap counters are read each time, lists of processes every few seconds, one device after the other: NVML holds a lock
of the driver while it lists, which delays programs on the GPU. What a device does not report, or reports wrongly (more
than all, or the all-ones by which NVML means nothing), is ``None``.

For one thread. The caller gives NVML's bindings.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ..driver import DeviceUsage, ProcessUsage
from .counter_calls import NOT_FOUND, SUCCESS, CounterCalls, within
from .partition_counters import PartitionCounters
from .process_calls import running_processes, unowned_bytes, used_bytes

#: Between two lists of a device's processes: with the period of the process monitor, a process without a lease is found
#: within 5 s.
PROCESSES_S = 2.5
#: How long a process's utilization holds where nothing newer was measured: the driver measures about once a second and
#: keeps only what is not zero.
UTILIZATION_HOLDS_S = 2.0
#: No GPU takes more, or is that hot: a number beyond is none.
POWER_MAX_MILLIWATT = 10_000_000
TEMPERATURE_MAX_CELSIUS = 150
ENERGY_MAX_MILLIJOULE = 2**63 - 1
_TEMPERATURE_GPU = 0
_PCIE_SENT, _PCIE_RECEIVED = 197, 198
_UTILIZATION = "nvmlDeviceGetProcessUtilization"
#: By which name calls count that list processes.
LIST = "processes"


class _ProcessList(NamedTuple):
    """A list of processes: memory by pid, and when to list again."""

    number: int
    memory_bytes: dict[int, int | None]
    until_s: float


class Counters:
    """Readings of devices and of MIG devices, by their ids."""

    def __init__(self, nvml: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._clock = clock
        self._calls = CounterCalls(nvml, clock)
        self._partition_counters = PartitionCounters(self._calls)
        self._totals: dict[str, int] = {}
        self._pcie: dict[str, tuple[float, int, int]] = {}
        self._lists: dict[str, _ProcessList] = {}
        self._list_count = 0
        #: By device, from its newest list: memory in use that no listed process has.
        self.unowned_bytes: dict[str, int | None] = {}
        self._seen_us: defaultdict[str, int] = defaultdict(int)  #: newest measurement of processes, by device
        self._busy: defaultdict[str, dict[int, tuple[int | None, float]]] = defaultdict(dict)

    def partitions(self, partition_ids: Collection[str]) -> dict[str, DeviceUsage]:
        """Return memory and utilization of MIG devices."""
        return self._partition_counters.read(partition_ids)

    # -- whole devices ------------------------------------------------------------------------------------------------

    def device(self, device_id: str, handle: Any) -> DeviceUsage:
        """Return all cheap counters of a device."""
        call = self._calls.call
        rates = call(device_id, "nvmlDeviceGetUtilizationRates", handle)
        sent, received = self._pcie_rates(device_id, handle)
        return DeviceUsage(
            None if rates is None else within(rates.gpu, 100),
            self._memory_used(device_id, handle),
            within(call(device_id, "nvmlDeviceGetPowerUsage", handle), POWER_MAX_MILLIWATT),
            within(call(device_id, "nvmlDeviceGetTotalEnergyConsumption", handle), ENERGY_MAX_MILLIJOULE),
            within(call(device_id, "nvmlDeviceGetTemperature", handle, _TEMPERATURE_GPU), TEMPERATURE_MAX_CELSIUS),
            sent,
            received,
        )

    def _memory_used(self, device_id: str, handle: Any) -> int | None:
        memory = self._calls.call(device_id, "nvmlDeviceGetMemoryInfo", handle)
        if memory is None:
            return None
        self._totals[device_id] = memory.total
        return within(memory.used, memory.total)

    def _pcie_rates(self, device_id: str, handle: Any) -> tuple[int | None, int | None]:
        """Return the bytes a second, sent and received, since the last reading.

        From the byte counters: the call that answers with a rate measures for 20 ms, each time and direction.
        """
        fields = self._calls.call(device_id, "nvmlDeviceGetFieldValues", handle, (_PCIE_SENT, _PCIE_RECEIVED))
        now_s = self._clock()
        before = self._pcie.pop(device_id, None)
        if fields is None or any(value.nvmlReturn != SUCCESS for value in fields):
            return None, None
        sent, received = (int(value.value.ullVal) for value in fields)
        self._pcie[device_id] = (now_s, sent, received)
        if before is None or now_s <= before[0] or sent < before[1] or received < before[2]:
            return None, None  # the first reading, or a counter has restarted
        seconds = now_s - before[0]
        return round((sent - before[1]) / seconds), round((received - before[2]) / seconds)

    # -- processes ----------------------------------------------------------------------------------------------------

    def processes(
        self, device_id: str, handle: Any, *, utilization: bool, by_mps: bool = False
    ) -> list[ProcessUsage] | None:
        """Return the processes that were on the device lately with their usage now; ``None`` where it cannot list them.

        ``utilization``: whether the utilization of each process is needed; ``by_mps``: whether some may be MPS clients.
        """
        listed = self._list(device_id, handle, by_mps=by_mps)
        if listed is None:
            return None
        busy = self._utilizations(device_id, handle) if utilization and listed.memory_bytes else None
        return [
            ProcessUsage(pid, memory_bytes, None if busy is None else busy.get(pid, 0))
            for pid, memory_bytes in listed.memory_bytes.items()
        ]

    def list_number(self, device_id: str) -> int:
        """Return the number of the list of processes that was used last."""
        return self._lists[device_id].number

    def _list(self, device_id: str, handle: Any, *, by_mps: bool) -> _ProcessList | None:
        now_s = self._clock()
        known = self._lists.get(device_id)
        if known is not None and now_s < known.until_s:
            return known
        found = self._running(device_id, handle, by_mps=by_mps)
        if found is None:
            self._lists.pop(device_id, None)
            self.unowned_bytes.pop(device_id, None)
            return None
        self.unowned_bytes[device_id] = unowned_bytes(self._nvml, handle, found)
        memory_bytes: dict[int, int | None] = {}
        for process in found:
            used = within(process.usedGpuMemory, self._totals.get(device_id, 2**63))
            before = memory_bytes.get(process.pid, 0)
            memory_bytes[process.pid] = None if used is None or before is None else before + used
        # The first lists are made together; from then on the devices take turns.
        turn = 1.0 if known is not None else (1 + len(self._lists) % 4) / 4
        self._list_count += 1
        self._lists[device_id] = _ProcessList(self._list_count, memory_bytes, now_s + PROCESSES_S * turn)
        return self._lists[device_id]

    def _running(self, device_id: str, handle: Any, *, by_mps: bool) -> list[Any] | None:
        """Return the processes on the device in NVML's structures, or ``None``."""
        if self._calls.is_unsupported(device_id, LIST):
            return None
        found = self._calls.attempt(device_id, LIST, lambda: running_processes(self._nvml, handle))
        if found is None or not by_mps:
            return None if found is None else list(found)
        more = self._calls.attempt(device_id, LIST, lambda: running_processes(self._nvml, handle, "MPSCompute"))
        pids = {process.pid for process in found}  # some drivers list MPS clients twice
        return None if more is None else [*found, *(process for process in more if process.pid not in pids)]

    def is_unlisted(self, device_id: str) -> bool:
        """Return whether the device answered that its processes cannot be listed."""
        return self._calls.is_unsupported(device_id, LIST)

    def used_bytes(self, handle: Any) -> int | None:
        """Return the memory in use on a device, without what the driver keeps."""
        return used_bytes(self._nvml, handle)

    def _utilizations(self, device_id: str, handle: Any) -> dict[int, int | None] | None:
        """Return percent by pid of the processes that compute; the others are missing."""
        now_s, busy = self._clock(), self._busy[device_id]
        newest = self._newest_samples(device_id, handle)
        if newest is None:
            busy.clear()
            return None
        for pid, percent in newest.items():
            busy[pid] = (percent, now_s)
        for pid in [pid for pid, (_, at_s) in busy.items() if now_s - at_s > UTILIZATION_HOLDS_S]:
            del busy[pid]
        return {pid: percent for pid, (percent, _) in busy.items()}

    def _newest_samples(self, device_id: str, handle: Any) -> dict[int, int | None] | None:
        """Return what was measured since the last time; ``None`` where processes are not measured."""
        if self._calls.is_unsupported(device_id, _UTILIZATION):
            return None
        since_us = self._seen_us[device_id]
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        except (self._nvml.NVMLError, AttributeError) as error:
            if getattr(error, "value", None) in (NOT_FOUND, SUCCESS):
                return {}  # no process computes
            self._calls.note(device_id, _UTILIZATION, error)
            return None
        # Past the bindings' own access to a field, which checks each for text and takes longer than all else here.
        field = object.__getattribute__
        measured = sorted((field(one, "timeStamp"), field(one, "pid"), field(one, "smUtil")) for one in samples)
        if measured:
            self._seen_us[device_id] = max(since_us, measured[-1][0])
        return {pid: within(percent, 100) for at_us, pid, percent in measured if at_us > since_us}
