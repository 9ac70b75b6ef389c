"""Whether this server may have and start standby kernels now, by the pool manager's budget and by rules of its own.

The pool manager shares the memory of the host out between the Jupyter servers. Where it does not answer, is older, or
does not see the processes of this server, a bound of this server's own holds: one standby kernel, if it is small. The
other rules need no pool manager: a standby kernel that is too old ends, a server that is not used has none, one is
started when the machine is quiet, and kernels that end by themselves are started again after growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FastGPUError, Message, ReceivedMessage
from ..text import printable
from ..units import MIB
from ..wire.client import PoolClient
from ..wire.host_memory import MemoryDomain, domains_of, proportional_bytes
from ..wire.locate import pool_socket
from ..wire.pressure import SYSTEM, Pressure, read_pressure
from .threads import in_thread

if TYPE_CHECKING:
    from ..wire.schemas import StandbyAnswer

#: What the first standby kernel of a kernelspec is taken to need; the next ones need what the last one had.
FIRST_KERNEL_BYTES = 64 * MIB
#: How long the answer of a pool manager that does not answer any more still holds, so that it can be restarted.
ANSWER_VALID_S = 60.0
#: A kernel that was allowed has started after this time, or will not. What was refused is wanted for a shorter time,
#: within which it is asked for again.
START_MAX_S, WANTED_S = 60.0, 30.0
#: What the standby kernel of a server may take whose pool manager does not answer, of the memory of host or group.
OWN_PERCENT = 1
#: Percentage of the time in which processes wait for memory from which there are no standby kernels.
MEMORY_PRESSURE_PERCENT = 5.0
#: For how long a quiet machine has been awaited, and the percentage of the time in which processes wait for a processor
#: from which none is started then. A machine that computes all the time gets one after five minutes each.
CPU_PRESSURE_PERCENT = ((0.0, 20.0), (60.0, 80.0), (300.0, 101.0))
#: The pause after a standby kernel that ended by itself, and the longest: it doubles each time.
PAUSE_FIRST_S, PAUSE_MOST_S = 10.0, 3600.0
#: The pool manager's refusal of a process that it does not see.
NOT_SEEN = "standby.not_seen"
#: How long a standby kernel starts at a low priority. Where the processors are never idle it would not get ready.
LOW_PRIORITY_MAX_S = 5.0
#: How often, and how long after one another, a priority is set back.
PRIORITY_TRIES, PRIORITY_PAUSE_S = 20, 0.06
#: A standby kernel that has waited for so long does not end by itself each time.
SURVIVED_S = 300.0


class Waiting(NamedTuple):
    """A standby kernel of this server, which waits for its hand-over."""

    pid: int
    start_time: int  #: in clock ticks since boot
    kernelspec: str
    memory_bytes: int | None  #: ``None``: it is measured
    since_s: float  #: when it was started, on the monotonic clock


class StandbyRules(NamedTuple):
    """The rules of a server that its settings change."""

    age_max_s: float = 3600.0
    server_idle_s: float = 1800.0  #: without use of the server for so long there are none
    wait_for_quiet: bool = True


class _Deaths(NamedTuple):
    """The standby kernels of one kernelspec that ended by themselves, one after the other."""

    number: int
    again_at_s: float


class StandbyBudget:
    """What this server asks before it starts a standby kernel, and reports about those that it has.

    For one event loop. ``idle_s`` returns for how long the server has not been used, ``launches`` the number of kernels
    that are starting.
    """

    def __init__(
        self,
        log: Logger,
        *,
        rules: StandbyRules | None = None,
        idle_s: Callable[[], float] = lambda: 0.0,
        launches: Callable[[], int] = lambda: 0,
        connect: Callable[[], PoolClient] = lambda: PoolClient(pool_socket()),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``connect`` returns a client, and starts no pool manager."""
        self.rules = rules or StandbyRules()
        self._log, self._idle_s, self._launches, self._connect, self._clock = log, idle_s, launches, connect, clock
        self._kernels: Sequence[Waiting] = ()
        #: The memory of a kernel that is wanted or starts now, and until when that is so.
        self._wanted: tuple[int, float] | None = None
        self._allowed: frozenset[int] = frozenset()  #: by the last answer of a pool manager
        self._answered_at_s: float | None = None
        self._unseen = False  #: the pool manager does not see the processes of this server, as those of a container
        self._quiet_awaited_since_s: float | None = None
        self._deaths: dict[str, _Deaths] = {}
        self.refusals: dict[str, Message] = {}  #: why there is none of a kernelspec, as it was when that was last asked
        self._measured: dict[str, int] = {}  #: the memory of the last standby kernel, by kernelspec

    @property
    def memory_bytes(self) -> int | None:
        """Return the memory of all standby kernels of this server; ``None`` where that is not known."""
        known = [kernel.memory_bytes for kernel in self._kernels if kernel.memory_bytes is not None]
        return sum(known) if len(known) == len(self._kernels) else None

    async def allowed(self, kernelspec: str) -> Message | None:
        """Return why no standby kernel of a kernelspec may be started now, or None if it may.

        What was allowed counts as memory in use until the kernel is reported. What was refused stays wanted for a
        while, so that it gets its turn among the servers.
        """
        refusal = await self._refusal(kernelspec)
        if refusal is None:
            self.refusals.pop(kernelspec, None)
        else:
            self.refusals[kernelspec] = refusal
        return refusal

    async def _refusal(self, kernelspec: str) -> Message | None:
        now_s, wanted_bytes = self._clock(), self._measured.get(kernelspec, FIRST_KERNEL_BYTES)
        refusal = self._idle() or self._rests(kernelspec, now_s) or await self._wait_for_quiet(now_s)
        if refusal is not None:
            return refusal
        answer = await self._report(wanted_bytes)
        if answer is None or self._unseen:
            refusal = await in_thread(own_refusal, wanted_bytes, len(self._kernels), os.getpid())
        elif answer["refusal"] is not None:
            refusal = ReceivedMessage.from_view(answer["refusal"])
        self._wanted = (wanted_bytes, now_s + (START_MAX_S if refusal is None else WANTED_S))
        return refusal

    async def report(self, kernels: Sequence[Waiting]) -> frozenset[int]:
        """Report all standby kernels, those first that are rather kept; return the pids of those that may stay."""
        before = {kernel.pid for kernel in self._kernels}
        now_s = self._clock()
        self._kernels = await in_thread(_measured, kernels)
        self._measured.update({it.kernelspec: it.memory_bytes for it in self._kernels if it.memory_bytes is not None})
        if self._wanted is not None and (now_s >= self._wanted[1] or any(one.pid not in before for one in kernels)):
            self._wanted = None
        if not (kernels or before or self._wanted):
            return frozenset()  # as the pool manager knows
        for kernel in kernels:
            if now_s - kernel.since_s >= SURVIVED_S:
                self._deaths.pop(kernel.kernelspec, None)
        answer = await self._report(None if self._wanted is None else self._wanted[0])
        if answer is not None and kernels:
            refused = [one["refusal"] for one in answer["kernels"] if one["refusal"] is not None]
            self._unseen = [one["code"] for one in refused] == [NOT_SEEN] * len(kernels)
        if answer is not None and not self._unseen:
            self._allowed = frozenset(one["pid"] for one in answer["kernels"] if one["refusal"] is None)
        elif self._unseen or self._answered_at_s is None or now_s - self._answered_at_s > ANSWER_VALID_S:
            self._allowed = await in_thread(own_kernels, self._kernels, os.getpid())
        if self._idle() is not None:
            return frozenset()
        young = {kernel.pid for kernel in kernels if now_s - kernel.since_s < self.rules.age_max_s}
        return self._allowed & young

    def died(self, kernelspec: str, why: object) -> None:
        """Note that a standby kernel ended by itself, or did not get ready: the next one starts after a pause."""
        before = self._deaths.get(kernelspec, _Deaths(0, 0.0))
        pause_s = min(PAUSE_FIRST_S * 2**before.number, PAUSE_MOST_S)
        self._deaths[kernelspec] = _Deaths(before.number + 1, self._clock() + pause_s)
        self._wanted = None
        if not before.number:  # once, not each time
            self._log.warning(
                "FastGPU: a standby kernel of %s failed (%s). Kernels start without it; another one is prepared in "
                "%d s, and after longer pauses if that fails as well.",
                printable(kernelspec),
                printable(str(why)),
                pause_s,
            )

    def was_used(self, kernelspec: str) -> None:
        """Note that a standby kernel was handed over: those of its kernelspec work."""
        self._deaths.pop(kernelspec, None)

    # -- rules -----------------------------------------------------------------------------------------------------

    def _idle(self) -> Message | None:
        if self._idle_s() < self.rules.server_idle_s:
            return None
        return Message.of("standby.server_idle", limit_ms=int(1000 * self.rules.server_idle_s))

    def _rests(self, kernelspec: str, now_s: float) -> Message | None:
        deaths = self._deaths.get(kernelspec)
        if deaths is None or now_s >= deaths.again_at_s:
            return None
        return Message.of("standby.died", count=deaths.number, wait_ms=int(1000 * (deaths.again_at_s - now_s)))

    async def _wait_for_quiet(self, now_s: float) -> Message | None:
        if not self.rules.wait_for_quiet:
            return None
        since_s = self._quiet_awaited_since_s
        waited_s = 0.0 if since_s is None else now_s - since_s
        cpu = await in_thread(read_pressure, SYSTEM / "cpu")
        refusal = busy(cpu, load_per_cpu(), self._launches(), waited_s)
        self._quiet_awaited_since_s = None if refusal is None else now_s - waited_s
        return refusal

    async def _report(self, wanted_bytes: int | None) -> StandbyAnswer | None:
        """Report to the pool manager, and return its answer; None if there is none."""

        def call() -> StandbyAnswer:
            return self._connect().report_standby(
                [{"pid": it.pid, "start_time": it.start_time, "memory_bytes": it.memory_bytes} for it in self._kernels],
                wanted_bytes,
            )

        try:
            answer = await in_thread(call)
        except FastGPUError as error:  # it is away, silent, older, or refuses this user
            self._log.debug("FastGPU: standby kernels were not reported: %s", printable(str(error)))
            return None
        self._answered_at_s = self._clock()
        return answer


