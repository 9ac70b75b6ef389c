"""The sampler: one thread that reads all counters of all devices and derives the usage of each lease.

A lease that has whole devices uses what they report. A lease that shares a device uses what its processes do, and has
no energy, because energy is not measured by process. What is unknown is ``None``.

A driver that hangs blocks this thread only: until it answers there is no sample, and :attr:`Sampler.silent_since_s` is
the time since which that is so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from ...core.model.entities import LogicalGPU
from ...errors import HostFault
from ..devices.driver import DeviceUsage, Driver, Sample, SampledLease, combine_usage
from ..host.threads import DaemonThreads
from .process_owners import DeviceAssignments, OwnershipResolver, ProcessOwnership, unlisted

log = logging.getLogger("fastgpu.pool")
#: How long a reading may take before the driver counts as unresponsive; far longer than a normal reading.
ANSWER_S = 3.0
_UNKNOWN, _NOTHING = DeviceUsage(None, None), DeviceUsage(0, 0)


class Reading(NamedTuple):
    """One reading of all counters, and the owners of the listed processes by device."""

    sample: Sample
    owned: Mapping[str, ProcessOwnership]


class Sampler:
    """The driver's counters, for use from the event loop."""

    def __init__(
        self,
        driver: Driver,
        ownership: OwnershipResolver,
        new_thread: Callable[[int, str], Executor] = DaemonThreads,
    ) -> None:
        self._driver = driver
        self._ownership = ownership
        self._energy = _Energy()
        self._thread = new_thread(1, "sampler")
        self._under_way: asyncio.Future[Reading] | None = None
        self._began_s = 0.0
        #: The time since which the driver has not answered, on the loop's clock; ``None`` while it does.
        self.silent_since_s: float | None = None

    async def sample(self, subjects: Sequence[SampledLease], assignments: DeviceAssignments) -> Reading | None:
        """Return one reading, or ``None`` if the driver does not answer in time. Raises what fails otherwise."""
        loop = asyncio.get_running_loop()
        if self._under_way is None:  # otherwise an earlier reading is still in progress
            self._began_s = loop.time()
            self._under_way = loop.run_in_executor(self._thread, self.read, subjects, assignments)
        done, _ = await asyncio.wait({self._under_way}, timeout=ANSWER_S)
        if not done:
            self._note_silence(f"no answer for {loop.time() - self._began_s:.0f} s")
            return None
        reading, self._under_way = self._under_way, None
        if (error := reading.exception()) is not None:
            self._note_silence(repr(error))
            if not isinstance(error, HostFault):
                raise error  # a bug of ours is not a driver that is silent
            return None
        self.silent_since_s = None
        return reading.result()

    def _note_silence(self, why: str) -> None:
        if self.silent_since_s is None:
            self.silent_since_s = self._began_s
            log.warning("The counters of the devices cannot be read: %s.", why)

    def close(self) -> None:
        """Return at once: a driver that hangs must not keep the pool manager from ending."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def read(self, subjects: Sequence[SampledLease], assignments: DeviceAssignments) -> Reading:
        """Return one reading; blocks until the driver has answered."""
        sample = self._driver.sample(subjects)
        self._energy.keep(assignments.holders)
        owned = {
            device_id: self._ownership.find(
                device_id,
                sample.lists.get(device_id),
                processes,
                assignments,
                sample.unowned_bytes.get(device_id),
            )
            for device_id, processes in sample.processes.items()
        }
        owned |= {name: unlisted(why, sample.unowned_bytes.get(name)) for name, why in sample.unlisted.items()}
        shared: dict[str, Mapping[str, DeviceUsage] | None] = {}
        for lease_id, _, gpu in subjects:
            if lease_id in sample.leases:
                continue
            if gpu.whole:
                sample.leases[lease_id] = self._use_of_whole(sample, lease_id, gpu)
                continue
            device_id = gpu.device_id
            if device_id not in shared:
                shared[device_id] = _use_by_lease(sample, device_id, owned.get(device_id))
            uses = shared[device_id]
            sample.leases[lease_id] = _UNKNOWN if uses is None else uses.get(lease_id, _NOTHING)
        return Reading(sample, owned)

    def _use_of_whole(self, sample: Sample, lease_id: str, gpu: LogicalGPU) -> DeviceUsage:
        used = combine_usage([sample.devices.get(device_id, _UNKNOWN) for device_id in gpu.device_ids])
        return used._replace(energy_millijoule=self._energy.of(lease_id, gpu, sample.devices))


def _use_by_lease(sample: Sample, device_id: str, owned: ProcessOwnership | None) -> Mapping[str, DeviceUsage] | None:
    """Return what the processes of each lease use together; unknown if that of one process is.

    Return ``None`` if nothing is known of any lease, as when some processes cannot be identified from here.
    """
    if owned is None or owned.hidden:
        return None
    percents: defaultdict[str, int] = defaultdict(int)
    unknown: set[str] = set()
    for pid, _, percent in sample.processes[device_id]:
        lease_id = owned.lease_of.get(pid)
        if lease_id is None:
            continue
        if percent is None:
            unknown.add(lease_id)
        else:
            percents[lease_id] += percent
    return {
        lease_id: DeviceUsage(None if lease_id in unknown else min(100, percents[lease_id]), memory_bytes)
        for lease_id, memory_bytes in owned.memory_bytes.items()
    }


class _Energy:
    """The energy of each lease's whole devices while the lease held them, from their counters."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}
        self._last: dict[str, tuple[LogicalGPU, dict[str, int]]] = {}  #: by lease: the counters when last seen

    def of(self, lease_id: str, gpu: LogicalGPU, devices: Mapping[str, DeviceUsage]) -> int | None:
        """Return the energy up to now, or ``None`` if a device does not report it."""
        now = {device_id: devices.get(device_id, _UNKNOWN).energy_millijoule for device_id in gpu.device_ids}
        known = {device_id: counter for device_id, counter in now.items() if counter is not None}
        if len(known) < len(now):
            return None  # the energy of this time is counted with the next reading
        granted, before = self._last.get(lease_id, (gpu, known))
        if granted == gpu:  # otherwise other leases were on these devices meanwhile
            # A driver that was reloaded counts from zero; the energy of that time is unknown.
            grown = sum(max(0, counter - before[device_id]) for device_id, counter in known.items())
            self._counted[lease_id] = self._counted.get(lease_id, 0) + grown
        self._last[lease_id] = (gpu, known)
        return self._counted[lease_id]

    def keep(self, lease_ids: Container[str]) -> None:
        """Remove the counters of all other leases."""
        for gone in [lease_id for lease_id in self._counted if lease_id not in lease_ids]:
            del self._counted[gone], self._last[gone]
