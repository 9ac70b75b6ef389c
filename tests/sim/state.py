"""The state of one simulation: the simulated host, the pool manager that runs on it, and what clients know."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.pool.composition import PoolServices
from fastgpu_jupyter.pool.journal.codec import Record
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from tests.sim.host import SimulatedHost, SimulatedProcess
from tests.sim.simulated_devices import PartitionPlace
from tests.sim.simulated_loop import SimulatedThread


class InvariantViolation(AssertionError):
    """The pool manager broke one of its guarantees."""


def require(truth: object, what: str, about: object = "") -> None:
    """Raise :class:`InvariantViolation` with the text and the objects that it is about unless ``truth``."""
    if not truth:
        raise InvariantViolation(f"{what} {about}".rstrip())


@dataclass(eq=False)
class ClientCall:
    """A mutating call of a client, which it repeats with the same key until it is answered."""

    key: str
    command: Callable[[], c.Command]
    kind: str
    in_flight: int = 0
    refused: bool = False
    answered: bool = False
    answer: str | None = None
    process: SimulatedProcess | None = None  #: of a request: the holder to be
    lease_id: str | None = None  #: of any other call


@dataclass
class ObservedLease:
    """What a reader saw of a lease, which must stay true."""

    version: int = 0
    generation: int | None = None
    first_generation: int | None = None  #: seen before the lease was parked for the first time
    park_retry_ms: int = 0  #: it changes with each attempt to park the lease that fails
    state: LeaseState = LeaseState.WAITING
    first_active_ms: int | None = None
    last_active_ms: int | None = None
    ended_ms: int | None = None
    release_sent: bool = False
    release_answered: bool = False
    granted_on: set[str] = field(default_factory=set)
    ended_unknown: bool = False  #: it ended, and whether its memory is gone could not be seen
    requested_ms: int = 0
    boot: int = 0


class SimulationState:
    """The attributes that the parts of a simulation share."""

    def __init__(self, seed: int, folder: Path, *, verbose: bool = False) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.verbose = verbose
        self.host = SimulatedHost(self.rng)
        self.observed: dict[str, ObservedLease] = {}
        self.calls: list[ClientCall] = []
        self.open_calls: list[ClientCall] = []  #: not answered yet
        self.processes: list[SimulatedProcess] = []
        self.generations_seen: set[int] = set()
        self.promised_at_end: set[PartitionPlace] = set()  #: when the pool manager ended the last time
        self.children: list[SimulatedProcess] = []
        self.services: PoolServices | None = None
        self.driver: Any = None
        self.journal: Journal | None = None
        self.release_log: PreallocatedReleaseLog | None = None
        self.violation: InvariantViolation | None = None
        self.process_count = 0
        self.answers = 0
        self.crashes = 0
        self.time_may_be_lost = False  #: since the host was booted, so that a reboot may leave more unbilled
        self.has_bug = False
        self.grantable_since_ms: int | None = None
        self.degraded_since_s: float | None = None  #: since when granting is stopped though the disk is writable
        self.records: list[Record] = []  #: all records of the journal, read at the end
        self._numbers = 0
        SimulatedThread.delay_s = staticmethod(self._delay_s)

    def log(self, what: str) -> None:
        """Print an event with its time where that was asked for."""
        if self.verbose:
            print(f"{self.host.true_ms:>10} {what}")  # noqa: T201 (asked for)

    def _delay_s(self, name: str) -> float:
        slow = self.host.faults.slow and name == "devices"
        return self.rng.uniform(0.5, 8.0) if slow else self.rng.choice((0.0, 0.0001, 0.001, 0.01))

    def next_number(self) -> int:
        """Return a number that was not returned before."""
        self._numbers += 1
        return self._numbers

    def start_task(self, coroutine: Any) -> Any:
        """Run ``coroutine`` in the loop of the pool manager."""
        assert self.host.loop is not None
        return self.host.loop.create_task(coroutine)

    def promised_partitions(self) -> set[PartitionPlace]:
        """Return the partitions that leases hold and that the pool creates; while it does not run, when it ended."""
        if self.services is None:
            return self.promised_at_end
        leases = self.services.store.state.leases.values()
        gpus = [
            lease.logical_gpu for lease in leases if lease.state in HOLDING_CAPACITY and lease.logical_gpu is not None
        ]
        parts = [(gpu.device_id, gpu.partition) for gpu in gpus if gpu.partition is not None]
        return {(name, part.profile, part.start) for name, part in parts if not part.preexisting}

    def _guarded(self, check: Callable[[], None]) -> None:
        """Run ``check``; keep a violation until it can be raised where the pool manager does not catch it."""
        try:
            check()
        except InvariantViolation as violation:
            self.violation = self.violation or violation
