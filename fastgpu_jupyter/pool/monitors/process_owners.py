"""Whose the processes on the devices are: found out once for each list of them, for whoever needs to know.

What is found serves the counters of leases (:mod:`.sampler`), leases that use more memory than they have, and processes
that have no right to be where they are (:mod:`.process_monitor`).

A list is looked through when it is new, since later its numbers may be others'; where leases come and go meanwhile,
only the same processes are judged anew. Not for the event loop's thread: what `/proc` says of a process that is stuck
may be long in coming.
"""

from __future__ import annotations

import pwd
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...core.model.entities import Holder, Instant, State
from ...core.model.lifecycle import LeaseState
from ...errors import NotFound
from ..devices.driver import DeviceProcess, ProcessUsage
from ..host.attribution import Attribution, Key
from ..host.process import holder_of


class DeviceAssignments(NamedTuple):
    """Who may be on which device, at one instant."""

    holders: Mapping[str, Holder]  #: of all leases that have not ended
    on_device: Mapping[str, tuple[str, ...]]  #: the leases that each device has, in order of grant


def assignments_of(state: State) -> DeviceAssignments:
    """Who may be where."""
    return DeviceAssignments(
        {lease.id: lease.holder for lease in state.leases.values() if lease.state is not LeaseState.ENDED},
        {device_id: tuple(device.lease_ids) for device_id, device in state.devices.items() if device.lease_ids},
    )


def read_assignments(state: State, _: Instant) -> DeviceAssignments:
    """The same, as a view of the runtime's."""
    return assignments_of(state)


class ForeignProcess(NamedTuple):
    """A process that has memory on a device and no lease of it."""

    holder: Holder
    memory_bytes: int | None
    lease_id: str | None  #: its lease, of another device

    @property
    def user(self) -> str:
        """The name of its user."""
        try:
            return pwd.getpwuid(self.holder.uid).pw_name
        except KeyError:
            return f"uid-{self.holder.uid}"


class ProcessOwnership(NamedTuple):
    """One list of a device's processes, and whose they are."""

    number: int | None  #: of the list
    lease_of: Mapping[int, str]  #: by process
    memory_bytes: Mapping[str, int | None]  #: by lease; ``None`` where a process of it does not say what it has
    foreign: tuple[ForeignProcess, ...]
    hidden: bool  #: whether there are some that cannot be seen: they may be any lease's


class _List(NamedTuple):
    """A list of processes, each known whatever becomes of its number."""

    number: int | None
    keys: Mapping[int, Key]
    used_bytes: Mapping[int, int | None]


class _Judged(NamedTuple):
    """Whose they are, by these rights."""

    listed: _List
    assignments: DeviceAssignments
    owned: ProcessOwnership


class OwnershipResolver:
    """Remembers who is who. Safe for several threads."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id
        self._attribution = Attribution()
        self._judged: dict[str, _Judged] = {}
        self._lock = threading.Lock()

    def find(
        self,
        device_id: str,
        number: int | None,
        processes: Sequence[DeviceProcess | ProcessUsage],
        assignments: DeviceAssignments,
    ) -> ProcessOwnership:
        """Whose the processes of a list are; the same ``number`` is the same list, ``None`` a new one each time."""
        with self._lock:
            self._attribution.follow(assignments.holders)
            known = self._judged.get(device_id)
            if known is None or number is None or known.listed.number != number:
                used_bytes = {process.pid: process.memory_bytes for process in processes}
                listed, holders = _List(number, self._identify(used_bytes), used_bytes), dict[int, Holder]()
            elif known.assignments == assignments:
                return known.owned
            else:
                listed, holders = known.listed, {one.holder.pid: one.holder for one in known.owned.foreign}
            owned = self._judge(listed, assignments.on_device.get(device_id, ()), holders)
            self._judged[device_id] = _Judged(listed, assignments, owned)
            return owned

    def still_foreign(
        self, device_id: str, found: Sequence[ForeignProcess], assignments: DeviceAssignments
    ) -> tuple[ForeignProcess, ...]:
        """Those of ``found`` that have no lease of the device by ``assignments``, which are newer."""
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
        """``here`` are the device's leases, ``holders`` processes of the list whose identity is known already."""
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
        return ProcessOwnership(listed.number, lease_of, memory_bytes, tuple(foreign), hidden)

    def _holder(self, key: Key) -> Holder | None:
        """The very process, ``None`` where it has ended."""
        with suppress(NotFound):
            holder = holder_of(key.pid, self._boot_id)
            return holder if holder.start_time == key.start_time else None
        return None
