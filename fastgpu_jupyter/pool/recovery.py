"""From the journal to a state that may be served: replay, verify, check, and reconcile with the host.

Nothing is granted before all of it is done. Dead holders are found right after, when the runtime takes up watching
them: each is identified anew by boot, number, start time and pidfd.
"""

from __future__ import annotations

from ..core import commands as c
from ..core.invariants import violations
from ..core.model import Instant, State
from ..core.pool import Pool
from ..core.pool import replay as apply_all
from ..errors import InternalError
from .devices.driver import Driver
from .host.clock import Clock
from .journal.codec import decode_state
from .journal.store import Entry, Journal

#: Up to so many records the whole chain is verified before anything is served; a longer one while it is served.
VERIFY_FIRST_MAX = 50_000


def replay(journal: Journal) -> State:
    """The state that the journal's records add up to, from its newest snapshot on where there is one.

    Raises :class:`~fastgpu_jupyter.errors.StoreFault`.
    """
    usable = ((seq, decode_state(payload)) for seq, payload in journal.snapshots())
    after, state = next(((seq, state) for seq, state in usable if state is not None), (0, State()))
    for record in journal.replay(after):
        apply_all(state, record.events, record.at)
    return state


def recover(journal: Journal, driver: Driver, clock: Clock) -> tuple[State, str | None]:
    """The state to serve, and what the driver says where it has no devices. What follows is journalled."""
    state = replay(journal)
    if journal.seq <= VERIFY_FIRST_MAX:
        journal.verify()
    broken = list(violations(state))
    if broken:
        raise InternalError(f"The journal {journal.path} adds up to something impossible: {broken[0]}.")
    specs, message = driver.inventory()
    boot_id, boot_ms, wall_ms = clock.boot_id(), clock.boot_ms(), clock.wall_ms()
    same_boot = boot_id == state.boot_id
    ms = max(state.last.ms, boot_ms - state.clock_epoch_ms) if same_boot else state.last.ms
    at = Instant(ms, wall_ms)
    pool = Pool(state)
    entries = [
        Entry(at, pool.execute(command, at)) for command in (c.StartPool(boot_id, boot_ms), c.SetDevices(tuple(specs)))
    ]
    journal.append(entries)
    return state, message
