"""The service of a pool whose leases an engine grants: it submits jobs, observes them, and ends them.

One task makes all this, step by step, so that no two calls of the engine are ever made at once. All jobs are asked
about in one call, at most every :data:`URGENT_S`. While the engine does not answer, nothing changes but the time since
which it does not, and it is asked more and more seldom.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from ...core.model import effects as fx
from ...core.model.cluster import job_prefix
from ...core.model.entities import ClusterRequest, Lease, LeaseRequest, State
from ...core.model.lifecycle import LeaseState
from ...core.model.size import Size
from ...core.sizing.options import SizeChoice, SizeChoices
from ...errors import EngineUnavailable, HostFault, Message
from ..devices.driver import DeviceUsage
from ..protocols import ChangePublisher, CommandSink, StateReader, TaskSupervisor
from ..supervisor import wait_for_event
from .addresses import own_addresses
from .agents import AgentListener, AgentRequests
from .allocation import Allocations, want_of
from .board import Board, BoardEntry, Watched
from .cancellations import Cancellations
from .engine import Ended, Engine, Running, Status
from .engine_thread import EngineThread
from .kernels import KernelOperations
from .offers import Offers
from .options import EngineOptions
from .reconcile import command_of, is_requeued, without_lease
from .rendezvous import Rendezvous
from .sizes import choices_of_kind, size_choices
from .submissions import SETTLE_S, Submissions

log = logging.getLogger("fastgpu.pool")
#: The pause between two questions about all jobs: while a lease has just been requested or is about to start or to end,
#: while others wait, and else.
URGENT_S, WAITING_S, CALM_S = 2.0, 5.0, 15.0
#: For how long after its submission a job may start at any moment.
YOUNG_MS = 30_000
#: How long before the engine ends a lease its user is warned.
WARN_MS = 300_000
#: The pause between two comparisons of all jobs of this pool with its leases.
RECONCILE_S = 600.0
#: The pause before listening for agents is tried again.
OPEN_RETRY_S = 5.0
#: How long a request waits for the engine's opinion about it; without one it is submitted all the same.
CHECK_S = 3.0


class Times(NamedTuple):
    """The times of a service that tests make shorter, in seconds."""

    settle_s: float = SETTLE_S
    late_s: float = 60.0  #: after which a user sees why the agent of a job that runs may not have reported
    never_s: float = 300.0  #: after which such a job is ended


class ClusterBase(NamedTuple):
    """The services of the pool manager that this one needs."""

    pool_id: str
    supervisor: TaskSupervisor
    commands: CommandSink
    state: StateReader
    changes: ChangePublisher
    notify_lease: Callable[[str], None]
    new_thread: Callable[[int, str], Executor]


class ClusterService:
    """The link between the leases of a pool and one engine; ``folder`` is for the keys of the agents."""

    def __init__(
        self,
        engine: Engine,
        options: EngineOptions,
        folder: Path,
        base: ClusterBase,
        *,
        allocations: Allocations,
        times: Times,
    ) -> None:
        self.engine, self.options, self._base, self._times = engine, options, base, times
        self._prefix = job_prefix(base.pool_id)
        self._allocations = allocations
        #: The leases that are not over, by the names of their jobs, and the names by lease.
        self._leases: dict[str, Watched] = {}
        self._names: dict[str, str] = {}
        self.board = Board(base.notify_lease)
        self.thread = EngineThread(base.new_thread, self._wall_ms, self._announce)
        self.listener = AgentListener(
            engine,
            self.thread,
            self.board,
            base.commands,
            leases=self._leases,
            allocations=allocations,
            wall_ms=self._wall_ms,
            requests=AgentRequests(self._look, self._cancel),
        )
        self._addresses: list[str] = []
        self.rendezvous = Rendezvous(
            folder,
            self.listener,
            addresses=self._addresses,
            port=options.port,
            orphan_after_s=options.orphan_after_s,
        )
        self.submissions = Submissions(
            engine,
            self.thread,
            self.rendezvous,
            base.commands,
            leases=self._leases,
            list_jobs=self._list_jobs,
            abandon=self._cancel,
            settle_s=times.settle_s,
        )
        self.cancellations = Cancellations(
            engine,
            self.thread,
            self.rendezvous,
            base.supervisor,
            list_jobs=self._list_jobs,
            may_exist=self.submissions.may_exist,
            settle_s=times.settle_s,
        )
        self.offers = Offers(engine, self.thread, allocations, base.changes.publish_pool, self._wake_up)
        self.kernels = KernelOperations(self.rendezvous, self.listener, self._leases, self._names)
        self._wake = asyncio.Event()
        self._is_open = False
        self._open_fault: Message | None = None
        self._before_start_ms = 0  #: when the pool manager before this one recorded something last, on the wall clock
        self._recovered = False  #: whether effects are of this process from now on
        self._observed_s = self._observe_at_s = self._reconcile_at_s = 0.0

    # -- what the pool tells the service -------------------------------------------------------------------------------

    def run(self, effect: fx.ClusterEffect) -> None:
        """Begin to carry out an effect; returns at once."""
        match effect:
            case fx.SubmitJob(lease_id, name):
                self.submissions.add(lease_id, name, certain=self._recovered)
                self._look()
            case fx.CancelJob(_, name, job_id):
                self._cancel(name, job_id)

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Take over the leases ``lease_ids`` of ``state``, which changed."""
        self._before_start_ms = state.before_start.wall_ms
        for lease_id in lease_ids:
            name, watched = self._names.get(lease_id), Watched.of(state.leases.get(lease_id))
            if watched is None:
                if name is not None:
                    self._forget(lease_id, name)
                continue
            self._names[lease_id] = watched.job.name
            self._leases[watched.job.name] = watched

    def has_jobs_to_end(self) -> bool:
        """Return whether jobs of leases that are over may still be in the engine."""
        return self.cancellations.due_in_s() is not None

    def relay_to(self, connect: Callable[[str], socket.socket]) -> None:
        """Let kernels talk to the pool manager: ``connect`` returns a connection that is limited to a lease."""

        def connect_job(name: str) -> socket.socket | None:
            lease = self._leases.get(name)
            return None if lease is None else connect(lease.lease_id)

        self.rendezvous.connect_relayed = connect_job

    def start(self) -> None:
        """Begin to serve; the effects of the recovered state were begun before."""
        self._recovered = True
        supervisor = self._base.supervisor
        supervisor.run_forever("cluster", self.step)
        supervisor.run_forever("grants", self.listener.step)

    def close(self) -> None:
        """Stop; jobs, agents and kernels go on, and report to the next pool manager."""
        self.rendezvous.close()
        self.thread.close()

    # -- what the interface asks ---------------------------------------------------------------------------------------

    def request_of(self, given: ClusterRequest) -> ClusterRequest:
        """Return what is asked of the engine, with the defaults of the pool."""
        return self.options.with_defaults(given)

    async def check(self, request: LeaseRequest) -> None:
        """Raise :class:`InvalidRequest` for what the engine could never grant, where it says so in time."""
        if self.thread.unanswered_since is not None:
            return
        check = asyncio.ensure_future(self.thread.call(self.engine.check, want_of(request)))
        done, _ = await asyncio.wait({check}, timeout=CHECK_S)
        if not done:
            check.cancel()  # it must not take the turn of other calls
        elif not isinstance(check.exception(), HostFault):
            check.result()

    def sizes(self, model: Size, closed: Message | None, reason: Message) -> SizeChoices:
        """Return the sizes that a request can have; none before the engine has said what it offers."""
        return size_choices(self.offers.kinds() or (), self._allocations, model, closed, reason)

    def sizes_like(self, lease: Lease) -> list[SizeChoice] | None:
        """Return the sizes that a new request can have on the kind of GPU of a lease; ``None`` where unknown."""
        return choices_of_kind(self.offers.kinds() or (), self._allocations, lease)

    def usage(self) -> Mapping[str, DeviceUsage]:
        """Return what leases use, as their agents measured last."""
        return {lease_id: DeviceUsage(*used) for lease_id, used in self.board.usage().items()}

    def known_of(self, lease_id: str) -> BoardEntry:
        """Return what is known of the job and the kernel of a lease at present."""
        return self.board.of(lease_id)

    def launcher_of(self, lease_id: str) -> list[str] | None:
        """Return the beginning of a command that runs on the GPU of a lease; ``None`` without a job."""
        job_id = self._leases[name].job.job_id if (name := self._names.get(lease_id)) else None
        return None if job_id is None else list(self.engine.launcher(job_id))

    @property
    def is_simulated(self) -> bool:
        """Return whether there are no real hosts and GPUs behind the engine."""
        return self.engine.name == "fake"

    @property
    def message(self) -> Message | None:
        """Why nothing is submitted or known at present, beside the silence of the engine."""
        return self._open_fault or self.thread.reason

    def address(self) -> str:
        """Return where agents must reach this pool manager, for messages."""
        port = getattr(self.rendezvous, "port", self.options.port)
        return ", ".join(f"{host}:{port}" for host in self._addresses)

    # -- the one task --------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Wait until something is due, and do all that is."""
        await wait_for_event(self._wake, self._pause_s())
        self._wake.clear()
        if self.thread.pause_s() > 0:
            return
        try:
            if not self._is_open and not await self._open():
                return
            await self.cancellations.step()
            await self.submissions.step()
            await self._observe()
            await self._reconcile()
            await self.offers.refresh_if_asked()
        except EngineUnavailable:
            return  # noted; it is asked again after a pause

    def _pause_s(self) -> float:
        """Return the time until something is due."""
        if (silent_s := self.thread.pause_s()) > 0:
            return silent_s
        if not self._is_open:
            return OPEN_RETRY_S if self._open_fault else 0.0
        now_s = asyncio.get_running_loop().time()
        due = [self.submissions.due_in_s(), self.cancellations.due_in_s(), self.offers.due_in_s()]
        if self._leases or self.cancellations.jobs():
            due += [self._observe_at_s - now_s]
        return max(0.0, min(one for one in (*due, self._reconcile_at_s - now_s) if one is not None))

    async def _open(self) -> bool:
        """Begin to listen for agents, without which nothing is submitted; return whether that succeeded."""
        try:
            self._addresses[:] = await own_addresses(self.options.address, self.thread, self.engine)
            await self.rendezvous.open()
        except EngineUnavailable:
            raise
        except HostFault as fault:
            if self._open_fault != fault.message:
                log.error("The pool manager cannot listen for agents: %s", fault)  # noqa: TRY400 (the sentence says it)
                self._open_fault = fault.message
                self._announce()
            return False
        for name, step in self.rendezvous.steps().items():
            self._base.supervisor.run_forever(name, step)
        self._is_open = True
        if self._open_fault is not None:
            self._open_fault = None
            self._announce()
        return True

    async def _observe(self) -> None:
        """Ask about all jobs, if that is due, and report what changed."""
        now_s = asyncio.get_running_loop().time()
        ending = self.cancellations.jobs()
        jobs = {lease.job.job_id: name for name, lease in self._leases.items() if lease.job.job_id is not None}
        jobs |= ending
        if now_s < self._observe_at_s:
            return
        if not jobs:  # the ids of all are still to be found
            self._observe_at_s = now_s + URGENT_S
            return
        found = await self.thread.call(self.engine.statuses, list(jobs))
        now_ms = self._wall_ms()
        for job_id, name in jobs.items():
            if job_id in found and not self._is_known(name, job_id, found[job_id], now_ms):
                await self._take(name, job_id, found[job_id])
        self._observed_s = asyncio.get_running_loop().time()
        self._observe_at_s = self._observed_s + self._interval_s()

    def _is_known(self, name: str, job_id: str, status: Status, now_ms: int) -> bool:
        """Return whether nothing follows from a status: of many jobs, most are as they were when asked last."""
        lease = self._leases.get(name)
        if lease is None or lease.job.job_id != job_id or is_requeued(lease, status):
            return False
        known = self.board.of(lease.lease_id)
        if status != known.status or command_of(lease, status) is not None:
            return False
        if not isinstance(status, Running):
            return True
        if lease.state is LeaseState.WAITING:
            return False  # its agent may be late
        ends_at_ms = status.ends_at_ms
        return ends_at_ms is None or known.ends_soon or ends_at_ms - now_ms > WARN_MS

    async def _take(self, name: str, job_id: str, status: Status) -> None:
        """Take over the status of a job."""
        lease = self._leases.get(name)
        if lease is not None and lease.job.job_id not in (None, job_id):  # a second job with the name of the lease's
            if isinstance(status, Ended):
                self.cancellations.done(name, job_id)
            return
        if lease is not None:
            self._note(lease, status)
            if (command := command_of(lease, self._dated(lease, status))) is not None:
                await self._base.commands.submit_until_durable(command)
            if (loss := self._loss_of(lease, status)) is not None:
                await self._end(lease, loss)
        if isinstance(status, Ended):
            self.cancellations.done(name, job_id)
            self.rendezvous.forget(name)
            self.submissions.forget(name)

    def _note(self, lease: Watched, status: Status) -> None:
        known, now_s = self.board.of(lease.lease_id), asyncio.get_running_loop().time()
        running_since_s = (known.running_since_s or now_s) if isinstance(status, Running) else None
        waits_s = now_s - running_since_s if running_since_s and known.agent_host is None else 0.0
        ends_at_ms = status.ends_at_ms if isinstance(status, Running) else None
        if isinstance(status, Running) and known.heard_ms is None:
            self.board.set(lease.lease_id, heard_ms=self._wall_ms())
        self.board.set(
            lease.lease_id,
            status=status,
            running_since_s=running_since_s,
            late=lease.state is LeaseState.WAITING and waits_s >= self._times.late_s,
            ends_soon=ends_at_ms is not None and ends_at_ms - self._wall_ms() <= WARN_MS,
        )

    def _dated(self, lease: Watched, status: Status) -> Status:
        """Return the end of a job with the last time at which it was known to live, where the engine does not say it.

        Nothing is billed after that. A job of which nothing was heard since this pool manager was started lived when
        the one before recorded something last.
        """
        if not isinstance(status, Ended) or status.at_ms is not None:
            return status
        heard_ms = self.board.of(lease.lease_id).heard_ms
        return status._replace(at_ms=self._before_start_ms if heard_ms is None else heard_ms)

    def _loss_of(self, lease: Watched, status: Status) -> Message | None:
        """Return why a lease must end although its job is not over, ``None`` where it need not."""
        if is_requeued(lease, status) and not self.rendezvous.is_connected(lease.job.name):
            return Message.of("cluster.requeued")
        known = self.board.of(lease.lease_id)
        since_s, now_s = known.running_since_s, asyncio.get_running_loop().time()
        if lease.state is not LeaseState.WAITING or known.agent_host is not None or since_s is None:
            return None
        if not isinstance(status, Running) or now_s - since_s < self._times.never_s:
            return None
        return Message.of("cluster.never_reached", host=status.host, address=self.address())

    async def _end(self, lease: Watched, reason: Message) -> None:
        """End a lease, and its job."""
        ended = command_of(lease, self._dated(lease, Ended(reason)))
        assert ended is not None
        await self._base.commands.submit_until_durable(ended)
        self._cancel(lease.job.name, lease.job.job_id)

    def _interval_s(self) -> float:
        """Return the pause until the engine is asked about all jobs again."""
        now_ms = self._wall_ms()
        if self.cancellations.jobs():
            return URGENT_S
        waiting = False
        for lease in reversed(self._leases.values()):  # the newest one is young, if any is
            known = self.board.of(lease.lease_id)
            submitted_ms = lease.job.submitted_at_ms
            young = submitted_ms is None or now_ms - submitted_ms < YOUNG_MS
            if lease.state is LeaseState.WAITING and (young or isinstance(known.status, Running)):
                return URGENT_S
            if lease.state is LeaseState.DRAINING or known.agent_silent:
                return URGENT_S
            waiting = waiting or lease.state is LeaseState.WAITING
        return WAITING_S if waiting else CALM_S

    async def _reconcile(self) -> None:
        """End the jobs of this pool that serve no lease, if that is due: none is left in the engine."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._reconcile_at_s and not self.listener.unknown:
            return
        listed = await self._list_jobs()
        for name, job_id in without_lease(listed, self._leases.values()).items():
            log.warning("Job %s (%s) serves no lease, and is ended.", job_id, name)
            self._cancel(name, job_id)
        for name in self.rendezvous.names():
            if name not in self._leases and name not in listed and not self.submissions.may_exist(name):
                self.rendezvous.forget(name)
        self.listener.unknown.clear()
        self._reconcile_at_s = asyncio.get_running_loop().time() + RECONCILE_S

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _cancel(self, name: str, job_id: str | None) -> None:
        self.cancellations.add(name, job_id)
        self._look()

    def _look(self) -> None:
        """Ask the engine about all jobs as soon as it may be asked again."""
        self._observe_at_s = min(self._observe_at_s, self._observed_s + URGENT_S)
        self._wake_up()

    def _announce(self) -> None:
        """Announce why nothing is submitted, or that it is again: to the pool, and to the leases that wait for it."""
        self._base.changes.publish_pool()
        for lease in self._leases.values():
            if lease.job.job_id is None:
                self._base.notify_lease(lease.lease_id)

    def _wake_up(self) -> None:
        self._wake.set()

    async def _list_jobs(self) -> dict[str, str]:
        return await self.thread.call(self.engine.list, self._prefix)

    def _forget(self, lease_id: str, name: str) -> None:
        """Forget a lease that is over; its job may still have to be ended."""
        self._names.pop(lease_id, None)
        self._leases.pop(name, None)
        self.board.forget(lease_id)
        self.listener.connections.pop(lease_id, None)
        if name not in self.cancellations.jobs().values() and not self.submissions.may_exist(name):
            self.rendezvous.forget(name)

    def _wall_ms(self) -> int:
        return self._base.state.now().wall_ms
