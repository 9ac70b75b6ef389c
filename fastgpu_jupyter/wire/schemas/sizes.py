"""The schemas of the sizes that a request or a lease can have, with what each costs and what choosing it does."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from ...core.model.size import OPTIONS_MAX, SizeEffect
from .common import Count, EnforcementName, MechanismName, MessageView, Positive, one_of

SizeEffectName = Annotated[str, one_of(SizeEffect)]


class EstimateView(TypedDict):
    """The expected wait and its basis; ``wait_ms`` is ``null`` if there is no estimate."""

    wait_ms: Count | None
    basis: MessageView


class SizeModelView(TypedDict):
    """The devices of one model and memory that the pool has, in use or not."""

    model: str
    devices: Positive
    memory_bytes: Count


class SizeOption(TypedDict):
    """One size, and what choosing it now does.

    ``size`` is the text to request or to resize to. ``memory_bytes`` is the memory of all its devices together, and
    ``rate_micro`` its rate per hour; both are of the device that it would be on, or of every device that could serve
    it, ``rate_micro`` being ``null`` if these differ. ``model`` and ``mechanism`` are ``null`` likewise. ``effect``:

    * ``now``: it is granted at once;
    * ``after_parking``: idle leases are parked for it first;
    * ``needs_restart``: only another kernel process can have it, and resizing is refused;
    * ``queued``: it waits, at ``position`` of the queue;
    * ``unavailable``: it is refused, for ``reason``.
    """

    size: str
    devices: Positive
    model: str | None
    memory_bytes: Count
    rate_micro: Count | None
    effect: SizeEffectName
    reason: MessageView | None
    position: Count | None
    estimate: EstimateView | None
    mechanism: MechanismName | None
    enforcement: EnforcementName | None


class SizeOptions(TypedDict):
    """The sizes that a new request or a lease can have, ordered by memory.

    ``applied`` is the size that the lease has, ``null`` while it has no logical GPU; ``requested`` the size that it
    asks for. ``models`` are all devices of the pool.
    """

    lease_id: str | None
    applied: str | None
    requested: str | None
    models: list[SizeModelView]
    options: Annotated[list[SizeOption], msgspec.Meta(max_length=OPTIONS_MAX)]
