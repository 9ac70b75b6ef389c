"""What the user can do with the lease of this kernel: request, release, resize, migrate, park, resume, pin.

Each command asks the pool, updates the gate and returns the lease as it is then. Where the pool refuses, its error is
raised and nothing changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..errors import Conflict, Message, NotFound, PoolUnreachable
from . import successor
from .gate import Gate

if TYPE_CHECKING:
    from ..wire.client import LeaseOptions, PoolClient
    from ..wire.schemas import AdviceView, LeaseView

#: Size of a request that names none.
FULL = "full"


class LeaseCommands:
    """The commands of one kernel's user."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def release(self, *, cpu_only: bool = False) -> LeaseView | None:
        """Release the lease or leave the queue; cells run without a GPU from now on."""
        gate = self._gate
        if gate.cluster and gate.lease_id is not None:
            raise Conflict(Message.of("magic.cluster_release"))
        view = gate.view
        with gate.releasing():
            try:
                if gate.lease_id is not None:
                    view = gate.pool.connect().release(gate.lease_id, gate.pool.token())
            except NotFound:
                view = None
            gate.set_released(view, cpu_only=cpu_only)
        return view

    def request(self, size: str | None = None, options: LeaseOptions | None = None) -> LeaseView:
        """Request a GPU of ``size``, or of the last size; a waiting request keeps its age.

        ``options`` are those of a new lease. Where a cluster grants it, it is for the kernel that follows this one.
        Raises :class:`Conflict` while the kernel has a GPU, on a host of a cluster, and where ``options`` are given for
        a lease that waits or is parked.
        """
        gate = self._gate
        if gate.cluster:
            raise Conflict(Message.of("magic.cluster_request"))
        old, live = gate.view, gate.lease_id is not None
        if live and gate.open:
            raise Conflict(Message.of("magic.has_gpu"))
        if live and options:
            raise Conflict(Message.of("magic.options_fixed"))
        if live and old is not None and old["state"] in PARKED_OR_PARKING and not size:
            return self.resume()
        wanted = size or (old["request"]["size"] if old else FULL)
        if live:
            return self.resize(wanted)
        client = gate.pool.connect()
        notebook = old["holder"]["notebook"] if old else None
        if successor.is_needed(client):
            return successor.request(client, wanted, notebook or os.environ.get("JPY_SESSION_NAME"), options)
        token = gate.pool.token() or gate.pool.new_token()
        view = client.request(wanted, None, gate.kernel_id, notebook, token=token, options=options)
        gate.set_requested(view)
        return view

    def resize(self, size: str) -> LeaseView:
        """Change the size of the lease, active or waiting."""
        return self._change(lambda client, lease_id: client.resize(lease_id, size))

    def migrate(self) -> LeaseView:
        """Migrate the lease off an unhealthy GPU to another one."""
        return self._change(lambda client, lease_id: client.migrate(lease_id))

    def park(self) -> LeaseView:
        """Move the kernel's GPU memory to host memory and free the GPU until the next cell."""
        self._require_parkable()
        activity, token = self._gate.activity, self._gate.pool.token

        def park(client: PoolClient, lease_id: str) -> LeaseView:
            # The cell that parks, and the cells before it, are no reason to resume.
            activity.forget()
            with activity.report_lock:
                client.activity(lease_id, token(), busy=False)
                return client.park(lease_id)

        return self._change(park)

    def resume(self) -> LeaseView:
        """Request the GPU of a parked lease again; it waits in the queue like any other request."""
        return self._change(lambda client, lease_id: client.resume(lease_id))

    def pin(self, *, pinned: bool) -> LeaseView:
        """Set the retention: ``hold`` where ``pinned``, else ``yield``."""
        self._require_parkable()
        return self._change(lambda client, lease_id: client.pin(lease_id, pinned=pinned))

    def snooze(self, for_ms: int) -> LeaseView:
        """Put off the steps of the idle policy by ``for_ms`` milliseconds."""
        return self._change(lambda client, lease_id: client.snooze(lease_id, for_ms))

    def advise(self, *, silenced: bool | None = None) -> AdviceView:
        """Return the advice on the size of the lease; with ``silenced`` set whether its notebook gets any."""
        lease_id, client = self._required(), self._gate.pool.connect()
        return client.advice(lease_id) if silenced is None else client.silence_advice(lease_id, silenced=silenced)

    def cpu_meanwhile(self, *, on: bool) -> LeaseView:
        """Let cells run without a GPU until the waiting lease is granted, or let them wait."""
        return self._change(lambda client, lease_id: client.cpu_meanwhile(lease_id, on=on))

    def requests_for_successor(self) -> bool:
        """Return whether a request would be for the kernel that follows this one; false where no pool serves."""
        try:
            return successor.is_needed(self._gate.pool.quick())
        except PoolUnreachable:
            return False

    def _require_parkable(self) -> None:
        """Raise :class:`Conflict` on a host of a cluster, whose leases are neither parked nor kept from it."""
        if self._gate.cluster:
            raise Conflict(Message.of("cluster.cannot_park"))

    def _change(self, change: Callable[[PoolClient, str], LeaseView]) -> LeaseView:
        lease_id = self._required()
        view = change(self._gate.pool.connect(), lease_id)
        self._gate.update_lease(view)
        return view

    def _required(self) -> str:
        """Return the id of the lease. Raises :class:`Conflict` if there is none."""
        if self._gate.lease_id is None:
            raise Conflict(Message.of("magic.no_lease"))
        return self._gate.lease_id
