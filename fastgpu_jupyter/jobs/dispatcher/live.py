"""What is known of an unfinished job at the moment and is not stored: it is learned again after a start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import Message

if TYPE_CHECKING:
    from ...wire.schemas import LeaseReading, LeaseView
    from ...wire.schemas.jobs import RunnerReport
    from .record import JobRecord


#: Field of a runner's report of its lease -> field here.
_OF_LEASE = {
    "state": "lease_state",
    "position": "position",
    "estimate_ms": "estimate_ms",
    "reason": "reason",
}


@dataclass(slots=True)
class Live:
    """The lease of a job as the pool last reported it, and what its runner reports."""

    lease_id: str | None = None
    lease_state: str | None = None
    position: int | None = None
    estimate_ms: int | None = None
    reason: Mapping[str, Any] | None = None
    cost_micro: int | None = None
    rate_micro: int | None = None
    currency: str | None = None
    progress: Mapping[str, Any] | None = None
    log_tail: list[str] = field(default_factory=list)
    log_bytes: int = 0
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    #: Why no lease is requested at the moment.
    obstacle: Message | None = None

    def see_lease(self, view: LeaseView) -> bool:
        """Take over the state of the lease; return whether anything that is shown has changed."""
        queue, money = view["queue"], view["money"]
        return self._set(
            lease_id=view["id"],
            lease_state=str(view["state"]),
            position=queue["position"] if queue else None,
            estimate_ms=queue["estimate_ms"] if queue else None,
            reason=queue["reason"] if queue else None,
            cost_micro=money["cost_micro"],
            rate_micro=money["rate_micro_per_hour"],
            currency=money["currency"],
        )

    def see_reading(self, reading: LeaseReading) -> bool:
        """Take over the cost of the lease at its last reading."""
        return self._set(cost_micro=reading["money"]["cost_micro"])

    def see_position(self, position: int, estimate_ms: int | None, reason: Mapping[str, Any] | None) -> bool:
        """Take over the place of the waiting lease in the pool's queue."""
        return self._set(position=position, estimate_ms=estimate_ms, reason=reason or self.reason)

    def see_report(self, report: RunnerReport) -> bool:
        """Take over what the runner reports."""
        lease = report.get("lease", {})
        of_lease = {_OF_LEASE[name]: value for name, value in lease.items() if name in _OF_LEASE}
        known = ("progress", "log_tail", "log_bytes", "notes")
        of_job = {name: report[name] for name in known if name in report}  # type: ignore[literal-required]
        return self._set(**of_lease, **of_job)

    def cost_of(self, job: JobRecord) -> int | None:
        """Return what the lease has cost since the job began; None where that is not known."""
        before = job.last_attempt.cost_before_micro if job.last_attempt else 0
        return None if self.cost_micro is None else max(0, self.cost_micro - before)

    def forget_lease(self) -> None:
        """Forget the lease, which has ended."""
        self.lease_id = self.lease_state = self.position = self.estimate_ms = self.reason = None
        self.cost_micro = self.rate_micro = None

    def _set(self, **values: Any) -> bool:
        changed = False
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)
                changed = True
        return changed
