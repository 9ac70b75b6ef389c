"""Recovery: from the journal to a state that may be served, by replay, verification, checks and reconciliation.

Nothing is granted before all of it is done. Holders that ended meanwhile are found right after, when they are watched
again: each is identified by boot, number, start time and pidfd.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from ...core.decide import decide
from ...core.lease.invariants import violations
from ...core.model import commands as c
from ...core.model.entities import Instant, Policy, State
from ...core.model.lifecycle import HOLDING_CAPACITY
from ...core.pool import Pool
from ...core.pool import replay as apply_all
from ...errors import InternalError, Message, NotFound, StoreFault
from ..journal.archive import ArchiveDamaged
from ..journal.release_log import PreallocatedReleaseLog, Release
from ..journal.store import Entry, Journal
from ..protocols import Clock, StartupInventory
from .faults import FaultState

log = logging.getLogger("fastgpu.pool")
#: Up to this number of records they are all verified before anything is served; more are verified while it is served.
#: Those in the archive always are, because the state does not depend on them.
VERIFY_FIRST_MAX = 50_000


def replay(journal: Journal) -> State:
    """Return the state that the journal's records add up to, from its newest usable snapshot on.

    Raises :class:`~fastgpu_jupyter.errors.StoreFault`.
    """
    after, state = journal.newest_snapshot()
    for record in journal.replay(after):
        apply_all(state, record.events, record.at)
    return state


def recover(
    journal: Journal,
    inventory: StartupInventory,
    clock: Clock,
    release_log: PreallocatedReleaseLog | None = None,
    policy: Policy | None = None,
) -> tuple[Pool, Message | None]:
    """Return the pool to serve, and the driver's message if it has no devices. What was decided is in the journal.

    If the disk has no room for that, the pool is served all the same, with nothing new granted: ``release_log`` then
    has the entries that the journal lacks.
    """
    state = replay(journal)
    if journal.unarchived <= VERIFY_FIRST_MAX:
        journal.verify(archive=False)
    broken = list(violations(state))
    if broken:
        raise InternalError(f"The journal {journal.path} adds up to something impossible: {broken[0]}.")
    boot_id, boot_ms = clock.boot_id(), clock.boot_ms()
    holding = (lease.logical_gpu for lease in state.leases.values() if lease.state in HOLDING_CAPACITY)
    inventory.adopt([gpu for gpu in holding if gpu is not None and gpu.cluster is None])
    devices, message = inventory.observe(state)
    begin, same_boot = c.StartPool(boot_id, boot_ms), boot_id == state.boot_id
    beginning = (begin, c.SetPolicy(policy or Policy()))
    # Missing devices are recorded before anything is granted; after a boot no lease is left that could be granted.
    start = (*devices, *beginning) if same_boot else (*beginning, *devices)
    released = release_log.read() if release_log else []
    entries = _apply_releases(state, released)
    ms = max(state.last.ms, boot_ms - state.clock_epoch_ms) if same_boot else state.last.ms
    at = Instant(ms, clock.wall_ms())
    pool = Pool(state)
    try:
        journal.append([*entries, *(Entry(at, pool.execute(command, at)) for command in start)])
    except StoreFault:
        if release_log is None:
            raise
        # Decide again without grants, because no lease may be granted what the journal does not know. The devices are
        # left as they were: one that is missing now may be back before the journal can record it.
        state = replay(journal)
        release_log.defer([*_apply_releases(state, released), _decide_without_grants(state, begin, at)])
        pool = Pool(state)
    else:
        if release_log is not None:
            with suppress(StoreFault):
                release_log.clear()
    return pool, message


async def verify(journal: Journal, faults: FaultState) -> None:
    """Verify what :func:`recover` did not. Damage stops new grants; in the archive it is only logged."""
    if journal.seq <= VERIFY_FIRST_MAX and journal.seq == journal.unarchived:
        return
    try:
        await asyncio.to_thread(journal.verify)
    except ArchiveDamaged as damage:
        log.error("%s", damage)  # noqa: TRY400 (its sentence says it all)
    except StoreFault as damage:
        faults.stop_grants(str(damage))


def _apply_releases(state: State, released: list[Release]) -> list[Entry]:
    """Apply releases that were acknowledged while the journal could not be written."""
    entries = []
    for release in released:
        # The journal may have it already, and later events.
        at = Instant(max(release.at.ms, state.last.ms), release.at.wall_ms)
        try:
            entry = _decide_without_grants(state, c.ReleaseLease(release.lease_id, release.reason), at)
        except NotFound:
            continue  # forgotten, or cut off with the damage that it was in
        entries += [entry] if entry.events else []
    return entries


def _decide_without_grants(state: State, command: c.Command, at: Instant) -> Entry:
    events = decide(state, command, at)
    apply_all(state, events, at)
    return Entry(at, events)
