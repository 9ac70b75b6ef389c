"""Measure a pool of an engine over a day: 1,000 nodes with 8 GPUs each, and 20,000 notebooks.

    python tests/benchmarks/cluster_day.py [--nodes N] [--notebooks N] [--hours H] [--seed S] [--json FILE] [--check]

The rules of the pool and the whole service of the engine run in one process on a simulated clock; the engine is the
simulated one, in memory, and agents are calls of the service. Notebooks come as on a working day, most of them in the
morning and after lunch, with 1, 2 or 8 GPUs. Most are released by their users. Some jobs are ended by the engine: by
their time limit, by an administrator, or with their node; agents then say nothing, so that what is measured is the
engine's word alone. For ten minutes at noon the engine does not answer, and no job ends by that.

Measured are calls of the engine a minute (in the busiest minute, and on average), the time from the end of a job to the
end of its lease, the memory that the process grows by, and its processor time. Three sums must be equal to the
microunit: what the pool says of each lease, what the ledger says from the events alone, and what a clock beside the
pool counts for which the lease was active. At the end no job is without a lease and no lease without a job.

Measured on 2 cores that other work used as well (load average 1 to 4; 21 minutes, of which 295 s of processor time for
everything, engine and users included), seed 1: 20,000 leases, at most 4,414 active at a time on all 8,000 GPUs, and
2,840 waiting. Of 51.2 calls of the engine a minute 24.6 ask for all jobs, never within 2 s of the last time, 2.7 for
one job whose lease is granted, 13.9 submit and 9.9 cancel; in the busiest minute, after the silence, there were 437.
5,763 jobs were ended by the engine: noticed after 1.4 s in the median, 13.9 s at p99, 15.9 s at most; those that ended
in the silence after 567 s. The process grew by 50 MB. All bills were equal, no name had two jobs, and no job and no
lease was left.

``--check`` ends with status 1 where a sum differs, a job or lease is left, a second job was submitted for a name, the
engine is called more often than every 2 s for all jobs together, or an end is noticed later than in 16 s while the
engine answers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import itertools
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from fastgpu_jupyter.core.accounting import ledger, meter  # noqa: E402 (the path comes first)
from fastgpu_jupyter.core.lease.invariants import violations  # noqa: E402
from fastgpu_jupyter.core.model import commands as c  # noqa: E402
from fastgpu_jupyter.core.model import effects as fx  # noqa: E402
from fastgpu_jupyter.core.model import events as e  # noqa: E402
from fastgpu_jupyter.core.model.cluster import job_name  # noqa: E402
from fastgpu_jupyter.core.model.entities import ClusterRequest, Holder, Instant, LeaseRequest, State  # noqa: E402
from fastgpu_jupyter.core.model.lifecycle import LeaseState  # noqa: E402
from fastgpu_jupyter.core.pool import Pool, replay  # noqa: E402
from fastgpu_jupyter.errors import EngineUnavailable, Message  # noqa: E402
from fastgpu_jupyter.pool.clusters import service as cluster_service  # noqa: E402
from fastgpu_jupyter.pool.clusters.agent_messages import AgentHello  # noqa: E402
from fastgpu_jupyter.pool.clusters.allocation import Allocations  # noqa: E402
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Queued, Running, Status, Want  # noqa: E402
from fastgpu_jupyter.pool.clusters.fake_cluster import FakeCluster, FakeJob, FakeNode, job_of  # noqa: E402
from fastgpu_jupyter.pool.clusters.options import EngineOptions  # noqa: E402
from fastgpu_jupyter.pool.clusters.service import ClusterBase, ClusterService, Times  # noqa: E402
from fastgpu_jupyter.pool.devices.registry import CATALOG  # noqa: E402
from tests.sim.simulated_loop import SimulatedLoop, SimulatedThread, SimulatedTime  # noqa: E402

T = TypeVar("T")
POOL_ID = "0123456789abcdef"
WALL_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
MODEL = "H100-80GB"
#: The engine notices and an agent connects so long after its job has begun.
HELLO_S = 1.5
#: The engine does not answer from so many seconds on, and for how long.
SILENT_FROM_S, SILENT_S = 12 * 3600.0, 600.0
#: Bounds of ``--check``.
CALL_S_MIN, NOTICED_S_MAX = 1.99, 16.0
_GONE = Ended(Message.of_text("unknown"))
_WAITS = Queued(Message.of_text("Resources"))


class DayEngine:
    """A simulated engine with many jobs: each call costs what changed, not what there is."""

    name = "fake"

    def __init__(
        self,
        nodes: int,
        wall_ms: Callable[[], int],
        on_start: Callable[[FakeJob], None],
        on_call: Callable[[], None],
    ) -> None:
        self.cluster = FakeCluster([FakeNode(f"n{number}", MODEL, [1000] * 8) for number in range(1, nodes + 1)])
        self._wall_ms, self._on_start, self._on_call = wall_ms, on_start, on_call
        self._known: dict[str, Status] = {}
        self._ends: list[tuple[int, str, str]] = []  #: when jobs end, their ids and states
        self.ended_ms: dict[str, int] = {}  #: by name
        self.submitted: Counter[str] = Counter()
        self.calls: list[tuple[int, str]] = []
        self.silent = False
        self._number = 0

    def set_silent(self, silent: int) -> None:
        """Answer no call from now on, or answer again where ``silent`` is 0."""
        self.silent = bool(silent)

    def version(self) -> str | None:
        return None

    def controller(self) -> str | None:
        return "127.0.0.1"

    def kinds(self) -> list[Any]:
        return []

    def check(self, want: Want) -> int | None:
        return None

    def _begin(self, method: str) -> None:
        self.calls.append((self._wall_ms(), method))
        self._on_call()
        if self.silent:
            raise EngineUnavailable(Message.of_text("no answer"))

    def submit(self, want: Want, agent: AgentSpec, name: str) -> str:
        self._begin("submit")
        self._number += 1
        self.submitted[name] += 1
        job = job_of(want, str(self._number), name, self._wall_ms(), HOUR_MS)
        self.cluster.add(job)
        self._known[job.id] = _WAITS
        self.advance()
        return job.id

    def statuses(self, jobs: Sequence[str]) -> dict[str, Status]:
        self._begin("statuses")
        known = self._known
        return {job_id: known.get(job_id, _GONE) for job_id in jobs}

    def running(self, job: str) -> Running | None:
        self._begin("running")
        status = self._known.get(job)
        return status if isinstance(status, Running) else None

    def launcher(self, job: str) -> Sequence[str]:
        raise NotImplementedError(job)  # no program runs beside an agent here

    def cancel(self, job: str) -> None:
        self._begin("cancel")
        found = self.cluster.jobs.get(job)
        if found is not None and found.ended is None:
            self._end(found, self._wall_ms(), "CANCELLED")
            self.advance()

    def list(self, prefix: str) -> dict[str, str]:
        self._begin("list")
        return {name: job_id for name, job_id in self.cluster.ids.items() if name.startswith(prefix)}

    def advance(self) -> None:
        """Do what is due: jobs end, and others start where they were."""
        now_ms = self._wall_ms()
        while self._ends and self._ends[0][0] <= now_ms:
            at_ms, job_id, state = heapq.heappop(self._ends)
            job = self.cluster.jobs.get(job_id)
            if job is not None and job.ended is None:
                self._end(job, at_ms, state)
        for job in self.cluster.start_what_fits(now_ms, now_ms):
            assert job.ends_ms is not None
            assert job.node is not None
            heapq.heappush(self._ends, (job.ends_ms, job.id, "TIMEOUT"))
            self._known[job.id] = Running(job.node, job.ends_ms, MODEL, isolated=True)
            self._on_start(job)

    def fail(self, name: str) -> bool:
        """End a job as by the failure of its node; return whether it ran."""
        job = self.cluster.running.get(self.cluster.ids.get(name, ""))
        if job is not None:
            self._end(job, self._wall_ms(), "NODE_FAIL")
            self.advance()
        return job is not None

    def forget(self, job_id: str) -> None:
        """Know nothing of a job any more."""
        del self._known[job_id]

    def _end(self, job: FakeJob, at_ms: int, state: str) -> None:
        self.cluster.end(job, state, at_ms)
        self._known[job.id] = Ended(Message.of_text(state), at_ms)
        self.ended_ms[job.name] = at_ms
        self.cluster.forget(256)


class Agents:
    """The place of the rendezvous: agents are calls of the listener, and nothing is on a network."""

    def __init__(self, _folder: Path, events: Any, **_: object) -> None:
        self.listener, self.port = events, 1
        self._expected: dict[str, None] = {}

    async def open(self) -> None:
        """Listen to nothing."""

    def steps(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Nothing is to be done."""
        return {}

    def close(self) -> None:
        """Do nothing."""

    def expect(self, name: str) -> bytes:
        self._expected[name] = None
        return b"{}"

    def forget(self, name: str) -> None:
        self._expected.pop(name, None)

    def names(self) -> list[str]:
        return list(self._expected)

    def is_connected(self, name: str, job_id: str | None = None) -> bool:
        """Every agent is heard; none is there to be released, so that the engine must end its job ``job_id``."""
        return job_id is None and name in self._expected


