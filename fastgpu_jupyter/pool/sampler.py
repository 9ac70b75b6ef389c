"""One thread that reads all counters of all devices, and whose use each of it is.

A lease that has whole devices uses what they say. One that shares a device uses what its processes do, and has no
energy: nobody measures that by process. What cannot be told is ``None``.

A driver that hangs holds up this thread and nothing else: until it answers there is no sample, and
:attr:`Sampler.silent_since_s` says since when.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

from ..core.model import Holder, LogicalGPU
from ..errors import NotFound
from .devices.driver import Driver, ProcessUse, Sample, Subject, Usage, together
from .host.attribution import Attribution
from .host.threads import DaemonThreads

log = logging.getLogger("fastgpu.pool")
#: How long a reading may take before the driver is said not to answer: far longer than any that does.
ANSWER_S = 3.0
_UNKNOWN = Usage(None, None)


class _Owners(NamedTuple):
    """Whose the processes of a list are."""

    number: int | None  #: of the list
    leases: dict[int, str]  #: by process
    hidden: bool  #: whether there are some that cannot be seen


class Sampler:
    """The driver's counters, for use from the event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._attribution = Attribution()
        self._holders: Mapping[str, Holder] = {}
        self._subjects: Sequence[Subject] = ()
        self._owners: dict[str, _Owners] = {}
        self._energy = _Energy()
        self._thread = DaemonThreads(1, "sampler")
        self._under_way: asyncio.Future[Sample] | None = None
        self._began_s = 0.0
        #: Since when the driver has not answered, by the loop's clock; ``None`` while it does.
        self.silent_since_s: float | None = None

    async def sample(self, subjects: Sequence[Subject], holders: Mapping[str, Holder]) -> Sample | None:
        """One reading, or ``None`` where the driver does not answer.

        ``holders`` are those of all leases whose processes may be on a device, the subjects' among them.
        """
        loop = asyncio.get_running_loop()
        if self._under_way is None:  # else it hangs in an earlier one
            self._began_s = loop.time()
            self._under_way = loop.run_in_executor(self._thread, self.read, subjects, holders)
        done, _ = await asyncio.wait({self._under_way}, timeout=ANSWER_S)
        if not done:
            self._note_silence(f"no answer for {loop.time() - self._began_s:.0f} s")
            return None
        reading, self._under_way = self._under_way, None
        if (error := reading.exception()) is not None:
            self._note_silence(repr(error))
            return None
        self.silent_since_s = None
        return reading.result()

    def _note_silence(self, why: str) -> None:
        if self.silent_since_s is None:
            self.silent_since_s = self._began_s
            log.warning("The counters of the devices cannot be read: %s.", why)

    def close(self) -> None:
        """Wait for nothing: a driver that hangs must not keep the pool manager from ending."""
        self._thread.shutdown(cancel_futures=True)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def read(self, subjects: Sequence[Subject], holders: Mapping[str, Holder]) -> Sample:
        """One reading, now."""
        sample = self._driver.sample(subjects)
        self._energy.keep(holders)
        if holders != self._holders or subjects != self._subjects:
            self._owners.clear()
            self._holders, self._subjects = holders, subjects
            self._attribution.follow(holders)
        shared = {device_id: self._attribute(sample, device_id) for device_id in sample.processes}
        for lease_id, _, gpu in subjects:
            if lease_id not in sample.leases:
                of_device = shared.get(gpu.device_id)
                if gpu.whole:
                    sample.leases[lease_id] = self._use_of_whole(sample, lease_id, gpu)
                else:
                    sample.leases[lease_id] = _UNKNOWN if of_device is None else use_of(of_device.get(lease_id, ()))
        return sample

    def _attribute(self, sample: Sample, device_id: str) -> dict[str, list[ProcessUse]] | None:
        """Write into ``sample`` whose each process of a device is; the processes by lease.

        ``None`` where there are some that cannot be seen from here: they may be any lease's, so nothing can be said of
        those that share the device. A list is looked through once, when it is new: later its numbers might be others'.
        """
        processes, number = sample.processes[device_id], sample.lists.get(device_id)
        owners = self._owners.get(device_id)
        if owners is None or number is None or owners.number != number:
            owners = self._owners[device_id] = self._find_owners(device_id, number, processes)
        by_lease: dict[str, list[ProcessUse]] = {}
        for index, (pid, memory_bytes, percent, _) in enumerate(processes):
            if (lease_id := owners.leases.get(pid)) is not None:
                processes[index] = process = ProcessUse(pid, memory_bytes, percent, lease_id)
                by_lease.setdefault(lease_id, []).append(process)
        return None if owners.hidden else by_lease

    def _find_owners(self, device_id: str, number: int | None, processes: Sequence[ProcessUse]) -> _Owners:
        here = [lease_id for lease_id, _, gpu in self._subjects if device_id in gpu.device_ids]
        leases: dict[int, str] = {}
        hidden = False
        for process in processes:
            try:
                its = self._attribution.leases_of(process.pid)
            except NotFound:
                hidden = True
                continue
            if of_here := [lease_id for lease_id in here if lease_id in its]:
                leases[process.pid] = of_here[-1]
        return _Owners(number, leases, hidden)

    def _use_of_whole(self, sample: Sample, lease_id: str, gpu: LogicalGPU) -> Usage:
        used = together([sample.devices.get(device_id, _UNKNOWN) for device_id in gpu.device_ids])
        return used._replace(energy_millijoule=self._energy.of(lease_id, gpu, sample.devices))


def use_of(processes: Sequence[ProcessUse]) -> Usage:
    """What several processes use together; unknown where one's is. None at all use nothing."""
    percents = [process.utilization_percent for process in processes]
    memories = [process.memory_bytes for process in processes]
    return Usage(
        None if None in percents else min(100, sum(filter(None, percents))),
        None if None in memories else sum(filter(None, memories)),
    )


class _Energy:
    """What each lease's whole devices took while they were its own, from their counters."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}
        self._last: dict[str, tuple[LogicalGPU, dict[str, int]]] = {}  #: by lease: the counters when last seen

    def of(self, lease_id: str, gpu: LogicalGPU, devices: Mapping[str, Usage]) -> int | None:
        """Count up to now; ``None`` where a device does not say."""
        now = {device_id: devices.get(device_id, _UNKNOWN).energy_millijoule for device_id in gpu.device_ids}
        known = {device_id: counter for device_id, counter in now.items() if counter is not None}
        if len(known) < len(now):
            return None  # what passes meanwhile is counted once it says it again
        granted, before = self._last.get(lease_id, (gpu, known))
        if granted == gpu:  # else it has been elsewhere meanwhile, and others on its device
            # A driver that was loaded anew counts from zero: what it took meanwhile is not known.
            grown = sum(max(0, counter - before[device_id]) for device_id, counter in known.items())
            self._counted[lease_id] = self._counted.get(lease_id, 0) + grown
        self._last[lease_id] = (gpu, known)
        return self._counted[lease_id]

    def keep(self, lease_ids: Container[str]) -> None:
        """Forget all other leases."""
        for gone in [lease_id for lease_id in self._counted if lease_id not in lease_ids]:
            del self._counted[gone], self._last[gone]