def _measured(kernels: Sequence[Waiting]) -> list[Waiting]:
    """Return the kernels with their memory as it is now, where it can be read; for a thread."""
    return [
        kernel._replace(memory_bytes=proportional_bytes(kernel.pid)) if kernel.memory_bytes is None else kernel
        for kernel in kernels
    ]


# -- the bound without a pool manager --------------------------------------------------------------------------------


def own_refusal(wanted_bytes: int, kernels: int, pid: int) -> Message | None:
    """Return why this server may start no standby kernel while no pool manager answers, or None if it may."""
    fits = not kernels and _fits(wanted_bytes, domains_of(pid))
    return None if fits else Message.of("standby.own_limit", percent=OWN_PERCENT)


def own_kernels(kernels: Sequence[Waiting], pid: int) -> frozenset[int]:
    """Return the pids of the standby kernels that may stay while no pool manager answers: one at most."""
    domains = domains_of(pid)
    small = [one.pid for one in kernels if one.memory_bytes is not None and _fits(one.memory_bytes, domains)]
    return frozenset(small[:1])


def _fits(memory_bytes: int, domains: Sequence[MemoryDomain]) -> bool:
    """Return whether every domain has room for one standby kernel; not where none of them can be read."""
    return bool(domains) and all(
        memory_bytes <= domain.limit_bytes * OWN_PERCENT // 100
        and (domain.pressure is None or max(domain.pressure) < MEMORY_PRESSURE_PERCENT)
        for domain in domains
    )


