"""Reservations of host memory for leases that are being parked.

Each is made when what the lease uses is known, and counts until the lease is parked, or is not parked any more: what it
takes then is in the state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...core.model.entities import State
from ...core.model.lifecycle import LeaseState
from ...errors import HostFault, Message


class HostMemoryReservations:
    """The host memory that parked leases may take, shared out among those that are being parked now.

    ``state_of`` returns the present state. Safe to use from the threads that move memory.
    """

    def __init__(self, state_of: Callable[[], State]) -> None:
        self._state_of = state_of
        self._reserved: dict[str, int] = {}  #: by lease, in bytes
        self._lock = threading.Lock()

    def reserve(self, lease_id: str, needed_bytes: int) -> None:
        """Reserve memory for a lease. Raises :class:`HostFault` where parked leases may not take so much more."""
        state = self._state_of()
        most_bytes = state.policy.parked_bytes_max
        with self._lock:
            others_bytes = 0
            for other_id in [one for one in self._reserved if one != lease_id]:
                other = state.leases.get(other_id)
                if other is not None and other.state is LeaseState.PARKING:
                    others_bytes += self._reserved[other_id]
                else:
                    del self._reserved[other_id]
            left_bytes = None if most_bytes is None else max(0, most_bytes - state.parked_bytes - others_bytes)
            if left_bytes is not None and needed_bytes > left_bytes:
                self._reserved.pop(lease_id, None)
                raise HostFault(
                    Message.of("parking.host_memory_short", needed_bytes=needed_bytes, left_bytes=left_bytes)
                )
            self._reserved[lease_id] = needed_bytes
