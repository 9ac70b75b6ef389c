"""The order in which waiting requests are granted: first come, first served."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Lease, PendingReason, State
from .placement import pending_reason

_DETAILS = {
    PendingReason.CAPACITY: "Every GPU that could serve this is in use; it is next.",
    PendingReason.BEHIND: "Waits for its turn behind {ahead} other request{s}.",
    PendingReason.HEALTH: "The GPUs that could serve this are out of service.",
}


def head(state: State) -> Lease | None:
    """The lease that is granted next, or ``None`` where nobody waits."""
    return next((state.leases[lease_id] for lease_id in state.queue), None)


def places(state: State) -> Iterator[tuple[Lease, int, PendingReason]]:
    """Waiting leases in order, each with its place (1 is next) and the one reason why it is not granted."""
    for place, lease_id in enumerate(state.queue, start=1):
        lease = state.leases[lease_id]
        first = place == 1
        yield lease, place, pending_reason(state.devices.values(), lease.request) if first else PendingReason.BEHIND


def explain(place: int, reason: PendingReason) -> str:
    """The reason as a sentence for people."""
    return _DETAILS[reason].format(ahead=place - 1, s="" if place == 2 else "s")
