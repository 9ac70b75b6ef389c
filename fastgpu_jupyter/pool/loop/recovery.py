"""From the journal to a state that may be served: replay, verify, check, and reconcile with the host.

Nothing is granted before all of it is done. Dead holders are found right after, when the runtime takes up watching
them: each is identified anew by boot, number, start time and pidfd.
"""

from __future__ import annotations

from contextlib import suppress

from ...core.decide import decide
from ...core.lease.invariants import violations
from ...core.model import commands as c
from ...core.model.entities import Health, Instant, Policy, State
from ...core.model.lifecycle import HOLDING_CAPACITY
from ...core.pool import Pool
from ...core.pool import replay as apply_all
from ...errors import HostFault, InternalError, NotFound, StoreFault
from ..devices.driver import Driver
from ..devices.selection import START_S
from ..effects.executor import NO_ANSWER
from ..host import machine
from ..host.clock import Clock
from ..host.threads import call_with_timeout
from ..journal.codec import decode_state
from ..journal.release_log import PreallocatedReleaseLog, Release
from ..journal.store import Entry, Journal

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


def recover(
    journal: Journal,
    driver: Driver,
    clock: Clock,
    release_log: PreallocatedReleaseLog | None = None,
    policy: Policy | None = None,
) -> tuple[Pool, str | None]:
    """The pool to serve, and what the driver says where it has no devices. What follows is journalled.

    Where the disk has no room for that, it is served all the same, with nothing new granted: ``release_log`` then
    has what the journal is owed.
    """
    state = replay(journal)
    if journal.seq <= VERIFY_FIRST_MAX:
        journal.verify()
    broken = list(violations(state))
    if broken:
        raise InternalError(f"The journal {journal.path} adds up to something impossible: {broken[0]}.")
    boot_id, boot_ms = clock.boot_id(), clock.boot_ms()
    holding = (lease.logical_gpu for lease in state.leases.values() if lease.state in HOLDING_CAPACITY)
    driver.adopt([gpu for gpu in holding if gpu is not None])
    devices, message = _look(driver, state)
    # Devices that are not to be granted are known as such before anything is.
    distrusted = [command for command in devices if isinstance(command, c.SetHealth)]
    shown = [command for command in devices if command not in distrusted]
    begin = c.StartPool(boot_id, boot_ms)
    start = (*distrusted, begin, c.SetPolicy(policy or Policy()), *shown)
    released = release_log.read() if release_log else []
    entries = _take_back(state, released)
    same_boot = boot_id == state.boot_id
    ms = max(state.last.ms, boot_ms - state.clock_epoch_ms) if same_boot else state.last.ms
    at = Instant(ms, clock.wall_ms())
    pool = Pool(state)
    try:
        journal.append([*entries, *(Entry(at, pool.execute(command, at)) for command in start)])
    except StoreFault:
        if release_log is None:
            raise
        # The same once more, but nobody is granted what the journal does not know of, and nobody loses what a device
        # that is missing now may show again before the journal knows of it: the runtime looks again by then.
        state = replay(journal)
        release_log.pending_entries = [*_take_back(state, released), _without_grants(state, begin, at)]
        pool = Pool(state)
    else:
        if release_log is not None:
            with suppress(StoreFault):
                release_log.clear()
    return pool, message


def _look(driver: Driver, state: State) -> tuple[list[c.Command], str | None]:
    """What to say of the devices, and what the driver has to say.

    A driver that does not answer says nothing: the devices stay, and nothing is granted on them until it does.
    """
    try:
        specs, message = call_with_timeout(START_S, driver.inventory, NO_ANSWER)
    except HostFault as error:
        return [c.SetHealth(name, Health.SUSPECT, NO_ANSWER, stays=True) for name in state.devices], str(error)
    silent = [device.spec.id for device in state.devices.values() if device.health_reason == NO_ANSWER]
    trusted = [c.SetHealth(device_id, Health.HEALTHY) for device_id in silent]
    return [*trusted, c.SetDevices(tuple(specs), (machine.spec(),))], message


def _take_back(state: State, released: list[Release]) -> list[Entry]:
    """Apply releases that were acknowledged while the journal could not be written."""
    entries = []
    for release in released:
        # The journal may have it already, and have gone on since.
        at = Instant(max(release.at.ms, state.last.ms), release.at.wall_ms)
        try:
            entry = _without_grants(state, c.ReleaseLease(release.lease_id, release.reason), at)
        except NotFound:
            continue  # forgotten, or cut off with the damage that it was in
        entries += [entry] if entry.events else []
    return entries


def _without_grants(state: State, command: c.Command, at: Instant) -> Entry:
    events = decide(state, command, at)
    apply_all(state, events, at)
    return Entry(at, events)
