"""The standby kernels of this host: which processes they are, what memory they have, and when they end.

A server reports its own children, and nothing that it says about them is taken over: user, parent and start time are
those of ``/proc``, and memory is measured here, or bounded by what every process may read. Each process is watched
through its pidfd, so that it stops counting when it ends. A server that falls silent wants nothing after a while; its
kernels count for as long as they live.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from ...core.model.entities import Holder
from ...errors import FastGPUError
from ...wire.host_memory import MemoryDomain, domains_of, proportional_bytes
from ..host.process import HolderWatcher, holder_of, read_proc_file
from ..standby_budget import Domain, Kernel, StandbyRefusal, StandbyRegistry, StandbyServer

#: Without a report for so long a server wants nothing more; it reports every 10 seconds.
SILENCE_MAX_S = 60.0
#: With less of a domain's memory available no standby kernel is started, and with less than half of that none stays.
AVAILABLE_PERCENT_MIN = 10
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StandbyLimits(NamedTuple):
    """The limits that an administrator sets."""

    memory_percent: float = 5.0  #: of a host's or control group's memory, for all its standby kernels; 0: none
    pressure_percent: float = 5.0  #: memory pressure from which there are none

    def domain(self, found: MemoryDomain) -> Domain:
        """Return what standby kernels may have in a host or control group as it is now."""
        available_bytes, pressure = found.available_bytes, found.pressure
        least_bytes = found.limit_bytes * AVAILABLE_PERCENT_MIN // 100
        refusal = None
        if not self.memory_percent:
            refusal = StandbyRefusal.OFF
        elif pressure is not None and max(pressure) >= self.pressure_percent:
            refusal = StandbyRefusal.PRESSURE
        elif available_bytes is not None and available_bytes < least_bytes // 2:
            refusal = StandbyRefusal.LOW_MEMORY
        low = available_bytes is not None and available_bytes < least_bytes
        budget_bytes = int(found.limit_bytes * self.memory_percent / 100)
        return Domain(budget_bytes, refusal, StandbyRefusal.LOW_MEMORY if low else None)


class ReportedKernel(NamedTuple):
    """A standby kernel as its server describes it."""

    pid: int
    start_time: int
    memory_bytes: int | None


class KernelOutcome(NamedTuple):
    """The answer about one reported kernel."""

    pid: int
    memory_bytes: int | None  #: ``None`` if it is no child of the server
    refusal: StandbyRefusal | None


class StandbyOutcome(NamedTuple):
    """The answer to the report of a server."""

    kernels: Sequence[KernelOutcome]
    refusal: StandbyRefusal | None  #: why the wanted kernel may not be started


class Totals(NamedTuple):
    """The standby kernels of this host."""

    servers: int
    kernels: int
    memory_bytes: int
    budget_bytes: int | None


class StandbyReading(NamedTuple):
    """The standby kernels of this host, and how many were refused since the start of this pool manager, by reason."""

    totals: Totals
    refusals: Mapping[StandbyRefusal, int]


#: The reading of a host without standby kernels.
NO_STANDBY_KERNELS = StandbyReading(Totals(0, 0, 0, None), Counter())


class _Seen(NamedTuple):
    """A reported kernel that is a child of the server."""

    holder: Holder
    memory_bytes: int
    domains: tuple[MemoryDomain, ...]

    def kernel(self) -> Kernel:
        """Return the kernel as it counts."""
        return Kernel(self.holder.pid, self.memory_bytes, _names(self.domains))


class StandbyMonitor:
    """The standby kernels that Jupyter servers of this host report; for the event loop's thread only."""

    def __init__(self, boot_id: str, limits: StandbyLimits, new_thread: Callable[[int, str], Executor]) -> None:
        self._boot_id, self._limits = boot_id, limits
        self._threads = new_thread(1, "standby")
        self.registry = StandbyRegistry()
        own = [limits.domain(domain).budget_bytes for domain in domains_of(os.getpid())]
        self._budget_bytes = min(own, default=None)
        self._watcher = HolderWatcher(boot_id, self._has_ended)
        self._watched: dict[str, dict[str, Holder]] = {}  #: by server: itself and its kernels, by the watcher's key
        self._silence: dict[str, asyncio.TimerHandle] = {}
        self._ended: set[str] = set()  #: servers that have ended, whose kernels end as well

    async def report(
        self, caller: Holder, kernels: Sequence[ReportedKernel], wanted_bytes: int | None
    ) -> StandbyOutcome:
        """Take over what a server reports, and return which of its kernels may stay."""
        loop = asyncio.get_running_loop()
        own, seen = await loop.run_in_executor(self._threads, self._look, caller, kernels)
        domains = {one.name: self._limits.domain(one) for group in (own, *(it.domains for it in seen)) for one in group}
        name = f"{caller.pid}-{caller.start_time}"
        server = StandbyServer(caller.uid, [one.kernel() for one in seen], wanted_bytes, _names(own))
        decision = self.registry.report(name, server, domains, loop.time())
        self._watch(name, caller, seen)
        self.registry.refusals[StandbyRefusal.NOT_SEEN] += len(kernels) - len(seen)
        counted = {one.holder.pid: one.memory_bytes for one in seen}

        def outcome(pid: int) -> KernelOutcome:
            if pid not in counted:
                return KernelOutcome(pid, None, StandbyRefusal.NOT_SEEN)
            return KernelOutcome(pid, counted[pid], decision.ended.get((name, pid)))

        return StandbyOutcome([outcome(kernel.pid) for kernel in kernels], decision.not_started.get(name))

    def of_user(self, uid: int) -> Iterator[tuple[int, Kernel]]:
        """Yield the standby kernels of a user, each with the pid of its server."""
        for name, server in self.registry.servers().items():
            if server.uid == uid:
                for kernel in server.kernels:
                    yield int(name.partition("-")[0]), kernel

    def totals(self) -> Totals:
        """Return the standby kernels of this host together."""
        kernels = self.registry.kernels()
        memory_bytes = sum(kernel.memory_bytes for kernel in kernels)
        return Totals(len(self.registry.servers()), len(kernels), memory_bytes, self._budget_bytes)

    def reading(self) -> StandbyReading:
        """Return what metrics show."""
        return StandbyReading(self.totals(), Counter(self.registry.refusals))

    def close(self) -> None:
        """Stop watching servers and their kernels."""
        self._watcher.close()
        for timer in self._silence.values():
            timer.cancel()
        self._threads.shutdown(wait=False)

    # -- processes -----------------------------------------------------------------------------------------------------

    def _look(self, caller: Holder, kernels: Sequence[ReportedKernel]) -> tuple[tuple[MemoryDomain, ...], list[_Seen]]:
        """Return the domains of the server, and those of the reported kernels that are its children; for a thread."""
        found = (self._identify(caller, kernel) for kernel in kernels)
        return domains_of(caller.pid), [one for one in found if one is not None]

    def _identify(self, caller: Holder, kernel: ReportedKernel) -> _Seen | None:
        try:
            holder = holder_of(kernel.pid, self._boot_id)
            stat = read_proc_file(f"/proc/{kernel.pid}/stat").decode(errors="replace")
        except (FastGPUError, OSError):
            return None
        parent = int(stat.rpartition(")")[2].split()[1])
        if (holder.uid, holder.start_time, parent) != (caller.uid, kernel.start_time, caller.pid):
            return None
        memory_bytes = counted_bytes(kernel.pid, kernel.memory_bytes)
        return None if memory_bytes is None else _Seen(holder, memory_bytes, domains_of(kernel.pid))

    def _watch(self, name: str, caller: Holder, seen: Sequence[_Seen]) -> None:
        """Watch exactly the server, while it has or wants anything, and its kernels."""
        if (timer := self._silence.pop(name, None)) is not None:
            timer.cancel()
        before = self._watched.pop(name, {})
        watched: dict[str, Holder] = {}
        if name in self.registry.servers():
            watched = {name: caller, **{f"{name}/{one.holder.pid}": one.holder for one in seen}}
            self._watched[name] = watched
            self._silence[name] = asyncio.get_running_loop().call_later(SILENCE_MAX_S, self._fell_silent, name)
        for key in before.keys() - watched.keys():
            self._watcher.forget(key)
        for key, holder in watched.items():
            if before.get(key) != holder:
                self._watcher.watch(key, holder)

    def _has_ended(self, key: str, holder: Holder) -> None:
        name, is_kernel, _ = key.partition("/")
        self._watched.get(name, {}).pop(key, None)
        if is_kernel:
            self.registry.forget_kernel(name, holder.pid)
        else:
            self._ended.add(name)
            self.registry.withdraw_wish(name)
        if name not in self.registry.servers():
            self._forget(name)

    def _fell_silent(self, name: str) -> None:
        if name in self._ended:  # a kernel of it that still lives was handed over just before the server ended
            self._forget(name)
        else:
            self.registry.withdraw_wish(name)
            if name not in self.registry.servers():
                self._forget(name)

    def _forget(self, name: str) -> None:
        self.registry.forget_server(name)
        self._ended.discard(name)
        if (timer := self._silence.pop(name, None)) is not None:
            timer.cancel()
        for key in self._watched.pop(name, {}):
            self._watcher.forget(key)


def _names(domains: Sequence[MemoryDomain]) -> tuple[str, ...]:
    return tuple(domain.name for domain in domains)


def counted_bytes(pid: int, stated_bytes: int | None) -> int | None:
    """Return the memory that a process counts with, or ``None`` where nothing of it can be read.

    Where its proportional memory may not be read, as by a pool manager that is neither root nor the same user, what
    its server states is taken, but not less than its private memory and not more than all that it has.
    """
    measured_bytes = proportional_bytes(pid)
    if measured_bytes is not None:
        return measured_bytes
    try:
        resident, shared = (PAGE_BYTES * int(text) for text in read_proc_file(f"/proc/{pid}/statm").split()[1:3])
    except (OSError, ValueError):
        return None
    return min(resident, max(resident - shared, resident if stated_bytes is None else stated_bytes))
