"""What those who wait are told: their place, the reason as a sentence, and an estimate where there is one."""

from __future__ import annotations

from typing import NamedTuple

from .model import LeaseState, PendingReason, State

_DETAILS = {
    PendingReason.CAPACITY: "Every GPU that could serve this is in use",
    PendingReason.BEHIND: "What is free is kept for those before it",
    PendingReason.PRIORITY: "Requests of a higher priority go first",
    PendingReason.QUOTA: "Its tenant holds all that it may have at once",
    PendingReason.HEALTH: "The GPUs that could serve this are out of service",
    PendingReason.BUDGET: "Its tenant has spent the money that it may spend this month",
    PendingReason.RESERVED: "What is free is reserved by others, and lent only to leases that can be parked again",
    PendingReason.NO_SUCH_DEVICE: "The devices that could serve this are no longer there",
    PendingReason.DRAINED: "The GPUs that could serve this are being emptied by an administrator",
    PendingReason.NOT_PREPARED: "What was granted could not be prepared, and it is tried again",
}
#: Leases that an estimate needs: fewer say nothing.
SAMPLE_MIN = 3


def explain(place: int, reason: PendingReason) -> str:
    """The reason as a sentence."""
    where = "it is next" if place == 1 else f"{place - 1} request{'s are' if place > 2 else ' is'} before it"
    return f"{_DETAILS[reason]}; {where}."


class Estimate(NamedTuple):
    """How long a wait may take, and what that is based on; ``wait_ms`` is ``None`` where nothing is known."""

    wait_ms: int | None
    basis: str


class Estimator:
    """Estimates from the leases that ended lately: how long they lasted, and how many devices there are."""

    def __init__(self, state: State) -> None:
        ended = [lease for lease in state.leases.values() if lease.state is LeaseState.ENDED and lease.active_ms]
        self._sample = len(ended)
        self._mean_ms = sum(lease.active_ms for lease in ended) // self._sample if ended else 0
        self._active = sum(1 for lease in state.leases.values() if lease.state is LeaseState.ACTIVE)

    def of(self, place: int) -> Estimate:
        """For the ticket at ``place``."""
        if self._sample < SAMPLE_MIN or not self._active:
            return Estimate(None, "no estimate: too few leases ended in the last hour")
        # With n leases that last m on average, one of them ends every m / n.
        basis = f"the {self._sample} leases that ended in the last hour lasted {self._mean_ms // 60_000} min on average"
        return Estimate(self._mean_ms * place // self._active, basis)
