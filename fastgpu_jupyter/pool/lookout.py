"""Looks who has memory on the devices: leases that use more than they have, and processes that have no lease.

Each look lists the processes of every device, then asks the state whose they are: a process that a lease began in
between is its own. One is *foreign* on a device of which its lease (:mod:`.host.attribution`) has no part, and so is
one that has no lease at all.

What follows from too much memory is decided by the rules (:mod:`fastgpu_jupyter.core.overuse`). Foreign processes are
shown, or, in a pool of the whole system that is configured so, ended: only the very process that was seen, by its
pidfd, and only after a second look.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ..core import commands as c
from ..core import overuse
from ..core.model import Holder, Instant, LeaseState, State
from ..errors import HostFault, NotFound
from .devices.driver import GPUProcess
from .host.attribution import Attribution
from .host.process import holder_of, open_holder

log = logging.getLogger("fastgpu.pool")
#: How long a foreign process that was asked to end may take.
END_GRACE_S = 10.0
IGNORE, WARN, END = "ignore", "warn", "end"


class Foreign(NamedTuple):
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


class Seen(NamedTuple):
    """What one look showed."""

    foreign: dict[str, list[Foreign]]
    used_bytes: dict[str, int]  #: by lease; without those of which a process does not say what it has


class Lookout:
    """Looks again and again; ``foreign`` is one of ``ignore``, ``warn`` and ``end``."""

    def __init__(self, boot_id: str, foreign: str = WARN) -> None:
        self._boot_id = boot_id
        self._attribution = Attribution()
        self.policy = foreign
        self.ours: Container[int] = {os.getpid()}  #: processes of the pool manager's, which need no lease
        self.foreign: dict[str, list[Foreign]] = {}
        self._ending: dict[Holder, float] = {}  #: when each was asked to end

    async def look(
        self,
        device_ids: Sequence[str],
        processes: Callable[[str], Awaitable[Sequence[GPUProcess]]],
        say: Callable[[c.Command], Awaitable[object]],
        read: Callable[[Callable[[State, Instant], Seen]], Awaitable[Seen]],
        now_s: float,
    ) -> set[str]:
        """One look; on which devices other foreign processes are than before."""
        found: dict[str, Sequence[GPUProcess]] = {}
        for device_id in device_ids:
            with suppress(HostFault):  # of this one nothing is known now
                found[device_id] = await processes(device_id)
        reports: list[c.ReportMemory] = []

        def judge(state: State, _: Instant) -> Seen:
            seen = self.judge(state, found)
            reports.extend(_reports(state, seen.used_bytes))
            return seen

        seen = await read(judge)
        for report in reports:
            await say(report)
        before, self.foreign = self.foreign, {} if self.policy == IGNORE else seen.foreign
        self._tell(before)
        if self.policy == END:
            self._end(before, now_s)
        return {name for name in {*before, *self.foreign} if before.get(name) != self.foreign.get(name)}

    def judge(self, state: State, found: Mapping[str, Sequence[GPUProcess]]) -> Seen:
        """Whose the processes are."""
        live = {lease.id: lease.holder for lease in state.leases.values() if lease.state is not LeaseState.ENDED}
        self._attribution.follow(live)
        foreign: dict[str, list[Foreign]] = {}
        used: defaultdict[str, list[int | None]] = defaultdict(list)
        for device_id, processes in found.items():
            on_device = state.devices[device_id].lease_ids if device_id in state.devices else {}
            for process in processes:
                try:
                    its = self._attribution.leases_of(process.pid)
                except NotFound:
                    continue  # it ended while we looked
                here = [lease_id for lease_id in on_device if lease_id in its]
                if here:
                    used[here[-1]].append(process.memory_bytes)
                elif process.pid not in self.ours:
                    with suppress(NotFound):  # it ended while we looked
                        holder = holder_of(process.pid, self._boot_id)
                        foreign.setdefault(device_id, []).append(
                            Foreign(holder, process.memory_bytes, min(its, default=None))
                        )
        for device_id in found:  # a lease without any process on its device uses nothing of it
            for lease_id in state.devices[device_id].lease_ids if device_id in state.devices else ():
                used.setdefault(lease_id, [])
        known = {name: [one for one in parts if one is not None] for name, parts in used.items()}
        return Seen(foreign, {name: sum(known[name]) for name, parts in used.items() if len(known[name]) == len(parts)})

    def _tell(self, before: Mapping[str, Sequence[Foreign]]) -> None:
        for device_id, found in self.foreign.items():
            known = {one.holder for one in before.get(device_id, ())}
            for one in found:
                if one.holder not in known:
                    log.warning(
                        "Process %d of %s has memory on %s and no lease of it.", one.holder.pid, one.user, device_id
                    )

    def _end(self, before: Mapping[str, Sequence[Foreign]], now_s: float) -> None:
        """End those that were there at the last look, too; the second time for good."""
        known = {one.holder for found in before.values() for one in found}
        present = {one.holder for found in self.foreign.values() for one in found}
        self._ending = {holder: at_s for holder, at_s in self._ending.items() if holder in present}
        for holder in present & known:
            asked_s = self._ending.setdefault(holder, now_s)
            if asked_s == now_s:
                self._signal(holder, signal.SIGTERM)
            elif now_s - asked_s >= END_GRACE_S:
                self._signal(holder, signal.SIGKILL)

    def _signal(self, holder: Holder, number: signal.Signals) -> None:
        """Send a signal to exactly that process."""
        pidfd = open_holder(holder, self._boot_id)
        if pidfd is None:
            return
        try:
            signal.pidfd_send_signal(pidfd, number)
            log.warning("Process %d was sent %s: it has no lease of its GPU.", holder.pid, number.name)
        except OSError as error:
            log.warning("Process %d, which has no lease of its GPU, cannot be ended: %s", holder.pid, error)
        finally:
            os.close(pidfd)


def _reports(state: State, used_bytes: Mapping[str, int]) -> list[c.ReportMemory]:
    """What the rules must hear: of leases that use too much, or did."""
    reports = []
    for lease_id, used in used_bytes.items():
        lease = state.leases[lease_id]
        gpu = lease.logical_gpu
        if lease.state is not LeaseState.ACTIVE or gpu is None or not overuse.is_watched(gpu):
            continue
        if used > gpu.memory_bytes or lease.over_since_ms is not None or lease.over_parks:
            reports.append(c.ReportMemory(lease_id, gpu.generation, used))
    return reports
