"""Clocks that jump leave the bill alone, a reboot ends what it must, and every beginning of a journal is a journal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.core.accounting import meter
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model.entities import EndReason, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.core.pool import replay as apply_all
from fastgpu_jupyter.pool.journal.codec import Record, decode_state, encode_state
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from tests.sim.story import Story, played, tell

pytestmark = pytest.mark.slow
TEN_YEARS_MS = 10 * 365 * 86_400_000


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """One active lease, and nothing that goes wrong by itself."""
    one = Story(0, tmp_path)
    with played(one.host):
        assert one.start()
        while not any(known.state is LeaseState.ACTIVE for known in one.known.values()):
            one.request()
            one.run(1.0)
            one.check()
        yield one
        if one.runtime is not None:
            one._die()


def active(story: Story) -> tuple[str, int]:
    """An active lease, and what it is billed."""
    assert story.runtime is not None
    state = story.runtime._pool.state
    lease = next(one for one in state.leases.values() if one.state is LeaseState.ACTIVE)
    return lease.id, meter.active_ms(lease, story.runtime.now().ms)


@pytest.mark.parametrize("jump_ms", [TEN_YEARS_MS, -TEN_YEARS_MS, 86_400_000, -86_400_000, -1])
@pytest.mark.parametrize("restarted", [False, True])
def test_the_wall_clock_bills_nothing(story: Story, jump_ms: int, restarted: bool) -> None:
    _, before_ms = active(story)
    story.host.wall_offset_ms += jump_ms
    story.run(30.0)
    if restarted:
        story.crash()
        assert story.start()
    story.run(30.0)
    story.check()
    assert abs(active(story)[1] - before_ms - 60_000) <= 2


def test_a_suspended_host_is_billed_for_what_it_held(story: Story) -> None:
    _, before_ms = active(story)
    story.host.suspended_ms += 3_600_000
    story.run(1.0)
    story.check()
    assert abs(active(story)[1] - before_ms - 3_601_000) <= 2


def test_a_new_boot_ends_leases_and_never_bills_what_nobody_held(story: Story) -> None:
    lease_id, _ = active(story)
    story.run(200.0)
    _, before_ms = active(story)
    story.crash()
    story.host.reboot()
    story.run(5000.0)
    assert story.start()
    story.run(5.0)
    story.check()
    assert story.runtime is not None
    lease = story.runtime._pool.state.leases[lease_id]
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.HOLDER_DIED)
    assert before_ms - 65_000 <= lease.active_ms <= before_ms


# -- M4 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """What one story wrote."""
    return tell(3, 600).records


def test_every_beginning_of_a_journal_replays_to_a_sound_state(recorded: list[Record]) -> None:
    state = State()
    assert len(recorded) > 100
    for record in recorded:
        apply_all(state, record.events, record.at)
        assert not list(violations(state))
        assert decode_state(encode_state(state)) == state
        Pool(state).advance(record.at)  # who waits can be put in line, wherever the journal ends


def test_a_pool_goes_on_from_any_beginning_with_or_without_a_snapshot(recorded: list[Record], tmp_path: Path) -> None:
    drawn = random.Random(5)
    for number in range(25):
        length, taken = drawn.randrange(1, len(recorded)), drawn.randrange(1, len(recorded))
        journal = Journal(tmp_path / f"{number}.db")
        state = State()
        for seq, record in enumerate(recorded[:length], start=1):
            journal.append([Entry(record.at, record.events)])
            apply_all(state, record.events, record.at)
            if seq == taken:
                journal.snapshot(encode_state(state))
        assert replay(journal) == state
        assert replay(journal) == replay(journal)
        host = Story(number, tmp_path).host
        host.boots = int(state.boot_id.partition("-")[2] or 1)
        pool, _ = recover(journal, host.driver(), host)  # type: ignore[arg-type]
        going_on = pool.state
        assert not list(violations(going_on))
        assert set(state.leases) <= set(going_on.leases)
        journal.close()
        again = Journal(tmp_path / f"{number}.db")
        assert replay(again) == going_on
        again.close()
