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

from ..core.model import Holder, LogicalGPU
from ..errors import NotFound
from .devices.driver import Driver, ProcessUse, Sample, Subject, Usage, together
from .host.attribution import Attribution
from .host.threads import DaemonThreads

log = logging.getLogger("fastgpu.pool")
#: How long a reading may take before the driver is said not to answer: far longer than any that does.
ANSWER_S = 3.0
_UNKNOWN = Usage(None, None)


class Sampler:
    """The driver's counters, for use from the event loop."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._attribution = Attribution()
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
        self._attribution.follow(holders)
        self._energy.keep(holders)
        hidden = self._attribute(sample)
        for subject in subjects:
            if subject.lease_id not in sample.leases:
                sample.leases[subject.lease_id] = self._usage(sample, subject, hidden)
        return sample

    def _attribute(self, sample: Sample) -> set[str]:
        """Write into ``sample`` whose each process is; the devices with processes that cannot be seen from here.

        Theirs may be any lease's, so nothing can be said of those that share such a device.
        """
        hidden = set()
        for device_id, processes in sample.processes.items():
            seen: list[ProcessUse] = []
            for process in processes:
                try:
                    seen.append(process._replace(lease_id=self._attribution.lease_of(process.pid)))
                except NotFound:
                    seen.append(process)
                    hidden.add(device_id)
            sample.processes[device_id] = seen
        return hidden

    def _usage(self, sample: Sample, subject: Subject, hidden: set[str]) -> Usage:
        gpu = subject.logical_gpu
        if gpu.whole:
            used = together([sample.devices.get(device_id, _UNKNOWN) for device_id in gpu.device_ids])
            energy_millijoule = self._energy.of(subject.lease_id, gpu, sample.devices)
            return used._replace(energy_millijoule=energy_millijoule)
        processes = sample.processes.get(gpu.device_id)
        if processes is None or gpu.device_id in hidden:
            return _UNKNOWN
        return use_of([process for process in processes if process.lease_id == subject.lease_id])


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
