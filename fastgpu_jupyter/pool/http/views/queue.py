"""Views of the queue, and the messages about a waiting request."""

from __future__ import annotations

from ....core.model.entities import Instant, Lease, PendingReason, State
from ....core.model.lifecycle import LeaseState
from ....core.placement import parkability
from ....core.scheduling.next_to_yield import NextToYield, YieldState, find_next_to_yield
from ....core.scheduling.queue_report import Estimate, QueueEntry, explain
from ....errors import Message
from ....messages import view_of
from ....wire.schemas import LeaseQueueView, MessageView, QueueEntryView, QueueHolderView
from ..steps import in_steps
from .cluster import cluster_queue_view
from .context import AccessScope, ViewContext, tenant_reference


async def queue_views(state: State, at: Instant, access: AccessScope, context: ViewContext) -> list[QueueEntryView]:
    """Return the queue in order of grant, and the requests that wait in the queue of a cluster."""

    def view(item: tuple[str, QueueEntry]) -> QueueEntryView:
        return _queue_entry(state, state.leases[item[0]], access, context, item[1])

    own = await in_steps(view, context.queue.entries().items())
    cluster = context.cluster
    if cluster is None:
        return own

    def view_on_cluster(lease: Lease) -> QueueEntryView:
        place = cluster_queue_view(cluster, lease, at)
        assert place is not None
        return _entry(lease, access, context, place)

    waiting = [lease for lease in state.leases.values() if lease.cluster_job and lease.state is LeaseState.WAITING]
    return own + await in_steps(view_on_cluster, waiting)


def pending_reason(position: int, reason: PendingReason) -> MessageView:
    """Return the reason why a request at ``position`` is not granted yet."""
    return view_of(explain(position, reason))


def estimate_basis(estimate: Estimate) -> MessageView:
    """Return what an estimate is based on, or why there is none."""
    return view_of(estimate.basis)


def queue_holder(state: State, waiting: Lease, entry: QueueEntry) -> QueueHolderView | None:
    """Return the lease that is expected to make room for a request; its name only if it is of the same user."""
    found = find_next_to_yield(state, waiting, entry)
    if found is None:
        return None
    lease, yields_at = found.lease, None
    own = lease.tenant == waiting.tenant or lease.holder.uid == waiting.holder.uid
    if found.at_ms is not None:
        yields_at = state.last.wall_ms + max(0, found.at_ms - state.last.ms)
    return {
        "lease_id": lease.id if own else None,
        "notebook": lease.request.notebook if own else None,
        "yields_at": yields_at,
        "message": view_of(_holder_message(state, found, own=own)),
    }


def _holder_message(state: State, found: NextToYield, *, own: bool) -> Message:
    holder = _holder_name(found.lease, own=own)
    match found.state:
        case YieldState.NOT_PARKABLE:
            reason = parkability.park_refusal(state, found.lease) if own else None
            return Message.of("holder.not_parkable", holder=holder, reason=reason or "")
        case YieldState.BUSY if found.lease.request.job is not None:
            return Message.of("holder.computing", holder=holder)
        case _:
            return Message(f"holder.{found.state.value}", {"holder": holder})


def _holder_name(lease: Lease, *, own: bool) -> Message:
    job = lease.request.job
    if not own:
        return Message.of("holder.of_another_user") if job is None else Message.of("holder.job_of_another_user")
    if job is not None:
        return Message.of("holder.own_job", job=job)
    notebook = (lease.request.notebook or "").rpartition("/")[2]
    return Message.of("holder.own", notebook=notebook) if notebook else Message.of("holder.own_without_notebook")


def _queue_entry(
    state: State, lease: Lease, access: AccessScope, context: ViewContext, entry: QueueEntry
) -> QueueEntryView:
    position, reason = entry
    estimate = context.queue.estimator.of(position)
    place: LeaseQueueView = {
        "position": position,
        "reason": pending_reason(position, reason),
        "holder": queue_holder(state, lease, entry) if access.includes(lease) else None,
        "estimate_ms": estimate.wait_ms,
        "estimate_basis": estimate_basis(estimate),
    }
    return _entry(lease, access, context, place)


def _entry(lease: Lease, access: AccessScope, context: ViewContext, place: LeaseQueueView) -> QueueEntryView:
    """Return a place in the queue with what waits there; names are those of requests that the caller may see."""
    visible = access.includes(lease)
    return {
        **place,
        "lease_id": lease.id if visible else None,
        "size": lease.request.name,
        "priority": lease.request.priority.name.lower(),
        "memory_bytes": lease.request.memory_bytes,
        "notebook": lease.request.notebook if visible else None,
        "job": lease.request.job if visible else None,
        "tenant": tenant_reference(lease.tenant, context.name_of) if visible else None,
        "waiting_since": lease.waiting_since.wall_ms,
        "mine": access.owns(lease),
    }
