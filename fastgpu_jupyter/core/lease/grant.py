"""Grants: capacity is promised to a lease that waited."""

from __future__ import annotations

from ..accounting import fairshare
from ..model import events as e
from ..model.entities import Instant, State
from . import allocation, idle
from .transition import advance


def apply_granted(state: State, event: e.LeaseGranted | e.LeaseResuming, at: Instant) -> None:
    """Take the lease from the queue and allocate its logical GPU."""
    lease = advance(state, event.lease_id, event)
    if lease.cluster_job is None:
        del state.queue[lease.id]
        fairshare.served(state, lease.tenant, at.ms)
    else:
        del state.cluster_waiting[lease.id]
    state.expiring.pop(lease.id, None)
    gpu = event.logical_gpu
    lease.logical_gpu, lease.granted_at = gpu, at
    state.generations = gpu.generation
    idle.end_idleness(state, lease)
    allocation.allocate(state, lease, gpu, at)
