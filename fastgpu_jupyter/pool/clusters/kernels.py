"""Kernels on the hosts of leases: start, signal and end, through the agent of the lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...core.model.lifecycle import LeaseState
from ...errors import Conflict, Message
from .agent_messages import PORT_NAMES, KernelStart
from .agents import AgentListener
from .board import HostKernel, Watched
from .rendezvous import Rendezvous


class StartedKernel(NamedTuple):
    """A kernel that runs, and how to talk to it; secret."""

    kernel: HostKernel
    connection: Mapping[str, Any]  #: as in a connection file


class KernelOperations:
    """The operations on kernels. ``leases`` are those that are not over, by the names of their jobs."""

    def __init__(
        self,
        rendezvous: Rendezvous,
        listener: AgentListener,
        leases: Mapping[str, Watched],
        names: Mapping[str, str],
    ) -> None:
        self._rendezvous, self._listener, self._leases, self._names = rendezvous, listener, leases, names

    async def start(self, lease_id: str, start: KernelStart) -> StartedKernel:
        """Start a kernel; again, with ``restart``, with the ports and keys of the one before.

        Raises :class:`Conflict` where the lease is not active or another kernel runs, and :class:`HostFault` with what
        the kernel wrote where it does not start.
        """
        name = self._name_of(lease_id)
        known = self._listener.connections.get(lease_id)
        if start.restart and known is not None:
            ports = {port: int(str(known[port])) for port in PORT_NAMES}
            public, secret = str(known.get("curve_publickey") or ""), str(known.get("curve_secretkey") or "")
            start = start._replace(ports=ports, curve=(public, secret) if public else None)
        started = await self._rendezvous.start(name, start)
        self._listener.connections[lease_id] = started.connection
        kernel = self._listener.note_kernel(lease_id, started.generation, "running", pid=started.pid)
        return StartedKernel(kernel, started.connection)

    async def signal(self, lease_id: str, signum: int) -> None:
        """Send a signal to all processes of the kernel. Raises :class:`Conflict` where none runs."""
        await self._rendezvous.signal(self._name_of(lease_id), signum)

    async def end(self, lease_id: str) -> None:
        """End the kernel; harmless where none runs."""
        await self._rendezvous.end_kernel(self._name_of(lease_id))

    def _name_of(self, lease_id: str) -> str:
        """Return the name of the job of an active lease. Raises :class:`Conflict`."""
        name = self._names.get(lease_id)
        if name is None or self._leases[name].state is not LeaseState.ACTIVE:
            raise Conflict(Message.of("cluster.not_active"))
        return name
