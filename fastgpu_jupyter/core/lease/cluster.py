"""Leases of an engine: its jobs, what it grants, and leases that are kept while no process holds them.

    WAITING ──the agent in the job reports the allocation──> ACTIVE ──the engine says that the job is over──> ENDED
       └──refused, over, released, holder ended──> ENDED        └──released──> DRAINING ──the same──> ENDED

The engine places and orders such requests, so that they are not in the queue, and no quota or fair share counts them.
At most one job is submitted for a name: the request is the intent, and recovery looks for the name before it submits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...errors import Conflict, Message
from ..accounting import budgets
from ..model import commands as c
from ..model import events as e
from ..model.entities import ClusterAllocation, EndReason, Instant, Lease, LogicalGPU, Mechanism, State
from ..model.events import Event
from ..model.lifecycle import LeaseState
from . import cluster_bill
from .transition import advance

#: Thousandths of one device.
MILLI = 1000
_HAS_JOB = frozenset({LeaseState.WAITING, LeaseState.ACTIVE, LeaseState.DRAINING})


def require_money(state: State, tenant: str, at: Instant) -> None:
    """Raise :class:`Conflict` where the tenant's budget is spent: an engine would grant the request all the same."""
    if not budgets.may_spend(state, tenant, at.ms):
        raise Conflict(Message.of("cluster.budget_spent"))


def job_submitted(state: State, command: c.ClusterJobSubmitted, at: Instant) -> list[Event]:
    """Record the id of the job. Nothing where the lease has ended: the caller cancels the job.

    Raises :class:`Conflict` where the lease has another job under that name.
    """
    lease = _find(state, command.lease_id, command.name)
    if lease is None or lease.cluster_job is None or lease.state not in _HAS_JOB:
        return []
    known = lease.cluster_job.job_id
    if known is None:
        return [e.LeaseJobSubmitted(lease.id, command.job_id)]
    if known != command.job_id:
        raise Conflict(Message.of("cluster.second_job", job=command.job_id[:80], known=known[:80]))
    return []


def job_refused(state: State, command: c.ClusterJobRefused, at: Instant) -> list[Event]:
    """End a waiting lease whose job the engine refused or can never start."""
    lease = _find(state, command.lease_id, command.name)
    if lease is None or lease.state is not LeaseState.WAITING:
        return []
    return [e.LeaseEnded(lease.id, EndReason.CLUSTER_REFUSED, command.detail)]


def granted(state: State, command: c.ClusterGranted, at: Instant) -> list[Event]:
    """Grant a waiting lease what the engine allocated, or end it where that cannot be used or may not be paid for."""
    lease = _find(state, command.lease_id, command.name)
    if lease is None or lease.state is not LeaseState.WAITING:
        return []  # the agent reports again after each reconnection
    if not command.allocation.devices:
        detail = Message.of("cluster.no_devices", host=command.allocation.host)
        return [e.LeaseEnded(lease.id, EndReason.CLUSTER_REFUSED, detail)]
    if not budgets.may_spend(state, lease.tenant, at.ms):
        return [e.LeaseEnded(lease.id, EndReason.CLUSTER_REFUSED, Message.of("cluster.budget_spent"))]
    gpu = logical_gpu_of(command.allocation, state.generations + 1)
    return [e.LeaseGranted(lease.id, gpu), e.LeasePrepared(lease.id)]


def logical_gpu_of(allocation: ClusterAllocation, generation: int) -> LogicalGPU:
    """Return the logical GPU that an allocation becomes."""
    devices = allocation.devices
    memory_bytes = [device.memory_bytes for device in devices]
    return LogicalGPU(
        device_id=devices[0].name,
        memory_bytes=0 if None in memory_bytes else sum(amount or 0 for amount in memory_bytes),
        whole=allocation.milli >= MILLI * len(devices),
        mechanism=Mechanism.CLUSTER,
        enforcement=allocation.enforcement,
        rate_micro_per_hour=sum(device.rate_micro_per_hour for device in devices),
        generation=generation,
        more_device_ids=tuple(device.name for device in devices[1:]),
        host_id=allocation.host,
        cluster=allocation,
    )