# -- a quiet machine -------------------------------------------------------------------------------------------------


def load_per_cpu() -> float | None:
    """Return the load average of the last minute for each processor, or None where it is not known."""
    try:
        return os.getloadavg()[0] / len(os.sched_getaffinity(0))
    except OSError:
        return None


def busy(cpu: Pressure | None, load: float | None, launches: int, waited_s: float) -> Message | None:
    """Return why the machine is not quiet enough to start a standby kernel, or None if it is.

    Args:
        cpu: the pressure on the processors, None where it is not known.
        load: the load average for each processor, which is looked at where the pressure is not known.
        launches: kernels of this server that are starting.
        waited_s: for how long a quiet machine has been awaited. A machine that computes all the time would never be
            quiet, and a kernel that starts cold there needs the processor as much as a standby kernel.

    """
    if launches:
        return Message.of("standby.launching")
    limit = next(percent for since_s, percent in reversed(CPU_PRESSURE_PERCENT) if waited_s >= since_s)
    # Without the pressure: a load of 1 for each processor is about where processes begin to wait.
    waits = cpu.avg10 if cpu is not None else 0.0 if load is None else 100.0 * max(0.0, 1.0 - 1.0 / max(load, 1.0))
    return Message.of("standby.cpu_busy") if waits >= limit else None


# -- priority --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_low_priority(pid: int) -> AsyncIterator[None]:
    """Let the session that a process leads have less of the processors than others, at most ``LOW_PRIORITY_MAX_S``.

    The niceness of its autogroup is used (sched(7)), because every user may set that back. The niceness of a process
    only root can set back, and the scheduling policy is one of each thread. Where there are no autogroups nothing is
    changed. Raises :class:`OSError` if it cannot be set back.
    """
    try:
        _set_autogroup(pid, 19)
    except OSError:
        yield
        return
    timer = asyncio.create_task(_restore_later(pid))
    try:
        yield
    finally:
        timer.cancel()
    await in_thread(restore_priority, pid)


async def _restore_later(pid: int) -> None:
    await asyncio.sleep(LOW_PRIORITY_MAX_S)
    with contextlib.suppress(OSError):
        await in_thread(restore_priority, pid)


def restore_priority(pid: int) -> None:
    """Set the niceness of the session that a process leads to the usual one; for a thread.

    Raises :class:`OSError` if that is impossible. The system allows users one change every 100 ms only.
    """
    for _ in range(PRIORITY_TRIES):
        with contextlib.suppress(BlockingIOError):
            _set_autogroup(pid, 0)
            return
        time.sleep(PRIORITY_PAUSE_S)
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _set_autogroup(pid: int, niceness: int) -> None:
    Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
