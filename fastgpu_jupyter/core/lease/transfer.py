"""Transfers: another tenant is billed for a lease."""

from __future__ import annotations

from ...errors import Conflict, Message
from ..accounting import fairshare, meter
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from . import allocation
from .lookup import find_lease
from .transition import advance


def transfer_lease(state: State, command: c.TransferLease, at: Instant) -> list[Event]:
    """Bill another tenant. Raises :class:`Conflict` where the lease's state or mechanism does not allow it."""
    lease = find_lease(state, command.lease_id)
    if lease.state not in (LeaseState.WAITING, LeaseState.ACTIVE):
        raise Conflict(Message.of("transfer.wrong_state", state=lease.state.value))
    if lease.tenant == command.tenant:
        return []
    if lease.logical_gpu is not None and lease.logical_gpu.owner_uid is not None:
        raise Conflict(Message.of("transfer.mps"))
    return [e.LeaseTransferred(lease.id, command.tenant)]


def apply_transferred(state: State, event: e.LeaseTransferred, at: Instant) -> None:
    """Move the lease's usage, and its place in the queue, to the other tenant."""
    lease = advance(state, event.lease_id, event)
    gpu, active = lease.logical_gpu, lease.state is LeaseState.ACTIVE
    meter.close_segment(state, lease, at.ms)
    if gpu is not None:
        allocation.free(state, lease, gpu, at)
    elif lease.cluster_job is None:
        fairshare.leave(state, lease.tenant, at.ms)
        fairshare.wait(state, event.tenant, at.ms)
    state.tenants[lease.tenant].leases -= 1
    fairshare.tenant_of(state, event.tenant).leases += 1
    lease.tenant = event.tenant
    if gpu is not None:
        allocation.allocate(state, lease, gpu, at)
    if active:
        meter.open_segment(state, lease, at.ms)
