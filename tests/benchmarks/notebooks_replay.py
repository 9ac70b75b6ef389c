"""Replay notebooks on the rules of the pool, on a simulated clock; ``notebooks_per_gpu.py`` says what is simulated."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    Holder,
    HostSpec,
    Instant,
    LeaseRequest,
    LogicalGPU,
    Mechanism,
    Policy,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.placement import idleness, parkability
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.effects.host_memory import HostMemoryReservations
from fastgpu_jupyter.pool.loop.ticker import TICK_S
from tests.benchmarks.notebook_activity import MINUTE_MS, MONTH_MINUTES, Session

GB = 10**9
GPUS_PER_HOST = 8
GB_PER_GPU = 20
PARKED_GB_PER_HOST = 512
#: The share of cells that may wait for longer than so many milliseconds.
TARGETS = {1000: 0.01, 5000: 0.001}
#: While nothing waits, ticks only start parking ahead, and fewer of them are simulated.
QUIET_TICK_MS = 30 * MINUTE_MS


class Served(NamedTuple):
    """How long cells waited for their GPUs, in milliseconds, and how many leases were parked and resumed."""

    delays_ms: list[int]
    parked: int = 0
    parked_ahead: int = 0
    refused: int = 0  #: for lack of host memory
    resumed: int = 0

    def share_over(self, delay_ms: int) -> float:
        """Return the share of cells that waited for longer."""
        return sum(one > delay_ms for one in self.delays_ms) / max(1, len(self.delays_ms))

    def meets_targets(self) -> bool:
        """Return whether the notebooks are served."""
        return all(self.share_over(delay_ms) <= share for delay_ms, share in TARGETS.items())

    def percentile_ms(self, percent: float) -> int:
        """Return the delay that so many percent of the cells do not exceed."""
        ordered = sorted(self.delays_ms)
        return ordered[min(len(ordered) - 1, int(percent * len(ordered) / 100))] if ordered else 0


def transfer_ms(gb_per_s: float) -> int:
    """Return how long the memory of a notebook takes to or from the GPUs."""
    return round(1000 * GB_PER_GPU / gb_per_s)


class Replay:
    """A pool with hosts of 8 GPUs, and the notebooks that use it."""

    def __init__(self, sessions: Sequence[Session], hosts: int, gb_per_s: float, ahead_ms: int | None) -> None:
        self.pool = Pool(State())
        self.now_ms = 0
        self.sessions = {f"notebook-{number:03}": session for number, session in enumerate(sessions)}
        self._transfer_ms = transfer_ms(gb_per_s)
        self._memory = HostMemoryReservations(lambda: self.pool.state)
        self._next: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._ticks = False  #: whether one is planned
        self._cells = dict.fromkeys(self.sessions, 0)  #: how many have ended
        self._wanted: dict[str, int] = {}  #: since when the cell of a notebook waits
        self._delays_ms: list[int] = []
        self._late = dict.fromkeys(TARGETS, 0)
        self._counts = dict.fromkeys(("parked", "parked_ahead", "refused", "resumed"), 0)
        self._start_pool(hosts, ahead_ms)
        for name, session in self.sessions.items():
            self._after(session.start_ms, partial(self._begin, name))

    def _start_pool(self, hosts: int, ahead_ms: int | None) -> None:
        names = [f"host-{number:03}" for number in range(hosts)]
        devices = tuple(
            DeviceSpec(
                f"{host}-gpu-{index}", index, "H100", 80 * GB, simulated=False, mechanisms=(Mechanism.EXCLUSIVE,),
                rate_micro_per_hour=1, host_id=host, parkable=True,
            )
            for host in names
            for index in range(GPUS_PER_HOST)
        )  # fmt: skip
        self.do(c.StartPool("boot", 0))
        self.do(c.SetPolicy(Policy(parked_bytes_max=hosts * PARKED_GB_PER_HOST * GB, ahead_ms=ahead_ms)))
        self.do(c.SetDevices(devices, tuple(HostSpec(name, 128_000, 2000 * GB) for name in names)))

    def run(self, until_ms: int = MONTH_MINUTES * MINUTE_MS, *, all_of_it: bool = True) -> Served | None:
        """Return what was served until then; a cell that still waits has waited until then.

        Unless ``all_of_it`` is wanted, the result is ``None`` as soon as the targets are missed for certain.
        """
        cells = sum(len(session.cells) for session in self.sessions.values())
        late_max = {delay_ms: share * cells for delay_ms, share in TARGETS.items()}
        while self._next and self._next[0][0] <= until_ms:
            if not all_of_it and any(self._late[delay_ms] > most for delay_ms, most in late_max.items()):
                return None
            self.now_ms, _, what = heapq.heappop(self._next)
            what()
            self._plan_tick()
        waiting = [until_ms - since_ms for since_ms in self._wanted.values()]
        return Served(self._delays_ms + waiting, **self._counts)

    def _after(self, ms: int, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._next, (self.now_ms + ms, self._number, what))

    def _plan_tick(self) -> None:
        """Tick regularly, and as the pool does when a lease has been idle for long enough while others wait."""
        state = self.pool.state
        if self._ticks or not (state.queue or state.policy.ahead_ms is not None):
            return
        every_ms = round(1000 * TICK_S) if state.queue else QUIET_TICK_MS
        at_ms = (self.now_ms // every_ms + 1) * every_ms
        if state.queue:
            idle_ms = idleness.next_idle_ms(state, state.leases, self.now_ms)
            at_ms = at_ms if idle_ms is None else min(at_ms, idle_ms)
        self._ticks = True
        self._after(at_ms - self.now_ms, self._tick)

    def _tick(self) -> None:
        self._ticks = False
        self.do(c.Tick())

    # -- what notebooks do --------------------------------------------------------------------------------------------

    def _begin(self, name: str) -> None:
        gpus = self.sessions[name].gpus
        self._wanted[name] = self.now_ms
        request = LeaseRequest("full" if gpus == 1 else f"{gpus}xany", None, name, name)
        self.do(c.RequestLease(name, name, request, Holder("boot", 1 + self._number, 0, 0, 0), ""))
        self.do(c.ReportActivity(name, busy=True))

    def _want(self, name: str) -> None:
        self._wanted[name] = self.now_ms
        self.do(c.ReportActivity(name, busy=True))
        self._start(name)

    def _start(self, name: str) -> None:
        """Start the cell that waits, if the lease is active."""
        if name in self._wanted and self.pool.state.leases[name].state is LeaseState.ACTIVE:
            waited_ms = self.now_ms - self._wanted.pop(name)
            self._delays_ms.append(waited_ms)
            for delay_ms in TARGETS:
                self._late[delay_ms] += waited_ms > delay_ms
            self._after(self.sessions[name].cells[self._cells[name]].runs_ms, partial(self._end, name))

    def _end(self, name: str) -> None:
        cells = self.sessions[name].cells
        ended = cells[self._cells[name]]
        self._cells[name] += 1
        self.do(c.ReportActivity(name, busy=False))
        if self._cells[name] == len(cells):
            self.do(c.ReleaseLease(name))
        else:
            self._after(ended.gap_ms, partial(self._want, name))

    # -- what devices do ----------------------------------------------------------------------------------------------

    def do(self, command: c.Command) -> None:
        """Execute a command, and what follows from its events."""
        for event in self.pool.execute(command, Instant(self.now_ms, self.now_ms)):
            self._handle(event)

    def _handle(self, event: e.Event) -> None:
        name = getattr(event, "lease_id", "")
        match event:
            case e.LeaseGranted(logical_gpu=gpu):
                self._after(0, partial(self.do, c.PrepareSucceeded(name, gpu.generation)))
            case e.LeaseResuming(logical_gpu=gpu):
                self._counts["resumed"] += 1
                self._after(self._transfer_ms, partial(self.do, c.ResumeSucceeded(name, gpu.generation)))
            case e.LeaseParking(reason=reason):
                self._counts["parked_ahead" if reason == "ahead" else "parked"] += 1
                self._park(name)
            case e.LeaseDraining():
                self._after(0, partial(self.do, c.DrainSucceeded(name, self._gpu(name).generation)))
            case e.LeasePrepared() | e.LeaseResumed():
                self._after(0, partial(self._start, name))

    def _park(self, name: str) -> None:
        gpu = self._gpu(name)
        used_bytes = len(gpu.device_ids) * GB_PER_GPU * GB
        try:
            self._memory.reserve(name, parkability.host_bytes_needed(used_bytes))
        except HostFault as fault:
            self._counts["refused"] += 1
            self._after(0, partial(self.do, c.ParkFailed(name, gpu.generation, fault.message)))
        else:
            self._after(self._transfer_ms, partial(self.do, c.ParkSucceeded(name, gpu.generation, used_bytes)))

    def _gpu(self, name: str) -> LogicalGPU:
        return parkability.logical_gpu_of(self.pool.state.leases[name])


def replay_counted(sessions: Sequence[Session], gpus: int, gb_per_s: float) -> Served:
    """Return the same for GPUs that are only counted: any that are free serve any notebook."""
    return _Counted(sessions, gpus, transfer_ms(gb_per_s)).run(MONTH_MINUTES * MINUTE_MS)


class _Counted:
    """Requests in order of arrival; the least recently used notebooks are parked as soon as one waits."""

    def __init__(self, sessions: Sequence[Session], gpus: int, transfer_ms_: int) -> None:
        self._sessions, self._free, self._transfer_ms = sessions, gpus, transfer_ms_
        self._being_freed = 0
        self._resting: OrderedDict[int, None] = OrderedDict()
        self._waiting: deque[int] = deque()
        self._cells = [0] * len(sessions)
        self._wanted: dict[int, int] = {}
        self._next = [(one.start_ms, at, "want") for at, one in enumerate(sessions)]
        heapq.heapify(self._next)
        self._delays_ms: list[int] = []
        self._now_ms = 0

    def run(self, until_ms: int) -> Served:
        while self._next and self._next[0][0] <= until_ms:
            self._now_ms, at, what = heapq.heappop(self._next)
            getattr(self, f"_{what}")(at)
            self._serve()
        return Served(self._delays_ms + [until_ms - since_ms for since_ms in self._wanted.values()])

    def _after(self, ms: int, at: int, what: str) -> None:
        heapq.heappush(self._next, (self._now_ms + ms, at, what))

    def _want(self, at: int) -> None:
        self._wanted[at] = self._now_ms
        if at in self._resting:
            del self._resting[at]
            self._start(at)
        else:
            self._waiting.append(at)

    def _start(self, at: int) -> None:
        self._delays_ms.append(self._now_ms - self._wanted.pop(at))
        self._after(self._sessions[at].cells[self._cells[at]].runs_ms, at, "end")

    def _end(self, at: int) -> None:
        cells = self._sessions[at].cells
        gap_ms = cells[self._cells[at]].gap_ms
        self._cells[at] += 1
        if self._cells[at] == len(cells):
            self._free += self._sessions[at].gpus
        else:
            self._resting[at] = None
            self._after(gap_ms, at, "want")

    def _parked(self, at: int) -> None:
        self._free += self._sessions[at].gpus
        self._being_freed -= self._sessions[at].gpus

    def _serve(self) -> None:
        while self._waiting:
            gpus = self._sessions[self._waiting[0]].gpus
            while self._free + self._being_freed < gpus and self._resting:
                parked, _ = self._resting.popitem(last=False)
                self._being_freed += self._sessions[parked].gpus
                self._after(self._transfer_ms, parked, "parked")
            if self._free < gpus:
                return
            at = self._waiting.popleft()
            self._free -= gpus
            self._after(self._transfer_ms if self._cells[at] else 0, at, "start")
