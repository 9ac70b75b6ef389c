"""Finds the leases that the processes on the devices belong to, once for each process list.

The result serves the counters of leases (:mod:`.sampler`), the check of leases that use more memory than they have, and
the check of processes without a right to be where they are (:mod:`.processes`).

A list is resolved when it is new, because later its numbers may be those of other processes. If leases come and go
meanwhile, the same processes are assigned again. Not for the event loop's thread: ``/proc`` may block on a process that
is stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...core.model.entities import Holder, Instant, State
from ...core.model.lifecycle import LeaseState
from ...errors import HostFault, LimitReached, Message, NotFound
from ..devices.driver import DeviceProcess, ProcessUsage
from ..host.attribution import Attribution, Key, NotHere, pids
from ..host.process import holder_of


class DeviceAssignments(NamedTuple):
    """The leases that may have processes on each device, at one instant."""

    holders: Mapping[str, Holder]  #: of all leases that have not ended
    on_device: Mapping[str, tuple[str, ...]]  #: the leases that each device has, in order of grant


def assignments_of(state: State) -> DeviceAssignments:
    """Return the assignments in ``state``."""
    return DeviceAssignments(
        {lease.id: lease.holder for lease in state.leases.values() if lease.state is not LeaseState.ENDED},
        {device_id: tuple(device.lease_ids) for device_id, device in state.devices.items() if device.lease_ids},
    )


def read_assignments(state: State, _: Instant) -> DeviceAssignments:
    """Return the assignments in ``state``, as a view for :meth:`.protocols.StateReader.read`."""
    return assignments_of(state)


class ForeignProcess(NamedTuple):
    """A process that has memory on a device and no lease of it."""

    holder: Holder
    memory_bytes: int | None
    lease_id: str | None  #: its lease, of another device


class ProcessOwnership(NamedTuple):
    """One list of a device's processes, and the leases that they belong to."""

    number: int | None  #: of the list
    lease_of: Mapping[int, str]  #: by process
    memory_bytes: Mapping[str, int | None]  #: by lease; ``None`` if the memory of one of its processes is unknown
    foreign: tuple[ForeignProcess, ...]
    hidden: bool  #: whether some processes cannot be identified: they may belong to any lease
    unowned_bytes: int | None = None  #: memory in use that no visible process has; ``None``: not known
    unlisted: Message | None = None  #: why the driver lists no processes


class _List(NamedTuple):
    """A list of processes with their identities, which stay valid when numbers are reused."""

    number: int | None
    keys: Mapping[int, Key]
    used_bytes: Mapping[int, int | None]
    unowned_bytes: int | None  #: memory in use that none of them has


class _Judged(NamedTuple):
    """The ownership of a list by certain assignments."""

    listed: _List
    assignments: DeviceAssignments
    owned: ProcessOwnership


def unlisted(reason: Message, unowned_bytes: int | None) -> ProcessOwnership:
    """Return what is known of a device whose driver lists no processes: how much memory is in use there."""
    return ProcessOwnership(None, {}, {}, (), hidden=True, unowned_bytes=unowned_bytes, unlisted=reason)


def _unowned_bytes(listed: _List) -> int | None:
    """Return the memory in use that no process has which can be seen here."""
    total = listed.unowned_bytes or 0
    for pid, used in listed.used_bytes.items():
        if pid not in listed.keys:
            if used is None:
                return None
            total += used
    return None if listed.unowned_bytes is None and not total else total


