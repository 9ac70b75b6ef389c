"""What would become of a request if it were decided on now, whether it waits or would only begin to wait."""

from __future__ import annotations

from typing import NamedTuple

from ..accounting.reservations import ReservationGuard
from ..model.entities import State
from ..placement.device_share import Devices
from .backfill import BackfillReservations
from .rank import Rank


class QueueContext(NamedTuple):
    """The rank of a request in the queue, and what it must leave alone because of that."""

    rank: Rank
    guard: ReservationGuard
    reserved: BackfillReservations
    blocked: bool  #: a request that comes before it keeps its tenant at a limit
    devices: State  #: a state with a device of each kind


class ExpectedDecision(NamedTuple):
    """What would become of a request now; it waits where neither ``devices`` nor ``parks`` is set."""

    devices: Devices | None = None  #: it would be granted these at once
    has_room: bool = False  #: it would be granted at once if no request came before it
    parks: bool = False  #: leases would be parked for it
