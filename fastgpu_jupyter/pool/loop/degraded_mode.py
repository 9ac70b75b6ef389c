"""What is still done while the journal cannot be written: releases are noted in the reserve, anything else is refused.

Nothing is granted here. What is acknowledged is durable: a pool manager that is killed now finds it at its next start.
"""

from __future__ import annotations

from ...core.decide import decide
from ...core.model import commands as c
from ...core.model.entities import EndReason, Instant, State
from ...core.model.events import Ticked
from ...core.pool import replay as apply_all
from ...errors import StoreFault
from ..journal.release_log import PreallocatedReleaseLog, Release
from ..journal.store import Entry, Journal

#: Room on the disk from which on it is worth a try: with less, one record would go through and the next would not.
ROOM_BYTES_MIN = 128 * 2**10
#: Why nothing is granted where the disk was full already at the start.
FULL_AT_START = (
    "The disk had no room for the journal when the pool manager started. Free or repair it; the pool then goes on by "
    "itself. Until then releases are accepted, but nothing new is granted."
)


def release(
    state: State, command: c.Command, at: Instant, release_log: PreallocatedReleaseLog | None, why: str, *, always: bool
) -> Entry:
    """What follows from giving a lease back, made durable; to be applied by the caller. Not for the loop's thread.

    ``always`` notes it even where ``state`` says that the lease is over, for a state that may be ahead of the disk.
    Raises :class:`StoreFault` where it is no release, or could not be made durable.
    """
    if release_log is None or not isinstance(command, (c.ReleaseLease, c.HolderEnded)):
        raise StoreFault(why)
    events = decide(state, command, at)
    if events or always:
        reason = command.reason if isinstance(command, c.ReleaseLease) else EndReason.HOLDER_DIED
        try:
            release_log.note(Release(command.lease_id, reason, at))
        except StoreFault as fault:
            raise StoreFault(
                f"The lease is not released, because that could not be written down: {fault} It ends with its kernel, "
                "or release it again once the disk has room."
            ) from fault
    return Entry(at, events, None, command.lease_id)


def unwritten_entries(state: State, release_log: PreallocatedReleaseLog | None, at: Instant) -> list[Entry]:
    """What the journal is owed, all of which ``state`` has: at least that time passed.

    An empty write would prove nothing. What is owed stays the same, but for what is put behind it, until it is written:
    a write that is reported as failed may be there, and is known again by its records.
    """
    entries = release_log.pending_entries if release_log else []
    if not any(entry.events for entry in entries):
        tick = Entry(at, [Ticked()])
        apply_all(state, tick.events, at)
        entries.append(tick)
    return list(entries)


def catch_up(journal: Journal, release_log: PreallocatedReleaseLog | None, entries: list[Entry]) -> None:
    """Write what the journal is owed. Raises :class:`StoreFault` where it still cannot be written."""
    journal.require_room(ROOM_BYTES_MIN)
    journal.append(entries)
    if release_log:
        release_log.clear()
