"""Views of the queue, and the messages about a waiting request."""

from __future__ import annotations

from ....core.model.entities import Lease, PendingReason, State
from ....core.scheduling.queue_report import Estimate, QueueEntry, explain
from ....messages import view_of
from ....wire.schemas import MessageView, QueueEntryView
from ..steps import in_steps
from .context import AccessScope, ViewContext, tenant_reference


async def queue_views(state: State, access: AccessScope, context: ViewContext) -> list[QueueEntryView]:
    """Return the queue in order of grant."""

    def view(item: tuple[str, QueueEntry]) -> QueueEntryView:
        return _queue_entry(state.leases[item[0]], access, context, item[1])

    return await in_steps(view, context.queue.entries().items())


def pending_reason(position: int, reason: PendingReason) -> MessageView:
    """Return the reason why a request at ``position`` is not granted yet."""
    return view_of(explain(position, reason))


def estimate_basis(estimate: Estimate) -> MessageView:
    """Return what an estimate is based on, or why there is none."""
    return view_of(estimate.basis)


def _queue_entry(lease: Lease, access: AccessScope, context: ViewContext, entry: QueueEntry) -> QueueEntryView:
    visible = access.includes(lease)
    position, reason = entry
    estimate = context.queue.estimator.of(position)
    return {
        "lease_id": lease.id if visible else None,
        "position": position,
        "reason": pending_reason(position, reason),
        "estimate_ms": estimate.wait_ms,
        "estimate_basis": estimate_basis(estimate),
        "size": lease.request.name,
        "priority": lease.request.priority.name.lower(),
        "memory_bytes": lease.request.memory_bytes,
        "notebook": lease.request.notebook if visible else None,
        "tenant": tenant_reference(lease.tenant, context.name_of) if visible else None,
        "waiting_since": lease.waiting_since.wall_ms,
        "mine": access.owns(lease),
    }
