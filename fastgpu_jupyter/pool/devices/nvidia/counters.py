"""NVIDIA's counters, read cheaply and believed only where they can be true.

Cheap counters are read each time, lists of processes every few seconds, one device after the other: NVML holds a lock
of the driver while it lists, which those who compute feel. What a device cannot say, or says wrongly (more than all,
or the all-ones by which NVML means nothing), is ``None``.

Used by one thread. NVML's bindings are given by :mod:`.nvml`, the only module that imports them.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple

from ..driver import DeviceUsage, ProcessUsage

#: Between two lists of a device's processes: with the pause between two looks at them, who has no lease is seen in 5 s.
PROCESSES_S = 2.5
#: How long a process's utilization is taken to last where nothing newer was measured: the driver measures about once a
#: second and keeps only what is not zero.
UTILIZATION_HOLDS_S = 2.0
#: Between two samples of a MIG device must be more than this.
GPM_S_MIN = 0.2
#: How long a device is not asked again for what it said it does not have.
WITHOUT_S = 60.0
#: No GPU takes more, or is that hot: a number beyond is none.
POWER_MAX_MILLIWATT = 10_000_000
TEMPERATURE_MAX_CELSIUS = 150
ENERGY_MAX_MILLIJOULE = 2**63 - 1
#: Errors by which NVML says that there is nothing to be had, now or for good; success among them, as the bindings raise
#: it where a list is empty.
_SUCCESS, _NOT_SUPPORTED, _NOT_FOUND, _NO_FUNCTION = 0, 3, 6, 13
_TEMPERATURE_GPU = 0
_PCIE_SENT, _PCIE_RECEIVED = 197, 198
#: Percent of the time in which anything was computed: what NVML calls utilization of a whole device.
_GPM_GRAPHICS_UTIL = 1
_FIND = "nvmlDeviceGetHandleByUUID"


class _Listed(NamedTuple):
    """A list of processes: memory by pid, and when to look again."""

    number: int
    memory_bytes: dict[int, int | None]
    until_s: float


class _Partition(NamedTuple):
    """What is needed to read a MIG device."""

    handle: Any
    parent: Any
    instance: int


class _Gpm(NamedTuple):
    """The samples of a MIG device."""

    last: Any  #: the buffer of the newest
    other: Any  #: that of the one before, to be used again
    at_s: float
    percent: int | None  #: between the two


def within(value: Any, most: int) -> int | None:
    """``value`` where it is a number from 0 to ``most``."""
    return value if isinstance(value, int) and 0 <= value <= most else None


class Counters:
    """HealthReadings of devices and of MIG devices, by their ids."""

    def __init__(self, nvml: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._clock = clock
        self._without: dict[tuple[str, str], float] = {}  #: what a device does not have, until when it is believed
        self._totals: dict[str, int] = {}
        self._pcie: dict[str, tuple[float, int, int]] = {}
        self._listed: dict[str, _Listed] = {}
        self._lists = 0
        self._seen_us: defaultdict[str, int] = defaultdict(int)  #: the newest measurement of processes, by device
        self._busy: defaultdict[str, dict[int, tuple[int | None, float]]] = defaultdict(dict)
        self._asked_partitions: set[str] = set()
        self._partitions: dict[str, _Partition] = {}
        self._gpm: dict[str, _Gpm] = {}

    # -- whole devices ------------------------------------------------------------------------------------------------

    def device(self, device_id: str, handle: Any) -> DeviceUsage:
        """All cheap counters of a device."""
        rates = self._ask(device_id, "nvmlDeviceGetUtilizationRates", handle)
        sent, received = self._pcie_rates(device_id, handle)
        return DeviceUsage(
            None if rates is None else within(rates.gpu, 100),
            self._memory_used(device_id, handle),
            within(self._ask(device_id, "nvmlDeviceGetPowerUsage", handle), POWER_MAX_MILLIWATT),
            within(self._ask(device_id, "nvmlDeviceGetTotalEnergyConsumption", handle), ENERGY_MAX_MILLIJOULE),
            within(self._ask(device_id, "nvmlDeviceGetTemperature", handle, _TEMPERATURE_GPU), TEMPERATURE_MAX_CELSIUS),
            sent,
            received,
        )

    def _memory_used(self, device_id: str, handle: Any) -> int | None:
        memory = self._ask(device_id, "nvmlDeviceGetMemoryInfo", handle)
        if memory is None:
            return None
        self._totals[device_id] = memory.total
        return within(memory.used, memory.total)

    def _pcie_rates(self, device_id: str, handle: Any) -> tuple[int | None, int | None]:
        """Bytes a second, sent and received, since the last reading.

        From the byte counters: the call that answers with a rate measures for 20 ms, each time and direction.
        """
        fields = self._ask(device_id, "nvmlDeviceGetFieldValues", handle, (_PCIE_SENT, _PCIE_RECEIVED))
        now_s = self._clock()
        before = self._pcie.pop(device_id, None)
        if fields is None or any(value.nvmlReturn != _SUCCESS for value in fields):
            return None, None
        sent, received = (int(value.value.ullVal) for value in fields)
        self._pcie[device_id] = (now_s, sent, received)
        if before is None or now_s <= before[0] or sent < before[1] or received < before[2]:
            return None, None  # the first, or a counter has begun anew
        seconds = now_s - before[0]
        return round((sent - before[1]) / seconds), round((received - before[2]) / seconds)

    # -- processes ----------------------------------------------------------------------------------------------------

    def processes(
        self, device_id: str, handle: Any, *, utilization: bool, by_mps: bool = False
    ) -> list[ProcessUsage] | None:
        """The processes that were on the device lately, and what they use now; ``None`` where it cannot say.

        ``utilization``: whether anybody needs each process's; ``by_mps``: whether some may run by MPS.
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
        """Which list of processes was given last."""
        return self._listed[device_id].number

    def _list(self, device_id: str, handle: Any, *, by_mps: bool) -> _Listed | None:
        now_s = self._clock()
        known = self._listed.get(device_id)
        if known is not None and now_s < known.until_s:
            return known
        found = self._ask(device_id, "nvmlDeviceGetComputeRunningProcesses", handle)
        if found is not None and by_mps:  # some drivers list those twice
            more = self._ask(device_id, "nvmlDeviceGetMPSComputeRunningProcesses", handle)
            pids = {process.pid for process in found}
            found = None if more is None else [*found, *(process for process in more if process.pid not in pids)]
        if found is None:
            self._listed.pop(device_id, None)
            return None
        memory_bytes: dict[int, int | None] = {}
        for process in found:
            used = within(process.usedGpuMemory, self._totals.get(device_id, 2**63))
            before = memory_bytes.get(process.pid, 0)
            memory_bytes[process.pid] = None if used is None or before is None else before + used
        # The first lists are made together; from then on the devices take turns.
        turn = 1.0 if known is not None else (1 + len(self._listed) % 4) / 4
        self._lists += 1
        self._listed[device_id] = _Listed(self._lists, memory_bytes, now_s + PROCESSES_S * turn)
        return self._listed[device_id]

    def _utilizations(self, device_id: str, handle: Any) -> dict[int, int | None] | None:
        """Percent by pid of those that compute; who is missing does not."""
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
        """What was measured since the last time; ``None`` where processes are not measured."""
        if self._lacks(device_id, "nvmlDeviceGetProcessUtilization"):
            return None
        since_us = self._seen_us[device_id]
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        except (self._nvml.NVMLError, AttributeError) as error:
            if getattr(error, "value", None) in (_NOT_FOUND, _SUCCESS):
                return {}  # nobody computes
            self._note(device_id, "nvmlDeviceGetProcessUtilization", error)
            return None
        # Past the bindings' own way to a field, which looks at each for text and takes longer than all else here.
        field = object.__getattribute__
        measured = sorted((field(one, "timeStamp"), field(one, "pid"), field(one, "smUtil")) for one in samples)
        if measured:
            self._seen_us[device_id] = max(since_us, measured[-1][0])
        return {pid: within(percent, 100) for at_us, pid, percent in measured if at_us > since_us}

    # -- MIG devices --------------------------------------------------------------------------------------------------

    def partitions(self, partition_ids: Collection[str]) -> dict[str, DeviceUsage]:
        """Memory of MIG devices; their utilization where the GPU measures that (Hopper and newer), no energy ever.

        Whatever was kept of others is let go.
        """
        for gone in self._asked_partitions - set(partition_ids):
            self._forget(gone)
            for key in [key for key in self._without if key[0] == gone]:
                del self._without[key]
        self._asked_partitions = set(partition_ids)
        return {partition_id: self._read_partition(partition_id) for partition_id in partition_ids}

    def _read_partition(self, partition_id: str) -> DeviceUsage:
        part = self._partition(partition_id)
        memory_bytes = None if part is None else self._memory_used(partition_id, part.handle)
        if part is None or memory_bytes is None:
            self._forget(partition_id)  # it may have been destroyed, and be made again
            # To find one takes the driver long where it is busy: not each second.
            self._without[partition_id, _FIND] = self._clock() + PROCESSES_S
            return DeviceUsage(None, None)
        return DeviceUsage(self._gpm_percent(partition_id, part), memory_bytes)

    def _forget(self, partition_id: str) -> None:
        self._partitions.pop(partition_id, None)
        self._totals.pop(partition_id, None)
        self._free(partition_id)

    def _free(self, partition_id: str) -> None:
        for buffer in self._gpm.pop(partition_id, ())[:2]:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlGpmSampleFree(buffer)

    def _partition(self, partition_id: str) -> _Partition | None:
        if partition_id not in self._partitions:
            handle = self._ask(partition_id, _FIND, partition_id)
            if handle is None:
                return None
            parent = self._ask(partition_id, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
            instance = self._ask(partition_id, "nvmlDeviceGetGpuInstanceId", handle)
            if parent is None or instance is None:
                return None
            self._partitions[partition_id] = _Partition(handle, parent, instance)
        return self._partitions[partition_id]

    def _gpm_percent(self, partition_id: str, part: _Partition) -> int | None:
        """Utilization between the last sample and one that is taken now."""
        if self._lacks(partition_id, "gpm"):
            return None
        try:
            if partition_id not in self._gpm:
                if not self._nvml.nvmlGpmQueryDeviceSupport(part.parent).isSupportedDevice:
                    self._without[partition_id, "gpm"] = self._clock() + WITHOUT_S
                    return None
                last, other = self._nvml.nvmlGpmSampleAlloc(), self._nvml.nvmlGpmSampleAlloc()
                self._gpm[partition_id] = _Gpm(last, other, self._clock(), None)
                self._nvml.nvmlGpmMigSampleGet(part.parent, part.instance, last)
                return None
            last, other, at_s, percent = self._gpm[partition_id]
            if self._clock() - at_s < GPM_S_MIN:
                return percent
            self._nvml.nvmlGpmMigSampleGet(part.parent, part.instance, other)
            percent = self._gpm_between(last, other)
            self._gpm[partition_id] = _Gpm(other, last, self._clock(), percent)
            return percent
        except (self._nvml.NVMLError, AttributeError) as error:
            self._free(partition_id)
            self._note(partition_id, "gpm", error)
            return None

    def _gpm_between(self, last: Any, newest: Any) -> int | None:
        asked = self._nvml.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = self._nvml.NVML_GPM_METRICS_GET_VERSION, 1
        asked.sample1, asked.sample2 = last, newest
        asked.metrics[0].metricId = _GPM_GRAPHICS_UTIL
        metric = self._nvml.nvmlGpmMetricsGet(asked).metrics[0]
        if metric.nvmlReturn != _SUCCESS or not math.isfinite(metric.value):
            return None
        return within(round(metric.value), 100)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _ask(self, device_id: str, name: str, *args: Any) -> Any:
        """What NVML answers, ``None`` where it refuses."""
        if self._lacks(device_id, name):
            return None
        try:
            return getattr(self._nvml, name)(*args)
        except (self._nvml.NVMLError, AttributeError) as error:
            self._note(device_id, name, error)
            return None

    def _lacks(self, device_id: str, name: str) -> bool:
        until_s = self._without.get((device_id, name))
        return until_s is not None and self._clock() < until_s

    def _note(self, device_id: str, name: str, error: Exception) -> None:
        # Bindings that do not have the function are like a driver that does not.
        if isinstance(error, AttributeError) or getattr(error, "value", None) in (_NOT_SUPPORTED, _NO_FUNCTION):
            self._without[device_id, name] = self._clock() + WITHOUT_S