class OwnershipResolver:
    """A resolver of process owners that remembers its results. Safe for several threads."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._attribution = Attribution()
        self._judged: dict[str, _Judged] = {}
        self._lock = threading.Lock()
        self._using: set[Key] = set()  #: processes that may have memory on a device

    def find(
        self,
        device_id: str,
        number: int | None,
        processes: Sequence[DeviceProcess | ProcessUsage],
        assignments: DeviceAssignments,
        unowned_bytes: int | None = None,
    ) -> ProcessOwnership:
        """Return the ownership of a list; the same ``number`` is the same list, ``None`` always a new one.

        ``unowned_bytes`` is the memory in use that none of the listed processes has.
        """
        with self._lock:
            self._attribution.follow(assignments.holders)
            known = self._judged.get(device_id)
            if known is None or number is None or known.listed.number != number:
                used_bytes = {process.pid: process.memory_bytes for process in processes}
                listed = _List(number, self._identify(used_bytes), used_bytes, unowned_bytes)
                holders = dict[int, Holder]()
            elif known.assignments == assignments:
                return known.owned
            else:
                listed, holders = known.listed, {one.holder.pid: one.holder for one in known.owned.foreign}
            owned = self._judge(listed, assignments.on_device.get(device_id, ()), holders)
            self._judged[device_id] = _Judged(listed, assignments, owned)
            return owned

    def local_users(self, may_have_memory: Callable[[int], bool], assignments: DeviceAssignments) -> set[str]:
        """Return the leases with a process on this host that may have memory on a device, by its libraries and files.

        What a process has loaded once it keeps, so it is looked at once more only where it had not.
        """
        with self._lock:
            self._attribution.follow(assignments.holders)
            found: set[str] = set()
            using: set[Key] = set()
            for pid in pids():
                with suppress(NotHere):
                    key = self._attribution.identify(pid)
                    leases = self._attribution.leases_of_process(key)
                    if leases and (key in self._using or may_have_memory(pid)):
                        using.add(key)
                        found |= leases
            self._using = using
            return found

    def still_foreign(
        self, device_id: str, found: Sequence[ForeignProcess], assignments: DeviceAssignments
    ) -> tuple[ForeignProcess, ...]:
        """Return those of ``found`` that have no lease of the device by ``assignments``, which are newer."""
        here = assignments.on_device.get(device_id, ())
        still = []
        with self._lock:
            self._attribution.follow(assignments.holders)
            for one in found:
                its = self._attribution.leases_of_process(Key(one.holder.pid, one.holder.start_time))
                if not its.intersection(here):
                    still.append(one._replace(lease_id=min(its, default=None)))
        return tuple(still)

    def _identify(self, pids: Iterable[int]) -> dict[int, Key]:
        keys = {}
        for pid in pids:
            with suppress(NotFound):  # it has ended, or is of another PID namespace
                keys[pid] = self._attribution.identify(pid)
        return keys

    def _judge(self, listed: _List, here: Sequence[str], holders: Mapping[int, Holder]) -> ProcessOwnership:
        """Return the ownership; ``here`` are the device's leases, ``holders`` processes that are identified already."""
        lease_of: dict[int, str] = {}
        memory_bytes: dict[str, int | None] = {}
        foreign: list[ForeignProcess] = []
        for pid, key in listed.keys.items():
            its, used = self._attribution.leases_of_process(key), listed.used_bytes[pid]
            lease_id = next((one for one in reversed(here) if one in its), None)
            if lease_id is not None:
                lease_of[pid] = lease_id
                before = memory_bytes.get(lease_id, 0)
                memory_bytes[lease_id] = None if used is None or before is None else before + used
            elif (holder := holders.get(pid) or self._holder(key)) is not None:
                foreign.append(ForeignProcess(holder, used, min(its, default=None)))
        hidden = len(listed.keys) < len(listed.used_bytes)
        unowned = _unowned_bytes(listed)
        return ProcessOwnership(listed.number, lease_of, memory_bytes, tuple(foreign), hidden, unowned)

    def _holder(self, key: Key) -> Holder | None:
        """Return the holder identity of exactly that process, or ``None`` if it has ended.

        Raises :class:`HostFault` where that cannot be found out.
        """
        try:
            holder = holder_of(key.pid, self._boot_id)
        except NotFound:
            return None
        except LimitReached as error:
            raise HostFault(error.message) from error
        return holder if holder.start_time == key.start_time else None
