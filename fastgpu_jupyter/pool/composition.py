"""The composition root: builds every service of a pool manager and passes each what it needs.

All dependencies are passed to constructors, and nothing is replaced later. Services that must report to one another
meet at the command queue and the notifier, which depend on nothing and are built first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..core.lease import unaccounted_memory
from ..core.pool import Pool
from ..errors import Message
from .devices.driver import Driver
from .devices.driver_thread import DriverThread
from .devices.health import WatchableDriver
from .effects.device_access import DeviceAccessController, UnrestrictedDeviceAccess
from .effects.executor import EffectExecutor
from .effects.host_memory import HostMemoryReservations
from .effects.lease_environment import LeaseEnvironment
from .effects.runner import EffectRunner
from .effects.scrubber import WAIT, Scrubber, occupancy_of
from .host.lease_groups import LeaseGroups
from .host.threads import DaemonThreads
from .http.backend import Backend
from .http.statement_reader import StatementReader
from .identity import TenantNames
from .identity.known_users import KnownUsers, UserLookup
from .identity.user_database import UserDatabase
from .journal.release_log import PreallocatedReleaseLog
from .journal.store import Journal
from .journal.writer import JournalWriter
from .loop.command_loop import CommandLoop
from .loop.command_queue import CommandQueue
from .loop.degraded_mode import FULL_AT_START, DegradedMode
from .loop.faults import FaultState
from .loop.first_answers import FirstAnswers
from .loop.idempotency import AnsweredKeys
from .loop.publication import CommitPublisher
from .loop.recovery import verify
from .loop.state_store import StateStore
from .loop.ticker import Ticker
from .monitors import processes
from .monitors.exemptions import DISPLAYS, Exemptions
from .monitors.health import HealthMonitor
from .monitors.history import History
from .monitors.idleness import IdleMonitor
from .monitors.inventory import Inventory, is_present
from .monitors.metrics import Metrics
from .monitors.process_owners import OwnershipResolver
from .monitors.processes import ProcessMonitor
from .monitors.sampler import Sampler
from .monitors.standby import StandbyLimits, StandbyMonitor
from .monitors.telemetry import TelemetryMonitor
from .monitors.use import UseRecorder
from .notifications import ChangeNotifier
from .protocols import Admission, Clock
from .supervisor import Supervisor

if TYPE_CHECKING:  # a pool of local devices does not import it
    from .clusters.service import ClusterService
    from .clusters.set_up import ClusterSetUp

#: How long the end of a pool manager waits until what was measured is recorded.
RECORD_TIMEOUT_S = 1.0
NewThreads = Callable[[int, str], Executor]


class Threads(NamedTuple):
    """How threads are made, from their number and a name."""

    daemon: NewThreads = DaemonThreads
    journal: NewThreads = ThreadPoolExecutor  #: whose calls are waited for when the process ends


class ServiceOptions(NamedTuple):
    """Options of the services that an administrator can set."""

    foreign_processes: str = processes.WARN
    foreign_exempt: Sequence[str] = DISPLAYS
    scrub_mode: str = WAIT
    scrub_timeout_s: float = 60.0
    standby: StandbyLimits = StandbyLimits()


DEFAULT_THREADS, DEFAULT_OPTIONS = Threads(), ServiceOptions()


def admit_all(*_: object) -> None:
    """Admit every request, for pools without limits."""


class Foundation:
    """The services that depend on no other service, so that all others can be built on them."""

    def __init__(
        self,
        pool: Pool,
        journal: Journal,
        driver: Driver,
        clock: Clock,
        *,
        release_log: PreallocatedReleaseLog | None,
        threads: Threads,
        users: UserLookup,
    ) -> None:
        self.driver, self.journal, self.release_log, self.threads = driver, journal, release_log, threads
        self.boot_id = pool.state.boot_id
        self.notifier = ChangeNotifier()
        full_at_start = release_log is not None and bool(release_log.pending_entries)
        self.faults = FaultState(self.notifier, FULL_AT_START if full_at_start else None)
        self.supervisor = Supervisor(self.notifier.publish_pool, self.faults.report_job_failure)
        self.store = StateStore(pool, clock)
        self.commands = CommandQueue()
        self.metrics = Metrics()
        self.driver_thread = DriverThread(threads.daemon)
        self.writer = JournalWriter(journal, threads.journal)
        self.users = KnownUsers(users, threads.daemon)
        self.names = TenantNames(self.users, lambda: pool.state.tenants)


class Effects:
    """The services that change devices, processes and device files."""

    def __init__(self, base: Foundation, options: ServiceOptions, groups: LeaseGroups | None) -> None:
        driver, store, new_thread = base.driver, base.store, base.threads.daemon
        self.environment = LeaseEnvironment(driver)
        self.device_access = (
            DeviceAccessController(groups, driver.device_nodes, base.notifier.publish_lease, new_thread)
            if groups
            else UnrestrictedDeviceAccess()
        )
        self.scrubber = Scrubber(
            options.scrub_mode,
            options.scrub_timeout_s,
            commands_of=driver.scrub_commands,
            occupancy_of=lambda device_id: occupancy_of(store.state, device_id),
            submit=base.commands.submit_until_durable,
            notify_lease=base.notifier.publish_lease,
        )
        host_memory = HostMemoryReservations(lambda: store.state)
        self.executor = EffectExecutor(
            driver,
            base.driver_thread,
            self.scrubber,
            self.device_access,
            new_thread=new_thread,
            limit_of=lambda device_id: unaccounted_memory.limit_of(store.state, device_id),
            may_come_back=lambda device_id: is_present(store.state, device_id),
            reserve_host_memory=host_memory.reserve,
        )


class Monitors:
    """The services that observe devices and processes."""

    def __init__(
        self,
        base: Foundation,
        options: ServiceOptions,
        own_pids: Container[int],
        driver_message: Message | None,
        cluster: ClusterService | None,
    ) -> None:
        driver, driver_thread, new_thread = base.driver, base.driver_thread, base.threads.daemon
        self.inventory = Inventory(
            driver,
            driver_thread,
            base.supervisor,
            state=base.store,
            commands=base.commands,
            changes=base.notifier,
            message=driver_message,
        )
        ownership = OwnershipResolver(base.boot_id)
        sampler = Sampler(driver, ownership, new_thread)
        elsewhere = dict if cluster is None else cluster.usage
        self.telemetry = TelemetryMonitor(sampler, History(), base.store, base.notifier, elsewhere)
        self.idleness = IdleMonitor(self.telemetry, base.store, base.commands)
        self.use = UseRecorder(self.telemetry, base.store, base.commands)
        self.processes = ProcessMonitor(
            base.boot_id,
            ownership,
            options.foreign_processes,
            exemptions=Exemptions(options.foreign_exempt),
            own_pids=own_pids,
            driver=driver,
            driver_thread=driver_thread,
            telemetry=self.telemetry,
            state=base.store,
            commands=base.commands,
            changes=base.notifier,
            learn_user=base.names.learn_user,
            new_thread=new_thread,
        )
        self.health = HealthMonitor(
            driver if isinstance(driver, WatchableDriver) else None,
            driver_thread,
            state=base.store,
            commands=base.commands,
            supervisor=base.supervisor,
            count_fault=base.metrics.count_fault,
        )
        self.standby = StandbyMonitor(base.boot_id, options.standby, new_thread)


def _cluster_service(cluster: ClusterSetUp, base: Foundation, pool_id: str) -> ClusterService:
    """Return the service of the engine that grants the leases."""
    from .clusters.service import ClusterBase

    notifier, new_thread = base.notifier, base.threads.daemon
    return cluster.service(
        ClusterBase(pool_id, base.supervisor, base.commands, base.store, notifier, notifier.publish_lease, new_thread)
    )


class LoopServices:
    """The command loop and the services around it, which change the state."""

    def __init__(
        self,
        base: Foundation,
        effects: Effects,
        inventory: Inventory,
        admit: Admission,
        cluster: ClusterService | None,
    ) -> None:
        self.runner = EffectRunner(
            base.boot_id,
            effects.executor,
            commands=base.commands,
            state=base.store,
            inventory=inventory,
            supervisor=base.supervisor,
            on_cluster_effect=None if cluster is None else cluster.run,
        )
        answers = AnsweredKeys(base.journal.answers.lease_ids())
        self.first_answers = FirstAnswers(base.writer, answers)
        self.ticker = Ticker(base.commands, base.store, base.writer, answers)
        observers = [effects.device_access, self.ticker, *([] if cluster is None else [cluster])]
        self.publisher = CommitPublisher(base.store.state, self.runner, observers, base.notifier)
        self.degraded_mode = DegradedMode(
            store=base.store,
            writer=base.writer,
            release_log=base.release_log,
            answers=answers,
            faults=base.faults,
            publisher=self.publisher,
            commands=base.commands,
            changes=base.notifier,
            supervisor=base.supervisor,
            metrics=base.metrics,
            on_writable=inventory.refresh,
        )
        self.loop = CommandLoop(
            commands=base.commands,
            store=base.store,
            writer=base.writer,
            answers=answers,
            faults=base.faults,
            degraded=self.degraded_mode,
            publisher=self.publisher,
            admit=admit,
            metrics=base.metrics,
        )


class PoolServices:
    """All services of one pool manager, wired together; :meth:`start` begins to serve."""

    def __init__(
        self,
        pool: Pool,
        journal: Journal,
        driver: Driver,
        clock: Clock,
        release_log: PreallocatedReleaseLog | None = None,
        *,
        options: ServiceOptions = DEFAULT_OPTIONS,
        admit: Admission = admit_all,
        lease_groups: LeaseGroups | None = None,
        driver_message: Message | None = None,
        threads: Threads = DEFAULT_THREADS,
        users: UserLookup | None = None,
        cluster: ClusterSetUp | None = None,
    ) -> None:
        base = Foundation(
            pool, journal, driver, clock, release_log=release_log, threads=threads, users=users or UserDatabase()
        )
        effects = Effects(base, options, lease_groups)
        self.cluster = None if cluster is None else _cluster_service(cluster, base, journal.id)
        monitors = Monitors(base, options, effects.scrubber.pids, driver_message, self.cluster)
        loop = LoopServices(base, effects, monitors.inventory, admit, self.cluster)
        self._journal, self._release_log = journal, release_log
        self.notifier, self.faults, self.supervisor = base.notifier, base.faults, base.supervisor
        self.store, self.commands, self.writer = base.store, base.commands, base.writer
        self.metrics, self.driver_thread = base.metrics, base.driver_thread
        self.users, self.names = base.users, base.names
        self.environment, self.device_access = effects.environment, effects.device_access
        self.scrubber, self.executor = effects.scrubber, effects.executor
        self.inventory, self.telemetry = monitors.inventory, monitors.telemetry
        self.idleness, self.use = monitors.idleness, monitors.use
        self.processes, self.health, self.standby = monitors.processes, monitors.health, monitors.standby
        self.effects, self.publisher, self.degraded_mode = loop.runner, loop.publisher, loop.degraded_mode
        self.loop, self.ticker = loop.loop, loop.ticker
        self.first_answers = loop.first_answers

    async def start(self) -> None:
        """Begin to serve the recovered state, and the effects that are outstanding for it."""
        for name, step in (
            ("requests", self.loop.process_batch),
            ("counters", self.telemetry.sample),
            ("clock", self.ticker.tick),
            ("journal files", self.degraded_mode.watch),
            ("devices", self.inventory.refresh_regularly),
            ("processes", self.processes.check),
            ("idleness", self.idleness.check),
            ("use", self.use.check),
        ):
            self.supervisor.run_forever(name, step)
        self.health.start()
        self.supervisor.run_once(verify(self._journal, self.faults))
        self.degraded_mode.start()
        if isinstance(self.device_access, DeviceAccessController):
            self.supervisor.run_forever("files", self.device_access.apply_pending)
            self.supervisor.run_forever("groups", self.device_access.remove_empty_groups)
        for tenant in self.store.state.tenants:
            self.names.name_of(tenant)  # asks for it, so that it is known when it is shown
        self.publisher.publish_recovered(self.store.state)
        if self.cluster is not None:
            self.cluster.start()

    async def stop(self) -> None:
        """Stop serving; leases live on in the journal and in their kernels."""
        with suppress(TimeoutError):  # what was measured is worth a moment
            await asyncio.wait_for(self.use.record_all(), RECORD_TIMEOUT_S)
        async with self.store.commit_lock:
            await self.supervisor.stop()
        self.effects.close()
        if self.cluster is not None:
            self.cluster.close()
        await self.health.close()
        self.writer.close(self.store.state if self.faults.message is None else None)
        self.executor.close()
        self.driver_thread.close()
        self.device_access.close()
        self.telemetry.close()
        self.processes.close()
        self.standby.close()
        self.users.close()
        if self._release_log:
            self._release_log.close()

    def http_backend(self) -> Backend:
        """Return the services that the HTTP interface uses."""
        return Backend(
            state=self.store,
            commands=self.commands,
            first_answers=self.first_answers,
            notifier=self.notifier,
            faults=self.faults,
            supervisor=self.supervisor,
            telemetry=self.telemetry,
            use=self.use,
            inventory=self.inventory,
            processes=self.processes,
            health=self.health,
            standby=self.standby,
            environment=self.environment,
            device_access=self.device_access,
            scrubbing=self.scrubber,
            statements=StatementReader(self._journal.path, self.store),
            metrics=self.metrics,
            names=self.names,
            pool_id=self._journal.id,
            cluster=self.cluster,
        )
