"""The loop: command -> decide -> append -> answer and run effects.

All commands pass one queue. Those that wait together are decided one after the other and share one write to disk;
nobody, caller or reader, learns of an event before it is durable: readers wait while a write is under way, and where
a write fails the state is replayed from what is on disk.

Lives in the event loop's thread. The journal has a thread of its own, and so have the devices (:mod:`.executor`) and
their counters (:mod:`.sampler`), so that neither a slow disk nor a driver that hangs holds up an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

from ...core.decide import decide
from ...core.lease import preparation
from ...core.model import commands as c
from ...core.model import effects as fx
from ...core.model.entities import Health, Holder, Instant, LogicalGPU, State
from ...core.model.events import Event
from ...core.model.lifecycle import LeaseState
from ...core.pool import Pool
from ...core.pool import replay as apply_all
from ...core.scheduling import queue_report
from ...errors import Conflict, FastGPUError, HostFault, InternalError, LimitReached, StoreFault
from ...wire.schemas import StatementView
from ..devices.driver import DeviceProcess, Driver, Sample, SampledLease
from ..devices.health import HealthReport, WatchableDriver
from ..effects import executor
from ..effects.device_access import DeviceAccessController
from ..effects.executor import EffectExecutor
from ..effects.scrubber import KNOWN, DeviceOccupancy, Scrubber
from ..host.clock import Clock
from ..host.lease_groups import NOT_ENFORCED, DeviceAccess, LeaseGroups
from ..host.process import HolderWatcher
from ..http import statements as statement_views
from ..http.views.context import AccessScope, QueuePositions
from ..journal.codec import encode_state
from ..journal.release_log import PreallocatedReleaseLog
from ..journal.store import Entry, Journal
from ..monitors import processes as process_monitor
from ..monitors.health import HealthMonitor
from ..monitors.history import History
from ..monitors.inventory import Inventory, specs_of
from ..monitors.metrics import Metrics
from ..monitors.process_owners import DeviceAssignments, OwnershipResolver, ProcessOwnership, assignments_of
from ..monitors.sampler import Reading, Sampler
from ..supervisor import Supervisor
from . import degraded_mode as degraded
from .calls import Call, Changes, LeaseDeviceTracker, changes_of
from .recovery import VERIFY_FIRST_MAX, replay

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")

#: Commands that may wait; beyond it callers are told to come back.
COMMANDS_MAX = 10_000
#: Commands that share one write.
BATCH_MAX = 256
#: Records between two snapshots.
SNAPSHOT_EVERY = 5000
#: How long an idempotency key is remembered.
REMEMBER_KEYS_MS = 86_400_000
REMEMBER_KEYS_MAX = 100_000
TICK_S = 5.0
#: Ticks between two looks for keys that need not be remembered any more.
FORGET_TICKS = 12
SAMPLE_S = 1.0
#: How often it is looked which devices there are: one may vanish, come, or be divided by somebody else.
LOOK_S = 5.0
#: How often it is looked who has memory on them. The lists are at most three seconds old, so what has no right to it is
#: found within five.
WATCH_S = 1.5
#: How often it is tried whether the journal can be written again.
PROBE_S = 1.0


class Runtime:
    """Runs one pool: its state, its journal, its devices and the processes that hold leases."""

    def __init__(
        self,
        pool: Pool,
        journal: Journal,
        driver: Driver,
        clock: Clock,
        release_log: PreallocatedReleaseLog | None = None,
        *,
        foreign: str = process_monitor.WARN,
        scrub: str = KNOWN,
        scrub_timeout_s: float = 60.0,
        groups: LeaseGroups | None = None,
    ) -> None:
        self._pool = pool
        self._release_log = release_log
        self._journal = journal
        self._driver = driver
        self._clock = clock
        self._keys = journal.answers()
        self._snapshot_seq = journal.replayed_after
        self._ticks = 0
        self._calls: asyncio.Queue[Call] = asyncio.Queue(COMMANDS_MAX)
        #: Held from the first event of a batch until it is durable.
        self._commit_lock = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "journal")
        self.scrubber = Scrubber(
            scrub,
            scrub_timeout_s,
            commands_of=driver.scrub_commands,
            occupancy_of=self._occupancy_of,
            submit=self._report,
            notify_lease=self._notify_lease,
        )
        self._device_access = (
            DeviceAccessController(groups, driver.device_nodes, self._notify_lease) if groups else None
        )
        self._executor = EffectExecutor(
            driver,
            lambda: self._spawn(self.inventory.refresh_responsiveness()),
            scrubber=self.scrubber,
            device_access=self._device_access,
        )
        self._health_monitor: HealthMonitor | None = None
        #: What runs as long as the pool manager does.
        self.supervisor = Supervisor(self._notify_pool, self._on_job_failure)
        self.inventory = Inventory(
            driver,
            self._executor,
            self.supervisor,
            read=self.read,
            say=self.submit,
            report=self._report,
            changed=self._notify_pool,
        )
        self._watcher = HolderWatcher(pool.state.boot_id, self._on_holder_ended)
        self._listeners: list[Callable[[Changes], None]] = []
        self._lease_devices = LeaseDeviceTracker(pool.state)
        self._usage_listeners: list[Callable[[], None]] = []
        self._queue_positions: QueuePositions | None = None  #: of the state as it is, once anybody asked
        #: Who has memory on the devices, rightly or not.
        ownership = OwnershipResolver(pool.state.boot_id)
        self.process_monitor = process_monitor.ProcessMonitor(pool.state.boot_id, ownership, foreign)
        self.process_monitor.own_pids = self.scrubber.pids
        self.metrics = Metrics()
        #: Asked before a request for a lease is decided; raises where a limit is reached.
        self.admit: Callable[[State, c.RequestLease], None] = lambda *_: None
        self._sampler = Sampler(driver, ownership)
        self.usage = Sample()
        self._owned: Mapping[
            str, ProcessOwnership
        ] = {}  #: whose the processes were that were listed with it, by device
        self.history = History()
        #: Since when the devices' counters cannot be read, on the wall clock; ``None`` while they can.
        self.silent_since: int | None = None
        #: A bug, or damage: nothing new is granted until the pool manager is started again.
        self._broken: str | None = None
        #: The journal cannot be written: nothing new is granted until it can.
        self._memory_ahead = False  #: memory may not be what the disk has: the journal must not go on from there
        self._unwritable: str | None = degraded.FULL_AT_START if release_log and release_log.pending_entries else None

    @property
    def fault(self) -> str | None:
        """Why nothing new is granted, or ``None`` while all is well."""
        return self._broken or self._unwritable

    # -- callers ------------------------------------------------------------------------------------------------------

    async def submit(self, command: c.Command, key: str | None = None) -> str | None:
        """Carry out ``command``; returns the id of the lease it was about once that is durable.

        A ``key`` that was answered before gives the same answer and does nothing. Raises what ``decide`` refused
        with, :class:`StoreFault` where the disk failed, :class:`LimitReached` where too many wait.
        """
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        return cast("str | None", await self._queue(Call(command, key, done)))

    async def ask(
        self,
        command: c.Command,
        key: str | None,
        view: Callable[[State, Instant, str], T],
        allowed: Callable[[State], object] | None = None,
    ) -> T:
        """Carry out ``command``, about a lease, as :meth:`submit` does; what ``view`` makes of the durable state then.

        Raises, before anything is decided, what ``allowed`` raises.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return cast(T, await self._queue(Call(command, key, done, allowed, view)))

    async def _queue(self, call: Call) -> Any:
        try:
            self._calls.put_nowait(call)
        except asyncio.QueueFull:
            raise LimitReached("The pool has more to do than it can queue; try again in a few seconds.") from None
        return await call.done

    async def read(self, view: Callable[[State, Instant], T]) -> T:
        """What ``view`` makes of the state, all of which is on disk. ``view`` must not keep or change it."""
        async with self._commit_lock:
            return view(self._pool.state, self.now())

    def queue_positions(self) -> QueuePositions:
        """Place and reason of everybody who waits, in order. Inside ``read`` or a view."""
        if self._queue_positions is None:
            self._queue_positions = {
                lease.id: (place, reason) for lease, place, reason in queue_report.positions(self._pool.state)
            }
        return self._queue_positions

    def follow(self, changed: Callable[[Changes], None], sampled: Callable[[], None]) -> None:
        """Call ``changed`` after each write and ``sampled`` after each sample."""
        self._listeners.append(changed)
        self._usage_listeners.append(sampled)

    async def statements(self, month: str, access: AccessScope, currency: str) -> list[StatementView]:
        """Return the statements of a month within ``access``; one call at a time reads the journal."""
        statement_views.month_of(month)
        async with self._reading:
            return await asyncio.to_thread(
                statement_views.statements, self._journal, month, self.now(), access, currency
            )

    async def restore(self, device_id: str, key: str | None = None) -> None:
        """Put a device back into service that was found ill. Raises :class:`Conflict` where it still is."""
        known = device_id in await self._device_ids()
        try:
            condition = (
                await self._health_monitor.condition_of(device_id)
                if self._health_monitor and known
                else HealthReport(Health.HEALTHY)
            )
        except HostFault as silent:
            raise Conflict(f"{silent} Nothing was changed.") from silent
        if condition.health is not Health.HEALTHY:
            raise Conflict(f"{condition.reason} Nothing was changed; mend it and try again.")
        await self.submit(c.RestoreDevice(device_id), key)

    async def _device_ids(self) -> list[str]:
        return await self.read(lambda state, _: list(state.devices))

    async def _holders_on(self, device_id: str) -> dict[str, Holder]:
        def holders(state: State, _: Instant) -> dict[str, Holder]:
            device = state.devices.get(device_id)
            return {name: state.leases[name].holder for name in device.lease_ids} if device else {}

        return await self.read(holders)

    def now(self) -> Instant:
        """This instant in the pool's time, never before the newest event."""
        ms = self._clock.boot_ms() - self._pool.state.clock_epoch_ms
        return Instant(max(ms, self._pool.state.last.ms), self._clock.wall_ms())

    def environment_of(self, lease_id: str) -> dict[str, str]:
        """What the lease's kernel needs in its environment; empty while it has no logical GPU. Inside ``read``."""
        gpu = self._granted(lease_id)
        return dict(self._driver.env(gpu)) if gpu else {}

    def hidden_environment(self) -> dict[str, str]:
        """Return the variables with which a process sees no device."""
        return dict(self._driver.hidden_env())

    def device_nodes_of(self, lease_id: str) -> list[str]:
        """The device files that the lease's kernel must be able to open; likewise."""
        gpu = self._granted(lease_id)
        return list(self._driver.device_nodes(gpu)) if gpu else []

    def device_access_of(self, lease_id: str) -> DeviceAccess:
        """Whether its kernel can open no other GPU's device files, and what is to be said of that."""
        return self._device_access.access_of(lease_id) if self._device_access else NOT_ENFORCED

    async def wait_for_device_access(self, lease_id: str) -> None:
        """Return once what is to be closed to the lease's kernel is, or after a while."""
        if self._device_access:
            await self._device_access.wait_until_applied(lease_id)

    def _granted(self, lease_id: str) -> LogicalGPU | None:
        lease = self._pool.state.leases[lease_id]
        return lease.logical_gpu if lease.state is LeaseState.ACTIVE else None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve: take up what is still owed for the recovered state."""
        for name, step in (
            ("requests", self._process_batch),
            ("counters", self._sample),
            ("clock", self._tick),
            ("devices", self._refresh_inventory),
            ("processes", self._refresh_processes),
        ):
            self.supervisor.run_forever(name, step)
        if isinstance(self._driver, WatchableDriver):
            self._health_monitor = HealthMonitor(
                self._driver,
                self._executor,
                devices=self._device_ids,
                holders=self._holders_on,
                say=self.submit,
                count=self.metrics.count_fault,
                supervisor=self.supervisor,
            )
            self._health_monitor.start()
        if self._journal.seq > VERIFY_FIRST_MAX:
            self._spawn(self._verify())
        if self._unwritable:
            self._spawn(self._retry_until_writable())
        if self._device_access:
            self._device_access.update(self._pool.state, list(self._pool.state.leases))
            self.supervisor.run_forever("files", self._device_access.apply_pending)
            self.supervisor.run_forever("groups", self._device_access.remove_empty_groups)
        for effect in list(fx.outstanding(self._pool.state)):
            self._run_effect(effect)

    async def _verify(self) -> None:
        """Read a long history once, beside serving; damage stops new grants."""
        try:
            await asyncio.to_thread(self._journal.verify)
        except StoreFault as damage:
            self._degrade(str(damage))

    async def stop(self) -> None:
        """Stop serving; leases live on in the journal and in their kernels."""
        async with self._commit_lock:
            await self.supervisor.stop()
        self._watcher.close()
        if self._health_monitor:
            await self._health_monitor.close()
        if self._journal.seq > self._snapshot_seq and self.fault is None:
            self._snapshot()
        self._writer.shutdown()
        self._executor.close()
        if self._device_access:
            self._device_access.close()
        self._sampler.close()
        self.process_monitor.close()
        self._journal.close()
        if self._release_log:
            self._release_log.close()

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        self.supervisor.run_once(job)

    def _on_job_failure(self, bug: BaseException) -> None:
        self._degrade(f"A part of the pool manager failed ({bug!r}).", bug)

    def _degrade(self, why: str, error: BaseException | None = None) -> None:
        self._broken = f"{why} Running kernels go on and releases are accepted, but nothing new is granted."
        log.error(self._broken, exc_info=error)
        self._notify_pool()

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _process_batch(self) -> None:
        batch = [await self._calls.get()]
        while len(batch) < BATCH_MAX and not self._calls.empty():
            batch.append(self._calls.get_nowait())
        async with self._commit_lock:
            try:
                await (self._commit_releases if self._unwritable or self._memory_ahead else self._commit)(batch)
            except Exception as bug:  # noqa: BLE001 (whatever it is, the loop goes on and says so)
                self._degrade(f"The pool manager met a bug of its own ({bug!r}).", bug)
                try:
                    await self._reload()
                finally:
                    for call in batch:
                        call.refuse(InternalError(self._broken))

    async def _commit(self, batch: list[Call]) -> None:
        decided, after_bug = self._decide_all(batch)
        entries = [entry for _, entry in decided]
        events = [event for entry in entries for event in entry.events]
        if events or any(entry.key for entry in entries):
            began_s = time.perf_counter()
            try:
                await self._write(self._journal.append, entries)
                self.metrics.appends.add(time.perf_counter() - began_s)
                self.metrics.count_events(events)
            except StoreFault as fault:
                self._unwritable = f"{fault} Until then releases are accepted, but nothing new is granted."
                log.error("%s", self._unwritable)  # noqa: TRY400 (what went wrong is said)
                await self._reload()
                self._notify_pool()
                self._spawn(self._retry_until_writable())
                await self._commit_releases([*(call for call, _ in decided), *(after_bug or ())])
                return
        self._queue_positions = None
        if after_bug is not None:
            await self._reload()  # memory may have a part of what the disk will never have
        self._keys.update({entry.key: entry.lease_id for entry in entries if entry.key and entry.lease_id})
        if self._journal.seq - self._snapshot_seq >= SNAPSHOT_EVERY:
            self._snapshot()
        state, at = self._pool.state, self.now()
        for call, entry in decided:
            call.answer(state, at, entry.lease_id)
        for effect in fx.effects(self._pool.state, events):
            self._run_effect(effect)
        self._notify_events(events)
        if after_bug:
            await (self._commit_releases if self._memory_ahead else self._commit)(after_bug)

    def _snapshot(self) -> None:
        """Begin to store the state as it is now: the records up to here need not be replayed again."""
        self._snapshot_seq = self._journal.seq
        # Handed to the writer at once, so that no later record can come before it.
        stored = self._writer.submit(self._journal.snapshot, encode_state(self._pool.state))
        stored.add_done_callback(_warn_without_snapshot)

    def _decide_all(self, batch: list[Call]) -> tuple[list[tuple[Call, Entry]], list[Call] | None]:
        """What is to be written; and after a bug those behind it, to be decided once memory is sound again."""
        decided: list[tuple[Call, Entry]] = []
        fresh: dict[str, str] = {}  # keys that are not on disk yet: the same call may be in this batch once more
        for number, call in enumerate(batch, start=1):
            try:
                entry = self._decide(call, fresh)
            except InternalError as bug:
                call.refuse(bug)
                return decided, batch[number:]
            except FastGPUError as refusal:
                call.refuse(refusal)
            else:
                decided.append((call, entry))
                if entry.key and entry.lease_id:
                    fresh[entry.key] = entry.lease_id
        return decided, None

    def _decide(self, call: Call, fresh: dict[str, str]) -> Entry:
        at = self.now()
        call.require_allowed(self._pool.state)
        lease_id = getattr(call.command, "lease_id", None)
        for answers in (self._keys, fresh):
            if call.key is not None and call.key in answers:
                return Entry(at, [], None, answers[call.key])
        if self.fault is not None and isinstance(call.command, c.RequestLease):
            raise StoreFault(self.fault)
        began_s = time.perf_counter()
        try:
            if isinstance(call.command, c.RequestLease):
                self.admit(self._pool.state, call.command)
            events = self._execute(call.command, at)
            self.metrics.decisions.add(time.perf_counter() - began_s)
        except (AssertionError, KeyError, InternalError) as bug:
            self._degrade(f"The pool manager met a bug of its own ({bug!r}).", bug)
            raise InternalError(self._broken) from bug
        return Entry(at, events, call.key, lease_id)

    def _execute(self, command: c.Command, at: Instant) -> list[Event]:
        if self.fault is None:
            return self._pool.execute(command, at)
        events = decide(self._pool.state, command, at)
        apply_all(self._pool.state, events, at)  # and nobody is served
        return events

    # -- while the journal cannot be written --------------------------------------------------------------------------

    async def _reload(self) -> None:
        """To what is on disk: memory must not be ahead of it, nor behind it."""
        expected = self._journal.seq
        if self._release_log and self._release_log.pending_entries:
            self._memory_ahead = True  # only a start can find out whether the journal has what is owed
        try:
            self._pool = Pool(await self._write(replay, self._journal))
            self._keys = await self._write(self._journal.answers)
        except StoreFault as unreadable:
            self._memory_ahead = True
            self._degrade(str(unreadable))
        else:
            self._queue_positions = None
            if self._device_access:
                self._device_access.update(self._pool.state, list(self._pool.state.leases))
            if self._journal.seq != expected:  # the write that was said to have failed is there
                state = self._pool.state
                ended = (fx.UnwatchHolder(lease.id) for lease in state.leases.values() if lease.ended_at is not None)
                for effect in [*ended, *fx.outstanding(state)]:
                    self._run_effect(effect)

    async def _commit_releases(self, batch: list[Call]) -> None:
        for call in batch:
            at, state = self.now(), self._pool.state
            try:
                call.require_allowed(state)
                if call.key is not None and call.key in self._keys:
                    call.answer(state, at, self._keys[call.key])
                    continue
                note = partial(degraded.release, always=self._memory_ahead)
                entry = await self._write(note, state, call.command, at, self._release_log, self.fault)
            except FastGPUError as refusal:
                call.refuse(refusal)
                continue
            apply_all(state, entry.events, at)
            self._queue_positions = None
            if self._release_log:
                self._release_log.pending_entries.append(entry)
            call.answer(state, at, entry.lease_id)
            for effect in fx.effects(state, entry.events):
                self._run_effect(effect)
            self._notify_events(entry.events)

    async def _retry_until_writable(self) -> None:
        while self._unwritable and not self._memory_ahead:
            await asyncio.sleep(PROBE_S)
            await self.supervisor.attempt("journal", self._retry_once)
        with suppress(FastGPUError):
            await self.inventory.refresh()  # a start without the disk could not note what there is
            await self.submit(c.Tick())  # which serves who waited

    async def _retry_once(self) -> None:
        async with self._commit_lock:
            if not self._memory_ahead:  # a bug may have been met meanwhile
                await self._write_pending()

    async def _write_pending(self) -> None:
        entries = degraded.unwritten_entries(self._pool.state, self._release_log, self.now())
        try:
            await self._write(degraded.catch_up, self._journal, self._release_log, entries)
        except StoreFault:
            return
        self.metrics.count_events(event for entry in entries for event in entry.events)
        self._queue_positions = None
        self._pool = Pool(self._pool.state)  # whose queue did not follow what was applied meanwhile
        self._unwritable = None
        log.warning("The journal can be written again; the pool goes on.")
        self._notify_pool()

    async def _write(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *args)

    def _notify_pool(self) -> None:
        self._notify_all(Changes(frozenset(), frozenset(), pool=True))

    def _notify_lease(self, lease_id: str) -> None:
        self._notify_all(Changes(frozenset({lease_id}), frozenset()))

    # -- who follows --------------------------------------------------------------------------------------------------

    def _notify_events(self, events: list[Event]) -> None:
        if events:
            if self._device_access:
                lease_ids = {getattr(event, "lease_id", None) for event in events} - {None}
                self._device_access.update(self._pool.state, cast("set[str]", lease_ids))
            self._notify_all(self._lease_devices.follow(changes_of(events, self._pool.state), self._pool.state))

    def _notify_all(self, changes: Changes) -> None:
        for listener in self._listeners:
            try:
                listener(changes)
            except Exception as bug:  # noqa: BLE001 (what was decided stands, whoever cannot be told)
                self.supervisor.report_failure("events", bug)

    # -- effects ------------------------------------------------------------------------------------------------------

    def _run_effect(self, effect: fx.Effect) -> None:
        match effect:
            case fx.WatchHolder(lease_id=lease_id, holder=holder):
                self._watcher.watch(lease_id, holder)
            case fx.UnwatchHolder(lease_id=lease_id):
                self._watcher.forget(lease_id)
            case _:
                self._spawn(self._execute_effect(effect))

    def _on_holder_ended(self, lease_id: str, holder: Holder) -> None:
        self._spawn(self._report(c.HolderEnded(lease_id, holder)))

    async def _execute_effect(self, effect: fx.DeviceEffect) -> None:
        done = await self._executor.execute(effect)
        if isinstance(done, c.PrepareFailed):
            await self._undo_preparation(done, effect.logical_gpu)
        await self._report(done)

    async def _undo_preparation(self, failed: c.PrepareFailed, gpu: LogicalGPU) -> None:
        """Unmake what was made of it, see what is in its place, which may be granted anew, and rest a while."""
        pause_s = 0.0
        while lease := await self.read(lambda state, _: preparation.current(state, failed)):
            # While it is being prepared nobody else is where it was to be; once it drains, that unmakes it.
            pause_s = preparation.pause_ms(lease) / 1000
            with suppress(HostFault):
                if gpu.partition is not None:
                    await self._executor.call_driver(self._driver.release, gpu)
                break
            await asyncio.sleep(executor.DRAIN_POLL_S)
        await self.inventory.refresh_once()
        await asyncio.sleep(pause_s)

    async def _report(self, command: c.Command) -> None:
        """Say what an effect came to, again and again while the disk does not take it."""
        while True:
            try:
                await self.submit(command)
                return
            except (StoreFault, LimitReached):
                await asyncio.sleep(SAMPLE_S)

    # -- devices ------------------------------------------------------------------------------------------------------

    async def _refresh_inventory(self) -> None:
        await asyncio.sleep(LOOK_S)
        await self.inventory.refresh_if_responsive()

    async def _refresh_processes(self) -> None:
        await asyncio.sleep(WATCH_S)
        with suppress(HostFault, StoreFault, LimitReached, InternalError):
            await self._watch()

    async def _watch(self) -> None:
        """Compare who has memory on the devices with who may."""
        device_ids = [spec.id for spec in (await self.read(specs_of)).values() if not spec.simulated]
        if not device_ids:
            return

        async def processes(device_id: str) -> Sequence[DeviceProcess]:
            return await self._executor.call_driver(self._driver.processes, device_id)

        now_s = time.monotonic()
        changed = await self.process_monitor.refresh(
            device_ids, self._owned, processes, say=self.submit, read=self.read, now_s=now_s
        )
        if changed:
            self._notify_all(Changes(frozenset(), frozenset(changed)))

    def _occupancy_of(self, device_id: str) -> DeviceOccupancy:
        device = self._pool.state.devices.get(device_id)
        return DeviceOccupancy(
            frozenset(device.lease_ids if device else ()), bool(device and device.scrub_pending is not None)
        )

    # -- time ---------------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        await asyncio.sleep(TICK_S)
        # A bug was said already, and stops grants; time is noted all the same, or a reboot would lose it.
        with suppress(StoreFault, LimitReached, InternalError):
            await self.submit(c.Tick())
            self._ticks += 1
            if self._ticks % FORGET_TICKS:
                return
            before_ms = self.now().ms - REMEMBER_KEYS_MS
            if await self._write(self._journal.forget_answers, before_ms, REMEMBER_KEYS_MAX):
                self._keys = await self._write(self._journal.answers)

    async def _sample(self) -> None:
        self._take(await self._sampler.sample(*await self.read(_subjects)))
        # In the middle of each second, so that each has one reading.
        await asyncio.sleep(SAMPLE_S - (self.now().ms / 1000 + SAMPLE_S / 2) % SAMPLE_S)

    def _take(self, reading: Reading | None) -> None:
        """Nothing is known while the driver does not answer: what it said last is no longer so."""
        at, before, state = self.now(), self.usage, self._pool.state
        self.usage, self._owned = reading or Reading(Sample(), {})
        self.history.add(at.ms, self.usage)
        self.history.keep(state.leases, state.devices)
        silent_s = self._sampler.silent_since_s
        if (silent_s is None) != (self.silent_since is None):
            ago_ms = 0 if silent_s is None else round(1000 * (asyncio.get_running_loop().time() - silent_s))
            self.silent_since = None if silent_s is None else at.wall_ms - ago_ms
            self._notify_pool()
        # Once more after the last lease, so that nobody keeps seeing what it used.
        if self.usage.leases or self.usage != before:
            for listener in self._usage_listeners:
                listener()


def _subjects(state: State, _: Instant) -> tuple[list[SampledLease], DeviceAssignments]:
    """The leases to be sampled, and all whose processes may be on a device."""
    subjects = [
        SampledLease(lease.id, lease.holder.pid, lease.logical_gpu)
        for lease in state.leases.values()
        if lease.state is LeaseState.ACTIVE and lease.logical_gpu is not None
    ]
    return subjects, assignments_of(state)


def _warn_without_snapshot(stored: Future[None]) -> None:
    if error := stored.exception():
        log.warning("No snapshot was stored: %s", error)
