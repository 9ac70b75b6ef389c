"""What agents report: the first report of an agent grants its lease, further ones say what its kernel does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from ...core.model import commands as c
from ...core.model.lifecycle import LeaseState
from ...errors import Conflict, EngineUnavailable
from ..protocols import CommandSink
from ..supervisor import wait_for_event
from .agent_messages import AgentBeat, AgentHello, DeviceUse, KernelState
from .allocation import Allocations, want_of
from .board import Board, HostKernel, RemoteUsage, Watched
from .engine import Engine, Running, Want
from .engine_thread import EngineThread

log = logging.getLogger("fastgpu.pool")
#: The pause before the engine is asked again for what is needed to grant a lease, where it did not say it.
AGAIN_S = 2.0
#: What an agent says where the engine's own process of the job is gone.
LOST = "lost"


class AgentRequests(NamedTuple):
    """What the agents need of the service."""

    look: Callable[[], None]  #: ask the engine about all jobs soon
    cancel: Callable[[str, str | None], None]  #: end a job, of which its name is known and perhaps its id


class AgentListener:
    """The listener of the rendezvous. ``leases`` are those that are not over, by the names of their jobs."""

    def __init__(
        self,
        engine: Engine,
        thread: EngineThread,
        board: Board,
        commands: CommandSink,
        *,
        leases: Mapping[str, Watched],
        allocations: Allocations,
        wall_ms: Callable[[], int],
        requests: AgentRequests,
    ) -> None:
        self._engine, self._thread, self._board, self._commands = engine, thread, board, commands
        self._leases, self._allocations, self._wall_ms, self._requests = leases, allocations, wall_ms, requests
        self._hellos: dict[str, AgentHello] = {}
        self._arrived = asyncio.Event()
        #: Jobs whose agents reported though no lease has them any more.
        self.unknown: set[str] = set()
        #: How to talk to the newest kernel of a lease; secret.
        self.connections: dict[str, dict[str, object]] = {}

    # -- calls of the rendezvous ---------------------------------------------------------------------------------------

    def on_hello(self, name: str, hello: AgentHello) -> None:
        """Note that an agent is there; :meth:`step` grants its lease."""
        lease = self._leases.get(name)
        if lease is None:
            self.unknown.add(name)
            self._requests.look()
            return
        self._board.set(lease.lease_id, agent_host=hello.host, agent_silent=False, late=False, heard_ms=self._wall_ms())
        if hello.connection is not None:
            self.connections[lease.lease_id] = hello.connection.info()
        self._note_kernel(lease.lease_id, hello.kernel)
        if lease.state is LeaseState.WAITING:
            self._hellos[name] = hello
            self._arrived.set()

    def on_beat(self, name: str, beat: AgentBeat) -> None:
        """Note what a kernel does and what it uses."""
        lease = self._leases.get(name)
        if lease is None:
            return
        usage = _usage(beat.devices, want_of(lease.request))
        self._board.set(lease.lease_id, agent_silent=False, usage=usage, heard_ms=self._wall_ms())
        self._note_kernel(lease.lease_id, beat.kernel)

    def on_exit(self, name: str, code: int, _output: str) -> None:
        """Ask the engine: the kernel may have ended because its job was ended."""
        log.info("The kernel of %s ended with status %d.", name, code)
        self._requests.look()

    def on_gone(self, name: str) -> None:
        """Ask the engine about an agent that is silent, which by itself says nothing."""
        if (lease := self._leases.get(name)) is not None:
            self._board.set(lease.lease_id, agent_silent=True, usage=None)
            self._requests.look()

    def on_bye(self, name: str, reason: str) -> None:
        """Ask the engine: the agent has given its allocation back, or lost it."""
        log.info("The agent of %s ends: %s.", name, reason)
        if (lease := self._leases.get(name)) is not None:
            self._board.set(lease.lease_id, usage=None, heard_ms=self._wall_ms())
            if reason == LOST:  # the engine would take the job for running until its time is over
                self._requests.cancel(name, lease.job.job_id)
        self._requests.look()

    # -- grants --------------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Wait for agents that reported for the first time, and grant their leases."""
        await wait_for_event(self._arrived, AGAIN_S if self._hellos else 3600.0)
        self._arrived.clear()
        for name, hello in list(self._hellos.items()):
            if await self._grant(name, hello):
                self._hellos.pop(name, None)

    async def _grant(self, name: str, hello: AgentHello) -> bool:
        """Grant the lease of a job; return whether nothing is left to do, as opposed to waiting for the engine."""
        lease = self._leases.get(name)
        if lease is None or lease.state is not LeaseState.WAITING:
            return True
        if lease.job.job_id is None and hello.job_id:  # it was faster than the answer to the submission
            try:
                await self._commands.submit_until_durable(c.ClusterJobSubmitted(lease.lease_id, name, hello.job_id))
            except Conflict:
                self._requests.cancel(name, hello.job_id)
                return True
        status = self._board.of(lease.lease_id).status
        running = status if isinstance(status, Running) else None
        want, job_id = want_of(lease.request), lease.job.job_id or hello.job_id
        if running is None and job_id and self._thread.unanswered_since is None:
            with suppress(EngineUnavailable):
                running = await self._thread.call(self._engine.running, job_id)
        if running is None and not self._allocations.is_certain(want, hello):
            return False  # the model, which the bill needs, is asked for again
        allocation = self._allocations.of_hello(want, hello, running)
        await self._commands.submit_until_durable(c.ClusterGranted(lease.lease_id, name, allocation))
        return True

    def _note_kernel(self, lease_id: str, kernel: KernelState | None) -> None:
        if kernel is not None:
            self.note_kernel(
                lease_id,
                kernel.generation,
                kernel.state,
                pid=kernel.pid,
                exit_code=kernel.exit_code,
                age_s=kernel.age_s,
            )

    def note_kernel(
        self, lease_id: str, generation: int, state: str, *, pid: int, exit_code: int | None = None, age_s: float = 0.0
    ) -> HostKernel:
        """Note the newest kernel of a lease and return it, with the time at which that start was first seen."""
        before = self._board.of(lease_id).kernel
        same = before is not None and before.generation == generation
        started_at = before.started_at if before and same else round(self._wall_ms() - 1000 * age_s)
        kernel = HostKernel(generation, state, pid or None, exit_code, started_at)
        self._board.set(lease_id, kernel=kernel)
        return kernel


def _usage(devices: tuple[DeviceUse, ...] | None, want: Want) -> RemoteUsage | None:
    """Return what a kernel uses; what cannot be told from other programs on the same GPU is unknown."""
    if devices is None:
        return None
    shared = want.fraction is not None
    percents = [one.utilization_percent for one in devices]
    known = [percent for percent in percents if percent is not None]
    utilization = None if shared or not known or len(known) < len(percents) else sum(known) // len(known)
    memory = [
        sum(one.memory_by_process.values())
        if one.memory_by_process is not None
        else None
        if shared
        else one.memory_used_bytes
        for one in devices
    ]
    amounts = [amount for amount in memory if amount is not None]
    return RemoteUsage(utilization, sum(amounts) if amounts and len(amounts) == len(memory) else None)
