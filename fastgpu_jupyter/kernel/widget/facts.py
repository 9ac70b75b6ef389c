"""What a widget's traits say of a lease, as one record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...units import MS_PER_HOUR
from ...wire.lease_view import position_of
from ..gate import Gate

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView


class LeaseFacts(NamedTuple):
    """The values of the traits of :class:`~.gpu_widget.GPUWidget`, which documents them; None where not known."""

    state: str | None = None
    size: str | None = None
    position: int | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    utilization: int | None = None
    cost: float | None = None
    cost_per_hour: float | None = None
    currency: str | None = None
    problem: str | None = None
    host: str | None = None
    ends_at: int | None = None


def facts_of(gate: Gate, now_ms: int) -> LeaseFacts:
    """Return what is known of the lease of ``gate`` at ``now_ms``, in milliseconds since 1970.

    While the pool manager does not answer, readings are unknown, and the cost is what it was.
    """
    view, problem = gate.view, gate.pool_error
    if view is None:
        return LeaseFacts(problem=problem)
    money, answers = view["money"], problem is None
    cluster = view.get("cluster")
    return LeaseFacts(
        state=view["state"],
        size=view["request"]["size"],
        position=position_of(view),
        memory_bytes=view["memory"]["used_bytes"] if answers else None,
        memory_limit_bytes=view["memory"]["limit_bytes"],
        utilization=view["usage"]["utilization_percent"] if answers else None,
        cost=_cost_micro(view, now_ms if answers else 0) / 1_000_000,
        cost_per_hour=money["billed_micro_per_hour"] / 1_000_000,
        currency=money["currency"],
        problem=problem,
        host=None if cluster is None else cluster["host"],
        ends_at=None if cluster is None else cluster["ends_at"],
    )


def _cost_micro(view: LeaseView, now_ms: int) -> int:
    money = view["money"]
    since_ms = max(0, now_ms - money["cost_at"])
    return money["cost_micro"] + money["billed_micro_per_hour"] * since_ms // MS_PER_HOUR
