"""The interfaces between the services of the pool manager.

A service names here what it needs of another one; :mod:`.composition` passes the implementation to its constructor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

from ..core.model.commands import Command
from ..core.model.effects import Effect
from ..core.model.entities import Instant, Lease, LogicalGPU, State
from ..core.model.events import Event
from ..core.scheduling.queue_report import QueueReport
from ..core.sizing.options import SizeReport
from ..errors import Message
from .host.lease_groups import DeviceAccess
from .journal.answers import FirstAnswer

T = TypeVar("T")


class Changes(NamedTuple):
    """The leases and devices that one commit, or one observation of the host, changed."""

    lease_ids: frozenset[str] = frozenset()
    device_ids: frozenset[str] = frozenset()
    pool: bool = False  #: the pool manager itself, such as whether it grants

    def merged(self, other: Changes) -> Changes:
        """Return the union of both."""
        return Changes(self.lease_ids | other.lease_ids, self.device_ids | other.device_ids, self.pool or other.pool)


class Settling(NamedTuple):
    """Until when an answer waits for the effect of its command."""

    is_settled: Callable[[State, str], bool]  #: from the state and the id of the lease
    within_s: float  #: after this time the answer is the id of the lease


class Clock(Protocol):
    """The clocks of the host."""

    def boot_id(self) -> str:
        """Return an id that changes with every boot."""

    def boot_ms(self) -> int:
        """Return the milliseconds for which the host has run since boot, not suspended; never goes back."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970, for display only."""


class StateReader(Protocol):
    """Read access to the durable state."""

    def now(self) -> Instant:
        """Return this instant in the pool's time, never before the newest event."""

    async def read(self, view: Callable[[State, Instant], T], /) -> T:
        """Return what ``view`` makes of the state, all of which is on disk."""

    async def read_in_steps(self, view: Callable[[State, Instant], Awaitable[T]], /) -> T:
        """Return what ``view`` makes of the state with pauses, in which others are served and nothing is changed."""


class QueueReader(StateReader, Protocol):
    """Read access to the durable state and to the queue."""

    @property
    def queue_report(self) -> QueueReport:
        """Positions, pending reasons and estimates of the waiting leases. Read it inside a view only."""

    @property
    def size_report(self) -> SizeReport:
        """The sizes that requests and leases can have. Read it inside a view only."""


class FaultReader(Protocol):
    """The faults that stop new grants."""

    @property
    def message(self) -> str | None:
        """A sentence that says why nothing new is granted, or ``None``."""


class CommandSink(Protocol):
    """The queue that every command passes."""

    async def submit(self, command: Command, key: str | None = None) -> str | None:
        """Return the id of the lease that ``command`` was about, once its events are durable."""

    async def submit_and_read(
        self,
        command: Command,
        key: str | None,
        view: Callable[[State, Instant, str], T],
        allowed: Callable[[State], object] | None = None,
    ) -> T:
        """Return what ``view`` makes of the durable state after ``command``."""

    async def submit_and_settle(
        self, command: Command, key: str | None, view: Callable[[State, Instant, str], T], settling: Settling
    ) -> T | str:
        """Return what ``view`` makes of the durable state in which the effect of ``command`` is settled."""

    async def submit_until_durable(self, command: Command) -> None:
        """Submit ``command`` again and again while the disk or the queue is full."""


class ChangePublisher(Protocol):
    """Where a service reports that something changed which readers see."""

    def publish(self, changes: Changes) -> None:
        """Report ``changes`` to every listener."""

    def publish_pool(self) -> None:
        """Report that the pool manager itself changed."""


class Notifier(ChangePublisher, Protocol):
    """A publisher to which listeners subscribe."""

    def subscribe(self, listener: Callable[[Changes], None], on_error: Callable[[Exception], object]) -> None:
        """Call ``listener`` with all changes from now on, and ``on_error`` with what it raises."""


class EffectSink(Protocol):
    """Where the command loop hands over effects of durable events."""

    def run(self, effect: Effect) -> None:
        """Begin to carry out ``effect``; returns at once."""


class CommitObserver(Protocol):
    """A service that follows the state, commit by commit."""

    def update(self, state: State, lease_ids: Iterable[str]) -> None:
        """Take over the leases ``lease_ids`` of ``state``, which changed."""


class DeviceAccessGate(Protocol):
    """The service that opens and closes device files to kernels."""

    async def open_devices(self, lease_id: str, gpu: LogicalGPU) -> None:
        """Open the device files of ``gpu`` to the holder of the lease."""

    async def wait_until_applied(self, lease_id: str) -> None:
        """Return once the holder's access is what it should be, or after a time limit."""


class DeviceAccessReader(DeviceAccessGate, Protocol):
    """The same service, as the HTTP interface reads it."""

    def access_of(self, lease_id: str) -> DeviceAccess:
        """Return whether other devices' files are closed to the lease's kernel, and why not."""


class LeaseEnvironmentReader(Protocol):
    """What a kernel needs to use its logical GPU."""

    def variables_of(self, lease: Lease) -> dict[str, str]:
        """Return the environment variables of the lease's kernel."""

    def device_nodes_of(self, lease: Lease) -> list[str]:
        """Return the device files that the lease's kernel must be able to open."""

    def hidden_variables(self) -> dict[str, str]:
        """Return the environment variables with which a process sees no device."""


class LeaseStatusReader(Protocol):
    """A service that does something for a lease which its user sees."""

    def status_of(self, lease_id: str) -> Message | None:
        """Return a sentence for the lease's user, or ``None``."""


class InventoryRefresher(Protocol):
    """The service that compares the state's devices with the driver's."""

    async def refresh_once(self) -> None:
        """Compare once; errors are reported to the supervisor."""


class StartupInventory(Protocol):
    """What recovery asks of the devices before anything is served."""

    def adopt(self, held: Collection[LogicalGPU]) -> None:
        """Take over the logical GPUs that leases held when the last pool manager ended."""

    def observe(self, state: State) -> tuple[list[Command], Message | None]:
        """Return the commands that bring ``state`` in line with the devices, and a message for users or ``None``."""


class TaskSupervisor(Protocol):
    """The owner of all background tasks."""

    def run_forever(self, name: str, step: Callable[[], Awaitable[object]]) -> None:
        """Call ``step`` again and again; an error delays the next call and is reported."""

    def run_once(self, job: Coroutine[Any, Any, None]) -> None:
        """Run ``job`` to its end."""

    async def attempt(self, name: str, step: Callable[[], Awaitable[object]]) -> bool:
        """Call ``step`` once and return whether it raised nothing."""

    def report_failure(self, name: str, error: BaseException) -> None:
        """Record that task ``name`` met an error that did not end it."""

    def report_recovery(self, name: str) -> None:
        """Record that task ``name`` works."""


class LoopMetrics(Protocol):
    """What the command loop counts."""

    def count_decision(self, took_s: float) -> None:
        """Count a decision and its duration."""

    def count_append(self, took_s: float) -> None:
        """Count a write to the journal and its duration."""

    def count_events(self, events: Iterable[Event]) -> None:
        """Count events that are on disk."""


class AnswerStore(Protocol):
    """The first answers to requests with an idempotency key."""

    async def find(self, key: str) -> FirstAnswer | None:
        """Return the first answer to the request with ``key``, or ``None`` if there is none."""

    async def keep(self, key: str, answer: FirstAnswer) -> None:
        """Keep the answer to a request that was carried out, before it is sent; an earlier one stays."""


#: Raises :class:`~fastgpu_jupyter.errors.LimitReached` if a limit of the tenant or of the pool refuses a command.
Admission = Callable[[State, Command, Instant], None]