class Day:
    """A pool, its service, an engine and users, on one simulated clock. It is what the service needs of the pool."""

    def __init__(self, nodes: int, notebooks: int, hours: float, seed: int, *, kill_odds: float = 0.0) -> None:
        """``kill_odds``: how probable it is at each call of the engine that the pool manager is killed in it."""
        self.kill_odds, self.kills = kill_odds, 0
        self.history: list[tuple[Instant, list[e.Event]]] = []  #: where the pool manager may be killed
        self.random, self.notebooks, self.hours = random.Random(seed), notebooks, hours
        self.scale = hours / 24  #: a shorter day has shorter notebooks
        self.time = SimulatedTime()
        self.begin_s = self.time.now_s
        self.loop = SimulatedLoop(self.time)
        self.pool = Pool(State())
        self.ledger = ledger.Ledger()
        self.by_ledger: Counter[str] = Counter()  #: cost of each lease, from the events alone
        self.by_clock: Counter[str] = Counter()  #: the same, from a clock beside the pool
        self._active: dict[str, tuple[int, int]] = {}  #: since when leases are active, and their rates
        self._draining: dict[str, tuple[int, int, int]] = {}  #: since when, rate, until when (wall clock)
        self.final: dict[str, int] = {}  #: cost of leases that have ended, as the pool says
        self.noticed_s: list[float] = []
        self.noticed_silent_s: list[float] = []
        self.ends: Counter[str] = Counter()
        self.active_max = self.waiting_max = 0
        self.tasks: list[asyncio.Task[None]] = []
        self._durations_ms: dict[str, int] = {}
        self.engine = DayEngine(nodes, self._wall_ms, self._started, self._called)
        self.events = 0
        self.folder = tempfile.TemporaryDirectory()

    # -- what the service needs of the pool ---------------------------------------------------------------------------

    def now(self) -> Instant:
        ms = round(1000 * self.time.now_s)
        return Instant(ms, WALL_MS + ms)

    def _wall_ms(self) -> int:
        return self.now().wall_ms

    async def read(self, view: Callable[[State, Instant], T]) -> T:
        return view(self.pool.state, self.now())

    async def submit_until_durable(self, command: c.Command) -> None:
        self.do(command)

    async def submit(self, command: c.Command, *_: object) -> None:
        self.do(command)

    def publish_pool(self) -> None:
        """Do nothing: no reader is there."""

    def publish(self, _: object) -> None:
        """Do nothing."""

    def run_forever(self, _: str, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            while True:
                await step()

        self.tasks.append(self.loop.create_task(run()))

    def run_once(self, step: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(step))

    def do(self, command: c.Command) -> None:
        """Decide a command, count beside the pool, and hand over changes and effects."""
        at = self.now()
        events = self.pool.execute(command, at)
        self.events += len(events)
        if self.kill_odds:
            self.history.append((at, events))
        state = self.pool.state
        for segment in self.ledger.take(at, events):
            self.by_ledger[segment.lease_id] += segment.numerator
        for event in events:
            self._count(event, at, state)
        lease_ids = dict.fromkeys(filter(None, (getattr(event, "lease_id", None) for event in events)))
        self.service.update(state, lease_ids)
        for effect in fx.effects(state, events):
            if isinstance(effect, fx.SubmitJob | fx.CancelJob):
                self.service.run(effect)

    def _count(self, event: e.Event, at: Instant, state: State) -> None:
        match event:
            case e.LeaseGranted(lease_id=lease_id, logical_gpu=gpu):
                self._active[lease_id] = at.ms, gpu.rate_micro_per_hour
                self.active_max = max(self.active_max, len(self._active))
            case e.LeaseRequested():
                self.waiting_max = max(self.waiting_max, len(state.cluster_waiting))
            case e.LeaseDraining(lease_id=lease_id):
                self._draining[lease_id] = *self._active.pop(lease_id), at.wall_ms
            case e.LeaseEnded(lease_id=lease_id):
                lease = state.leases[lease_id]
                if lease_id in self._draining:  # billed until its job ended, whenever that was noticed
                    since_ms, rate, until_ms = self._draining.pop(lease_id)
                    until_ms = min(until_ms, self.engine.ended_ms[job_name(POOL_ID, lease_id)])
                    self.by_clock[lease_id] += rate * max(0, until_ms - WALL_MS - since_ms)
                self.final[lease_id] = meter.cost_numerator(lease, at.ms)
                assert lease.end_reason is not None
                self.ends[lease.end_reason.value] += 1
                if lease.end_reason.value == "allocation_lost":
                    self._note_delay(job_name(POOL_ID, lease_id), at)

    def _note_delay(self, name: str, at: Instant) -> None:
        ended_ms = self.engine.ended_ms[name]
        from_s = self.begin_s + SILENT_FROM_S * self.scale
        silent_ms = [WALL_MS + round(1000 * at_s) for at_s in (from_s, from_s + SILENT_S * self.scale)]
        # After its silence the engine is asked again within the longest pause.
        silent = silent_ms[0] - 20_000 <= ended_ms <= silent_ms[1] + 60_000
        (self.noticed_silent_s if silent else self.noticed_s).append((at.wall_ms - ended_ms) / 1000)

    # -- users, agents and time ----------------------------------------------------------------------------------------

    def _started(self, job: FakeJob) -> None:
        self.loop.call_later(HELLO_S, self._say_hello, job)

    def _say_hello(self, job: FakeJob) -> None:
        if job.ended is None and job.node is not None:
            indices = ",".join(map(str, job.indices))
            hello = AgentHello(1, job.id, job.node, "", 1, job.id, {"SLURM_JOB_GPUS": indices}, "", None, None)
            self.service.listener.on_hello(job.name, hello)
            if (duration_ms := self._durations_ms.pop(job.name, None)) is not None:  # its first
                self.loop.call_later(duration_ms / 1000, self._finish, job.name)

    def _finish(self, name: str) -> None:
        """Let a user release, or the engine end a job; a part of the notebooks runs into its time limit instead."""
        lease = self.pool.state.leases.get(name.split("-")[2])
        if lease is None or lease.state is not LeaseState.ACTIVE:
            return
        if self.random.random() < 0.1:
            self.engine.fail(name)
        else:
            self.do(c.ReleaseLease(lease.id))

    def _called(self) -> None:
        """Kill the pool manager in this call of the engine, or while one is on its way, sometimes."""
        if self.random.random() < self.kill_odds:
            self.loop.call_soon(self.kill)  # before the answer arrives
        if self.random.random() < self.kill_odds:
            self.loop.call_later(self.random.uniform(0, 4), self.kill)

    def kill(self) -> None:
        """Lose all that the pool manager had in memory, and start one that recovers from the journal alone."""
        self.kills += 1
        for task in self.tasks:
            task.cancel()
        if self.random.random() < 0.5:
            self.service.close()  # else a call that was begun still reaches the engine
        state = State()
        for at, events in self.history:
            replay(state, events, at)
        assert state == self.pool.state
        self.pool = Pool(state)
        self._set_up()
        for job in self.engine.cluster.running.values():  # agents reconnect
            self.loop.call_later(self.random.uniform(0, 30), self._say_hello, job)

    def ask(self, number: int) -> None:
        """Let a notebook request GPUs."""
        lease_id = f"{number:016x}"
        name = job_name(POOL_ID, lease_id)
        gpus = self.random.choices([1, 2, 8], [70, 20, 10])[0]
        # Where the pool manager is killed, no time limit ends what it has left in the engine.
        limit_ms = round(HOUR_MS * (48 if self.kill_odds else self.random.choice([4, 8, 12]) * self.scale))
        hours = self.scale * self.random.lognormvariate(math.log(3.5), 0.8)
        self._durations_ms[name] = min(2 * limit_ms, round(hours * HOUR_MS))
        size = f"{gpus}xh100" if gpus > 1 else "h100"
        request = LeaseRequest(
            size, None, None, f"{number % 5000}.ipynb", cluster=ClusterRequest(time_limit_ms=limit_ms), keep_ms=60_000
        )
        holder = Holder("boot", 1 + number % 30_000, number, number, 1000)
        self.do(c.RequestLease(lease_id, "uid:1000", request, holder, "0" * 64, job_name=name))
        if self.random.random() < (0.3 if self.kill_odds else 0.03):  # it changes its mind
            self.loop.call_later(self.random.uniform(0, 20), self.do, c.ReleaseLease(lease_id))

    def arrivals_s(self) -> list[float]:
        """Return when notebooks come, in seconds of the day: few at night, most in the morning and after lunch."""
        weights = [
            0.15 + math.exp(-(((hour - 9.5) / 2.0) ** 2)) + 0.9 * math.exp(-(((hour - 14.5) / 2.5) ** 2))
            for hour in range(24)
        ]
        hours = self.random.choices(range(24), weights, k=self.notebooks)
        return sorted((hour + self.random.random()) * self.scale * 3600 for hour in hours)

    def live(self, report: Callable[[str], None]) -> None:
        """Let the day pass, and then all that is left come to its end."""
        asyncio._set_running_loop(self.loop)
        try:
            self._set_up()
            self._tick()
        finally:
            asyncio._set_running_loop(None)
        for number, at_s in enumerate(self.arrivals_s()):
            self.loop.call_later(at_s, self.ask, number)
        silent_from_s = SILENT_FROM_S * self.scale
        self.loop.call_later(silent_from_s, self.engine.set_silent, 1)
        self.loop.call_later(silent_from_s + SILENT_S * self.scale, self.engine.set_silent, 0)
        for hour in range(math.ceil(self.hours)):
            self._run(3600.0)
            broken = list(violations(self.pool.state))
            assert not broken, broken
            report(
                f"hour {hour + 1}: {len(self._active)} active, {len(self.pool.state.cluster_waiting)} wait, "
                f"{len(self.engine.calls)} calls so far"
            )
        for _ in range(2 * math.ceil(self.hours)):
            if not self._active and not self.pool.state.cluster_waiting:
                break
            self._run(3600.0)
        self._run(700.0)  # the last jobs are ended, and jobs and leases compared
        asyncio._set_running_loop(self.loop)
        try:
            for task in self.tasks:
                task.cancel()
            self.service.close()
        finally:
            asyncio._set_running_loop(None)
        self.loop.run(1.0, 10**6)
        self.loop.close()
        self.folder.cleanup()

    def _set_up(self) -> None:
        """Start the service for the state that there is."""
        own: Any = self  # it has of each service what an engine's needs
        base = ClusterBase(POOL_ID, own, own, own, own, notify_lease=lambda _: None, new_thread=SimulatedThread)
        options = EngineOptions("fake", address="127.0.0.1")
        allocations = Allocations(CATALOG, {"h100": 4.0}, {})
        with mock.patch.object(cluster_service, "Rendezvous", Agents):
            self.service = ClusterService(
                self.engine, options, Path(self.folder.name), base, allocations=allocations, times=Times()
            )
        self.do(c.StartPool("boot", self.now().ms))
        self.service.update(self.pool.state, self.pool.state.leases)
        for effect in fx.outstanding(self.pool.state):
            if isinstance(effect, fx.SubmitJob | fx.CancelJob):
                self.service.run(effect)
        self.service.start()

    def _tick(self) -> None:
        self.engine.advance()
        self.do(c.Tick())
        self.loop.call_later(1.0, self._tick)

    def _run(self, for_s: float) -> None:
        assert self.loop.run(for_s, 10**9) > 0
        failed = [task for task in self.tasks if task.done() and not task.cancelled() and task.exception()]
        assert not failed, failed[0].exception()
        assert not self.loop.complaints, self.loop.complaints[:3]
        self.tasks = [task for task in self.tasks if not task.done()]

    # -- figures -------------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        calls = self.engine.calls
        minutes = Counter(at_ms // 60_000 for at_ms, _ in calls)
        asked = [at_ms for at_ms, method in calls if method == "statuses"]
        gaps_s = [(later - earlier) / 1000 for earlier, later in itertools.pairwise(asked)]
        methods = Counter(method for _, method in calls)
        day_minutes = self.hours * 60
        differing = [
            lease_id
            for lease_id, numerator in self.final.items()
            if not numerator == self.by_ledger[lease_id] == self.by_clock[lease_id]
        ]
        live = [lease.id for lease in self.pool.state.leases.values() if lease.ended_at is None]
        return {
            "leases": len(self.final),
            "active_max": self.active_max,
            "waiting_max": self.waiting_max,
            "ends": dict(self.ends),
            "calls": dict(methods),
            "calls_per_minute": round(len(calls) / day_minutes, 1),
            "status_calls_per_minute": round(methods["statuses"] / day_minutes, 1),
            "calls_per_minute_max": max(minutes.values()),
            "calls_per_minute_p99": _p99(list(minutes.values())),
            "status_gap_s_min": min(gaps_s),
            "noticed_s_median": statistics.median(self.noticed_s) if self.noticed_s else None,
            "noticed_s_p99": _p99(self.noticed_s),
            "noticed_s_max": max(self.noticed_s, default=None),
            "noticed_s_max_after_silence": max(self.noticed_silent_s, default=None),
            "names_with_two_jobs": sum(count > 1 for count in self.submitted_twice()),
            "bills_differing": len(differing),
            "billed": round(sum(self.final.values()) / HOUR_MS / 1_000_000, 2),
            "left_leases": len(live),
            "left_jobs": len(self.engine.cluster.ids),
            "events": self.events,
        }

    def submitted_twice(self) -> Iterable[int]:
        """Return how many jobs each name had."""
        return self.engine.submitted.values()


def _p99(values: Sequence[float]) -> float | None:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else None


def missed(figures: dict[str, Any]) -> list[str]:
    """Return the targets that are missed."""
    wrong = [
        name for name in ("names_with_two_jobs", "bills_differing", "left_leases", "left_jobs") if figures[name] != 0
    ]
    if figures["status_gap_s_min"] < CALL_S_MIN:
        wrong.append("status_gap_s_min")
    if (figures["noticed_s_max"] or 0.0) > NOTICED_S_MAX:
        wrong.append("noticed_s_max")
    return wrong


def main() -> int:
    """Run the day, print the figures, and return 1 where ``--check`` misses a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--notebooks", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    process = psutil.Process()
    gc.collect()
    gc.freeze()
    day = Day(options.nodes, options.notebooks, options.hours, options.seed)
    before_bytes, began_s = process.memory_info().rss, time.process_time()
    largest = 0

    def report(line: str) -> None:
        nonlocal largest
        largest = max(largest, process.memory_info().rss)
        print(line, flush=True)  # noqa: T201

    day.live(report)
    figures = day.figures()
    figures["grown_mb"] = round((largest - before_bytes) / 2**20, 1)
    figures["processor_s"] = round(time.process_time() - began_s, 1)
    for name, value in figures.items():
        print(f"{name:32} {value}")  # noqa: T201
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    wrong = missed(figures)
    if wrong:
        print("missed: " + ", ".join(wrong))  # noqa: T201
    return 1 if options.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