def time_set(state: State, command: c.ClusterTimeSet, at: Instant) -> list[Event]:
    """Record when the engine ends the allocation of an active lease."""
    lease = _find(state, command.lease_id, command.name)
    if lease is None or lease.state is not LeaseState.ACTIVE or lease.logical_gpu is None:
        return []
    allocation = lease.logical_gpu.cluster
    if allocation is None or allocation.ends_at_ms == command.ends_at_ms:
        return []
    return [e.LeaseTimeLimitSet(lease.id, command.ends_at_ms)]


def job_ended(state: State, command: c.ClusterJobEnded, at: Instant) -> list[Event]:
    """End a lease whose job is over, and bill it until then; one that drains keeps the reason for which it does."""
    lease = _find(state, command.lease_id, command.name)
    if lease is None or lease.state not in _HAS_JOB:
        return []
    until_ms = cluster_bill.billed_until_ms(state, lease, command.ended_at_ms, at)
    if lease.state is LeaseState.DRAINING and lease.end_reason is not None:
        return [e.LeaseEnded(lease.id, lease.end_reason, lease.end_detail, billed_until_ms=until_ms)]
    ended = e.LeaseEnded(lease.id, EndReason.ALLOCATION_LOST, command.detail, billed_until_ms=until_ms)
    if lease.state is LeaseState.WAITING:
        return [ended]
    return [e.LeaseDraining(lease.id, EndReason.ALLOCATION_LOST, command.detail), ended]


def _find(state: State, lease_id: str, name: str) -> Lease | None:
    """Return the lease whose job has that name, or ``None``: the report is about an earlier attempt, or too late."""
    lease = state.leases.get(lease_id)
    return lease if lease is not None and lease.cluster_job is not None and lease.cluster_job.name == name else None


def without_holder(lease: Lease) -> list[Event] | None:
    """Return what becomes of a lease that outlives its holder; ``None`` where it ends with its holder."""
    if lease.request.cluster is None or not lease.request.keep_ms or lease.state is not LeaseState.ACTIVE:
        return None
    return [] if lease.orphaned_since_ms is not None else [e.LeaseOrphaned(lease.id)]


def due(state: State, at: Instant) -> Iterator[Event]:
    """Yield the end of each lease that was kept without a holder for as long as its request says."""
    for lease in map(state.leases.__getitem__, state.orphaned):
        since_ms = lease.orphaned_since_ms
        if since_ms is not None and at.ms - since_ms >= lease.request.keep_ms:
            detail = Message.of("cluster.end_orphaned", keep_ms=lease.request.keep_ms)
            yield e.LeaseDraining(lease.id, EndReason.HOLDER_DIED, detail)


def apply_submitted(state: State, event: e.LeaseJobSubmitted, at: Instant) -> None:
    """Record the id of the engine's job."""
    lease = advance(state, event.lease_id, event)
    assert lease.cluster_job is not None
    lease.cluster_job = replace(lease.cluster_job, job_id=event.job_id, submitted_at_ms=at.wall_ms)


def apply_time_limit(state: State, event: e.LeaseTimeLimitSet, at: Instant) -> None:
    """Record when the engine ends the allocation."""
    lease = advance(state, event.lease_id, event)
    gpu = lease.logical_gpu
    assert gpu is not None
    assert gpu.cluster is not None
    lease.logical_gpu = replace(gpu, cluster=replace(gpu.cluster, ends_at_ms=event.ends_at_ms))


def apply_orphaned(state: State, event: e.LeaseOrphaned, at: Instant) -> None:
    """Record since when the lease is kept without a holder."""
    lease = advance(state, event.lease_id, event)
    lease.orphaned_since_ms = at.ms
    state.orphaned[lease.id] = None


def forget_orphan(state: State, lease: Lease) -> None:
    """Record that a process holds the lease again, or that it is over."""
    lease.orphaned_since_ms = None
    state.orphaned.pop(lease.id, None)
