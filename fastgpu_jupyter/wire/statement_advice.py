"""The advice that goes with a statement of the present month: smaller sizes for leases that are active now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .client import PoolClient
    from .schemas import AdviceView, LeaseView

#: A statement has advice for so many leases at most; each is asked for by itself.
IN_STATEMENT_MAX = 20


class LeaseAdvice(NamedTuple):
    """A lease and the advice on its size."""

    lease: LeaseView
    view: AdviceView


def advice_for_statement(client: PoolClient) -> list[LeaseAdvice]:
    """Return the caller's active leases whose notebook would do with a smaller size. Raises the client's errors."""
    measured = (lease for lease in client.leases() if lease["holder"]["notebook"] and not lease["holder"]["job"])
    active = [lease for lease in measured if lease["state"] == "active"]
    found = (LeaseAdvice(lease, client.advice(lease["id"])) for lease in active[:IN_STATEMENT_MAX])
    return [one for one in found if one.view["advice"] is not None]
