"""Counters of MIG devices: memory, and utilization where the GPU measures it for partitions."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress
from typing import Any, NamedTuple

from ..driver import DeviceUsage
from .counter_calls import SUCCESS, UNSUPPORTED_S, CounterCalls, within

#: Least time between two samples of a MIG device.
GPM_S_MIN = 0.2
#: How long a MIG device that was not found is not looked up again: the lookup takes long where the driver is busy.
LOOKUP_S = 2.5
#: The share of time in which anything was computed: what NVML calls utilization of a whole device.
_GPM_GRAPHICS_UTIL = 1
_LOOKUP = "nvmlDeviceGetHandleByUUID"
_GPM = "gpm"


class _Partition(NamedTuple):
    """What is needed to read a MIG device."""

    handle: Any
    parent: Any
    instance: int


class _GpmSamples(NamedTuple):
    """The newest two samples of a MIG device."""

    last: Any  #: the buffer of the newest
    other: Any  #: the buffer of the one before, to be used again
    at_s: float
    percent: int | None  #: utilization between the two


class PartitionCounters:
    """Readings of MIG devices by their UUIDs."""

    def __init__(self, calls: CounterCalls) -> None:
        self._calls = calls
        self._nvml = calls.nvml
        self._known: set[str] = set()
        self._partitions: dict[str, _Partition] = {}
        self._gpm: dict[str, _GpmSamples] = {}

    def read(self, partition_ids: Collection[str]) -> dict[str, DeviceUsage]:
        """Return memory and utilization of MIG devices, never energy; what is kept of others is dropped."""
        for gone in self._known - set(partition_ids):
            self._drop(gone)
            self._calls.forget(gone)
        self._known = set(partition_ids)
        return {partition_id: self._read(partition_id) for partition_id in partition_ids}

    def _read(self, partition_id: str) -> DeviceUsage:
        partition = self._find(partition_id)
        memory_bytes = None if partition is None else self._memory_used(partition_id, partition.handle)
        if partition is None or memory_bytes is None:
            self._drop(partition_id)  # it may have been destroyed, and be created again
            self._calls.pause(partition_id, _LOOKUP, LOOKUP_S)
            return DeviceUsage(None, None)
        return DeviceUsage(self._utilization_percent(partition_id, partition), memory_bytes)

    def _memory_used(self, partition_id: str, handle: Any) -> int | None:
        memory = self._calls.call(partition_id, "nvmlDeviceGetMemoryInfo", handle)
        return None if memory is None else within(memory.used, memory.total)

    def _find(self, partition_id: str) -> _Partition | None:
        if partition_id not in self._partitions:
            handle = self._calls.call(partition_id, _LOOKUP, partition_id)
            if handle is None:
                return None
            parent = self._calls.call(partition_id, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
            instance = self._calls.call(partition_id, "nvmlDeviceGetGpuInstanceId", handle)
            if parent is None or instance is None:
                return None
            self._partitions[partition_id] = _Partition(handle, parent, instance)
        return self._partitions[partition_id]

    def _utilization_percent(self, partition_id: str, partition: _Partition) -> int | None:
        """Return the utilization between the last sample and one that is taken now."""
        if self._calls.is_unsupported(partition_id, _GPM):
            return None
        try:
            if partition_id not in self._gpm:
                self._begin(partition_id, partition)
                return None
            last, other, at_s, percent = self._gpm[partition_id]
            if self._calls.clock() - at_s < GPM_S_MIN:
                return percent
            self._nvml.nvmlGpmMigSampleGet(partition.parent, partition.instance, other)
            percent = self._percent_between(last, other)
            self._gpm[partition_id] = _GpmSamples(other, last, self._calls.clock(), percent)
            return percent
        except (self._nvml.NVMLError, AttributeError) as error:
            self._free(partition_id)
            self._calls.note(partition_id, _GPM, error)
            return None

    def _begin(self, partition_id: str, partition: _Partition) -> None:
        """Take the first sample, where the GPU measures utilization of partitions (Hopper and newer)."""
        if not self._nvml.nvmlGpmQueryDeviceSupport(partition.parent).isSupportedDevice:
            self._calls.pause(partition_id, _GPM, UNSUPPORTED_S)
            return
        last, other = self._nvml.nvmlGpmSampleAlloc(), self._nvml.nvmlGpmSampleAlloc()
        self._gpm[partition_id] = _GpmSamples(last, other, self._calls.clock(), None)
        self._nvml.nvmlGpmMigSampleGet(partition.parent, partition.instance, last)

    def _percent_between(self, last: Any, newest: Any) -> int | None:
        query = self._nvml.c_nvmlGpmMetricsGet_t()
        query.version, query.numMetrics = self._nvml.NVML_GPM_METRICS_GET_VERSION, 1
        query.sample1, query.sample2 = last, newest
        query.metrics[0].metricId = _GPM_GRAPHICS_UTIL
        metric = self._nvml.nvmlGpmMetricsGet(query).metrics[0]
        if metric.nvmlReturn != SUCCESS or not math.isfinite(metric.value):
            return None
        return within(round(metric.value), 100)

    def _drop(self, partition_id: str) -> None:
        self._partitions.pop(partition_id, None)
        self._free(partition_id)

    def _free(self, partition_id: str) -> None:
        for buffer in self._gpm.pop(partition_id, ())[:2]:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlGpmSampleFree(buffer)
