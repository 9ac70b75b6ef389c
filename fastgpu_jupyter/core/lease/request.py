"""Requests for leases, from the caller's wish to a place in the queue."""

from __future__ import annotations

from itertools import islice

from ...errors import InternalError, InvalidRequest, Message
from ..accounting import fairshare, tenants
from ..model import commands as c
from ..model import events as e
from ..model.entities import RECENT_REQUESTS_MAX, ClusterJob, Instant, Lease, LeaseRequest, State, requirements_of
from ..model.events import Event
from ..placement import eligibility, refusals
from . import cluster, history

#: A new lease makes at most so many old ones be forgotten.
FORGOTTEN_PER_REQUEST = 2


def request_lease(state: State, command: c.RequestLease, at: Instant) -> list[Event]:
    """Accept a request. Raises where it is malformed or could never be granted."""
    request = command.request
    request.validate()
    if request.cluster is None:
        _require_placeable(state, command.tenant, request)
    else:
        cluster.require_money(state, command.tenant, at)
    return [
        e.LeaseRequested(
            command.lease_id, command.tenant, request, command.holder, command.token_sha256, command.job_name
        ),
        *tenants.naming(state, command.tenant, command.tenant_name),
        *islice(history.stale_leases(state, at), FORGOTTEN_PER_REQUEST),
    ]


def _require_placeable(state: State, tenant_name: str, request: LeaseRequest) -> None:
    """Raise where no device could ever serve the request, or the tenant may never have so much."""
    requirements = requirements_of(request)
    refusals.require_satisfiable(state, requirements)
    tenant = state.tenants.get(tenant_name)
    if tenant is not None and tenant.limit_milli is not None:
        wanted = eligibility.nominal_milli(state, requirements)
        if wanted > tenant.limit_milli:
            raise InvalidRequest(
                Message.of(
                    "refused.above_quota",
                    size=request.name,
                    requested_milli=wanted,
                    tenant=tenant_name,
                    limit_milli=tenant.limit_milli,
                )
            )


def apply_requested(state: State, event: e.LeaseRequested, at: Instant) -> None:
    """Add the lease to the state and to the end of the queue."""
    if event.lease_id in state.leases:
        raise InternalError(f"Lease {event.lease_id} was requested twice.")
    state.arrivals += 1
    lease = state.leases[event.lease_id] = Lease(
        id=event.lease_id,
        tenant=event.tenant,
        request=event.request,
        holder=event.holder,
        token_sha256=event.token_sha256,
        arrival=state.arrivals,
        requested_at=at,
        waiting_since=at,
        grants_before=state.generations,
        cluster_job=None if event.request.cluster is None else ClusterJob(event.job_name),
    )
    expires_ms = lease.expires_ms
    if expires_ms is not None:
        state.expiring[lease.id] = expires_ms
    if lease.request.budget_micro is not None:
        state.budgeted[lease.id] = None
    if lease.cluster_job is None:
        state.queue[lease.id] = None
        _remember(state, event.request)
        fairshare.wait(state, event.tenant, at.ms)
    else:
        state.cluster_waiting[lease.id] = None
    fairshare.tenant_of(state, event.tenant).leases += 1


def _remember(state: State, request: LeaseRequest) -> None:
    size = request.profile or f"{request.memory_bytes}B"
    state.recent_requests.append((size, request.cpu_milli, request.host_memory_bytes))
    if len(state.recent_requests) >= RECENT_REQUESTS_MAX:
        del state.recent_requests[: RECENT_REQUESTS_MAX // 2]


def leave_queue(state: State, lease: Lease, at: Instant) -> None:
    """Take the lease out of the queue; harmless where it is not in the queue."""
    if lease.id in state.queue:
        del state.queue[lease.id]
        fairshare.leave(state, lease.tenant, at.ms)
        state.expiring.pop(lease.id, None)
    elif lease.id in state.cluster_waiting:
        del state.cluster_waiting[lease.id]
        state.expiring.pop(lease.id, None)


def requeue_at_original_position(state: State, lease: Lease) -> None:
    """Put a lease back into the queue where its arrival places it."""
    state.queue[lease.id] = None
    in_order = sorted(state.queue, key=lambda lease_id: state.leases[lease_id].arrival)
    state.queue.clear()
    state.queue.update(dict.fromkeys(in_order))
