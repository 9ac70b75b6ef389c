"""The leases of queued jobs: requested, followed in the pool's queue, given to a runner, or withdrawn."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ...core.model.lifecycle import OVER, LeaseState
from ...errors import CallerError, FastGPUError, LimitReached, Message, NotFound, ReceivedMessage, VersionMismatch
from ...messages import text_of
from ...text import printable
from ...wire.client import LeaseOptions, PoolClient, new_token
from ..model import JobState
from . import transitions
from .engine import JobEngine
from .pool_link import PoolLink
from .record import JobRecord

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

log = logging.getLogger("fastgpu.jobs")
#: After how many seconds a request is made again that could not be answered, or whose lease was lost.
RETRY_S = 1.0
#: Accepted sizes and options that are remembered; after more of them the pool is asked again.
ACCEPTED_MAX = 1000
#: Characters of a job's name that the pool shows.
NAME_CHARS_MAX = 80
#: What a user, or the time that a request may wait, ends: the job is not requested again.
_EXPIRED, _GIVEN_UP = "end.expired", frozenset({"end.cancelled", "end.released"})


@dataclass(eq=False)
class Hold:
    """A lease that is requested for a job, or that the pool has."""

    token: str
    key: str = field(default_factory=lambda: secrets.token_hex(16))  #: of idempotency: one request is one lease
    lease_id: str | None = None
    state: LeaseState = LeaseState.WAITING
    view: LeaseView | None = None
    withdrawn: bool = False


class Leases:
    """The leases of queued jobs, by job, and which job each lease is for."""

    def __init__(self, engine: JobEngine, connect: Callable[[], PoolClient]) -> None:
        self._engine = engine
        self.pool = PoolLink(self._receive, self._lost, connect)
        self._holds: dict[int, Hold] = {}
        self._in_order = asyncio.Lock()  #: held by the request that the pool is to get next
        self._job_of: dict[str, int] = {}  #: by lease, also of running jobs
        self._held_back: dict[int, float] = {}  #: until when no lease is requested for a job, in seconds of the loop
        self._accepted: set[tuple[Any, ...]] = set()  #: sizes and options that the pool has accepted
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: set[Hold] = set()  #: of requests that are repeated until it is known what became of them
        self.requests_wait = False  #: in the pool's queue, of any user
        #: Those of other users, and of kernels: a worker that ran a queued job next would go before them.
        self.others_wait = False
        #: The last leases that were released here: the queue may show them for a moment yet.
        self._released: deque[str] = deque(maxlen=100)

    # -- what the plan needs -------------------------------------------------------------------------------------------

    def states(self) -> Mapping[int, LeaseState]:
        """Return the state of the lease of each queued job that has one."""
        return {job_id: hold.state for job_id, hold in self._holds.items()}

    def held_back(self) -> set[int]:
        """Return the jobs for which no lease is requested at the moment."""
        now = asyncio.get_running_loop().time()
        self._held_back = {job_id: until for job_id, until in self._held_back.items() if until > now}
        return set(self._held_back)

    def hold_back(self, job_id: int, seconds: float, why: Message | None) -> None:
        """Request no lease for a job for a while."""
        loop = asyncio.get_running_loop()
        self._held_back[job_id] = loop.time() + seconds
        loop.call_later(seconds, self._engine.replan)
        self._show_obstacle(job_id, why)

    def _show_obstacle(self, job_id: int, why: Message | None) -> None:
        live = self._engine.live_of(job_id)
        if live.obstacle != why:
            live.obstacle = why
            self._engine.seen([job_id])

    # -- requests ------------------------------------------------------------------------------------------------------

    def request(self, job: JobRecord) -> None:
        """Request a lease for a job."""
        self._holds[job.id] = hold = Hold(new_token())
        self.pool.follow()
        self._run(self._request(job, hold))

    def withdraw(self, job_id: int) -> None:
        """Give the lease of a job back."""
        hold = self._holds.pop(job_id, None)
        if hold is None:
            return
        hold.withdrawn = True
        if (live := self._engine.live.get(job_id)) is not None:
            live.forget_lease()
            self._engine.seen([job_id])
        if hold.lease_id is not None:
            self.forget(hold.lease_id)
            self.release(hold.lease_id, hold.token)

    def take(self, job_id: int) -> Hold:
        """Return the granted lease of a job that is being started; it is followed on."""
        return self._holds.pop(job_id)

    def release(self, lease_id: str, token: str | None) -> None:
        """Release a lease that no job uses any more; harmless where it has ended."""
        self._released.append(lease_id)
        self._run(self._release(lease_id, token))

    def follow(self, lease_id: str, job_id: int) -> None:
        """Follow the lease of a running job."""
        self._job_of[lease_id] = job_id
        self.pool.follow()

    def forget(self, lease_id: str) -> None:
        """Follow a lease no longer."""
        self._job_of.pop(lease_id, None)
        self._engine.lease_costs.pop(lease_id, None)

    def has_accepted(self, size: str, options: Mapping[str, Any]) -> bool:
        """Return whether the pool has accepted such a request before."""
        return _shape(size, options) in self._accepted

    def _note_accepted(self, size: str, options: Mapping[str, Any]) -> None:
        if len(self._accepted) >= ACCEPTED_MAX:
            self._accepted.clear()
        self._accepted.add(_shape(size, options))

    async def try_first(self, size: str, options: Mapping[str, Any], name: str, notebook: str | None) -> Hold | None:
        """Return a lease for a job that is not accepted yet, None where the pool does not answer now.

        Raises the pool's refusal: only the pool knows what it can serve. While an earlier request is without an answer
        the pool is not asked, so that submissions neither wait for it nor leave more such requests.
        """
        if self._unanswered:
            return None
        hold = Hold(new_token())
        request = _request_of(hold, size, options, name, notebook)
        try:
            view = await self.pool.call(request)
        except CallerError as error:
            if isinstance(error, VersionMismatch):
                return None
            raise
        except FastGPUError as error:
            log.info("Whether %s can be served is not known: %s", size, text_of(error))
            if not isinstance(error, LimitReached):
                self._run(self._give_up(hold, request))
            return None
        hold.lease_id, hold.view, hold.state = view["id"], view, LeaseState(view["state"])
        self._note_accepted(size, options)
        return hold

    def adopt(self, job: JobRecord, hold: Hold) -> None:
        """Take a lease of :meth:`try_first` as that of the job, which was accepted by now."""
        assert hold.view is not None
        self._holds[job.id] = hold
        self._job_of[hold.view["id"]] = job.id
        self.pool.follow()
        self._see(hold.view)
        self._engine.replan()

    async def _request(self, job: JobRecord, hold: Hold) -> None:
        request = _request_of(hold, job.size, job.options, shown_name(job.id, job.name), job.notebook)
        async with self._in_order:
            view = await self._answer(job.id, hold, request)
        if view is None:
            return
        hold.lease_id = view["id"]
        if hold.withdrawn:
            await self._release(view["id"], hold.token)
            return
        self._note_accepted(job.size, job.options)
        self._job_of[view["id"]] = job.id
        self._engine.live_of(job.id).obstacle = None
        self._see(view)

    async def _answer(self, job_id: int, hold: Hold, request: Callable[[PoolClient], LeaseView]) -> LeaseView | None:
        """Return the lease of a request; None where it is refused, or not needed any more.

        Without an answer it is repeated with its key: the lease may have been made all the same. Requests of later jobs
        wait meanwhile, so that the pool gets them in the order of the jobs.
        """
        sent = False
        while not hold.withdrawn:
            sent = True
            try:
                return await self.pool.call(request)
            except (CallerError, LimitReached) as error:
                if not hold.withdrawn:
                    self._holds.pop(job_id, None)
                    self._refused(job_id, error)
                return None
            except FastGPUError as error:
                self._show_obstacle(job_id, error.message)
                await asyncio.sleep(RETRY_S)
        if sent:
            self._run(self._give_up(hold, request))
        return None

    async def _give_up(self, hold: Hold, request: Callable[[PoolClient], LeaseView]) -> None:
        """Release the lease of a request whose answer was lost, if it was made: repeat the request to learn that."""
        self._unanswered.add(hold)
        try:
            while True:
                try:
                    view = await self.pool.call(request)
                    break
                except (CallerError, LimitReached):
                    return
                except FastGPUError:
                    await asyncio.sleep(RETRY_S)
        finally:
            self._unanswered.discard(hold)
        await self._release(view["id"], hold.token)

    def _refused(self, job_id: int, error: FastGPUError) -> None:
        """Let a job fail that the pool can never serve; else try again later, and say why it waits."""
        job = self._engine.table.get(job_id)
        if job is None or job.state is not JobState.QUEUED:
            return
        if isinstance(error, CallerError) and not isinstance(error, VersionMismatch):
            self._engine.try_commit(
                [transitions.refused(job, type(error).__name__, text_of(error), self._engine.now_ms())]
            )
            return
        seconds = float(error.retry_after_s) if isinstance(error, LimitReached) else RETRY_S
        self.hold_back(job_id, seconds, error.message)

    async def _release(self, lease_id: str, token: str | None) -> None:
        for pause_s in (0.5, 2.0, 10.0, 0.0):
            try:
                await self.pool.call(lambda pool: pool.release(lease_id, token))
                return
            except NotFound:
                return
            except FastGPUError as error:
                log.warning("Lease %s is not released yet: %s", lease_id, text_of(error))
                await asyncio.sleep(pause_s)
        # It ends with the dispatcher at the latest, which holds it.

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A call to the pool failed", exc_info=error)

    # -- what the pool says --------------------------------------------------------------------------------------------

    def _receive(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "usage":
            self._see_readings(message["leases"])
        elif kind in ("snapshot", "changed"):
            for view in message["leases"]:
                self._see(view)
            self._see_queue(message["queue"])
            if kind == "snapshot":
                self._clear_obstacles()
                known = {view["id"] for view in message["leases"]}
                for hold in [hold for hold in self._holds.values() if hold.lease_id and hold.lease_id not in known]:
                    self._run(self._look(hold))

    async def _look(self, hold: Hold) -> None:
        """Ask for a lease that a snapshot lacks: it has ended, or was made after the snapshot."""
        lease_id = str(hold.lease_id)
        try:
            self._see(await self.pool.call(lambda pool: pool.lease(lease_id, token=hold.token)))
        except NotFound:
            job_id = self._job_of.get(lease_id)
            self.forget(lease_id)
            if job_id is not None and self._holds.get(job_id) is hold:
                self._lease_is_gone(job_id)
        except FastGPUError as error:
            log.info("Lease %s cannot be looked up: %s", lease_id, text_of(error))

    def _see(self, view: LeaseView) -> None:
        job_id = self._job_of.get(view["id"])
        if job_id is not None:
            self._engine.lease_costs[view["id"]] = view["money"]["cost_micro"]
        job = None if job_id is None else self._engine.table.get(job_id)
        if job is None or job.over:
            return
        if self._engine.live_of(job.id).see_lease(view):
            self._engine.seen([job.id])
        hold = self._holds.get(job.id)
        if hold is None or hold.lease_id != view["id"]:
            return
        before, hold.state, hold.view = hold.state, LeaseState(view["state"]), view
        if hold.state in OVER:
            self.forget(view["id"])
            self._lease_is_over(job, view)
        elif hold.state is not before or hold.state is LeaseState.ACTIVE:
            self._engine.replan()

    def _lease_is_over(self, job: JobRecord, view: LeaseView) -> None:
        """Do what the end of the lease of a queued job means for the job."""
        reason = view["end_reason"]
        code = reason["code"] if reason else ""
        if code == _EXPIRED:
            self._holds.pop(job.id, None)
            text = text_of(CallerError(Message.of("jobs.waited_too_long")))
            self._engine.try_commit([transitions.refused(job, "WaitedTooLong", text, self._engine.now_ms())])
        elif code in _GIVEN_UP:
            self._holds.pop(job.id, None)
            why = Message.of("jobs.request_released")
            self._engine.try_commit([transitions.cancelled(job, self._engine.now_ms(), why)])
        else:
            ended = Message.of("jobs.lease_ended", reason=ReceivedMessage.from_view(reason)) if reason else None
            self._lease_is_gone(job.id, ended)

    def _lease_is_gone(self, job_id: int, why: Message | None = None) -> None:
        """Request another lease for a job soon."""
        self._holds.pop(job_id, None)
        self._engine.live_of(job_id).forget_lease()
        self.hold_back(job_id, RETRY_S, why)

    def _see_queue(self, queue: list[dict[str, Any]]) -> None:
        others = [entry for entry in queue if entry["lease_id"] not in self._released]
        before = self.requests_wait, self.others_wait
        self.requests_wait = bool(others)
        self.others_wait = any(not (entry["mine"] and entry.get("job")) for entry in others)
        if (self.requests_wait, self.others_wait) > before:
            self._engine.replan()
        changed = []
        for entry in queue:
            job_id = self._job_of.get(entry["lease_id"] or "")
            live = None if job_id is None else self._engine.live.get(job_id)
            if live is not None and live.see_position(entry["position"], entry["estimate_ms"], entry["reason"]):
                changed.append(cast(int, job_id))
        self._engine.seen(changed)

    def _see_readings(self, readings: list[Any]) -> None:
        changed = []
        for reading in readings:
            job_id = self._job_of.get(reading["id"])
            if job_id is not None:
                self._engine.lease_costs[reading["id"]] = reading["money"]["cost_micro"]
            live = None if job_id is None else self._engine.live.get(job_id)
            if live is not None and live.see_reading(reading):
                changed.append(cast(int, job_id))
        self._engine.seen(changed)

    def _lost(self, reason: Message) -> None:
        """Show that the pool manager does not answer; leases that wait keep their place there."""
        changed = []
        for job_id in self._holds:
            live = self._engine.live_of(job_id)
            if live.reason is None and live.obstacle is None:
                live.obstacle = reason
                changed.append(job_id)
        self._engine.seen(changed)

    def _clear_obstacles(self) -> None:
        """Show the pool's own reasons again: it answers."""
        for job_id in self._holds:
            self._engine.live_of(job_id).obstacle = None
        self._engine.seen(list(self._holds))

    def close(self) -> None:
        """Stop following; leases that wait end with this process."""
        for task in self._tasks:
            task.cancel()
        self.pool.close()


def _request_of(
    hold: Hold, size: str, options: Mapping[str, Any], name: str, notebook: str | None
) -> Callable[[PoolClient], LeaseView]:
    """Return the call that requests a lease."""
    given = cast(LeaseOptions, dict(options))
    return lambda pool: pool.request(size, notebook=notebook, token=hold.token, key=hold.key, options=given, job=name)


def _shape(size: str, options: Mapping[str, Any]) -> tuple[Any, ...]:
    return (size, *sorted(options.items()))


def shown_name(job_id: int, name: str) -> str:
    """Return the name of a job as the pool shows it: ``job 17 · train``."""
    return f"job {job_id} · {printable(name)[:NAME_CHARS_MAX]}" if name else f"job {job_id}"
