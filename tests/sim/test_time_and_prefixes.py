"""Jumps of the clocks, reboots, and every prefix of a journal."""

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
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.sim.simulation import Simulation, simulate, simulated_host

pytestmark = pytest.mark.slow
TEN_YEARS_MS = 10 * 365 * 86_400_000


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    """Yield a simulation with an active lease, in which nothing happens by itself."""
    one = Simulation(0, tmp_path)
    with simulated_host(one.host):
        assert one.start()
        while not any(lease.state is LeaseState.ACTIVE for lease in one.observed.values()):
            one.request()
            one.run(1.0)
            one.check()
        yield one
        if one.services is not None:
            one._end_process()


def active(simulation: Simulation) -> tuple[str, int]:
    """Return an active lease and the time that it is billed for."""
    assert simulation.services is not None
    state = simulation.services.store.state
    lease = next(one for one in state.leases.values() if one.state is LeaseState.ACTIVE)
    return lease.id, meter.active_ms(lease, simulation.services.store.now().ms)


@pytest.mark.parametrize("jump_ms", [TEN_YEARS_MS, -TEN_YEARS_MS, 86_400_000, -86_400_000, -1])
@pytest.mark.parametrize("restarted", [False, True])
def test_bill_after_a_jump_of_the_wall_clock_is_unchanged(
    simulation: Simulation, jump_ms: int, restarted: bool
) -> None:
    _, before_ms = active(simulation)
    simulation.host.wall_offset_ms += jump_ms
    simulation.run(30.0)
    if restarted:
        simulation.crash()
        assert simulation.start()
    simulation.run(30.0)
    simulation.check()
    assert abs(active(simulation)[1] - before_ms - 60_000) <= 2


@pytest.mark.parametrize("restarted", [False, True])
def test_bill_of_a_suspended_host_excludes_the_suspended_time(simulation: Simulation, restarted: bool) -> None:
    _, before_ms = active(simulation)
    simulation.host.suspended_ms += 12 * 3_600_000
    if restarted:
        simulation.crash()
        assert simulation.start()
    simulation.run(30.0)
    simulation.check()
    assert abs(active(simulation)[1] - before_ms - 30_000) <= 2


def test_reboot_ends_leases_and_bills_no_time_after_it(simulation: Simulation) -> None:
    lease_id, _ = active(simulation)
    simulation.run(200.0)
    _, before_ms = active(simulation)
    simulation.crash()
    simulation.host.reboot()
    simulation.run(5000.0)
    assert simulation.start()
    simulation.run(5.0)
    simulation.check()
    assert simulation.services is not None
    lease = simulation.services.store.state.leases[lease_id]
    assert (lease.state, lease.end_reason) == (LeaseState.ENDED, EndReason.HOLDER_DIED)
    assert before_ms - 65_000 <= lease.active_ms <= before_ms


# -- prefixes of a journal --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Return the records that one simulation wrote."""
    return simulate(3, 600).records


def test_replay_of_every_prefix_of_a_journal_gives_a_sound_state(recorded: list[Record]) -> None:
    state = State()
    assert len(recorded) > 100
    for record in recorded:
        apply_all(state, record.events, record.at)
        assert not list(violations(state))
        assert decode_state(encode_state(state)) == state
        Pool(state).advance(record.at)  # the queue can be built wherever the journal ends


def test_recovery_from_any_prefix_continues_with_or_without_a_snapshot(recorded: list[Record], tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(25):
        length, taken = rng.randrange(1, len(recorded)), rng.randrange(1, len(recorded))
        journal = Journal(tmp_path / f"{number}.db")
        state = State()
        for seq, record in enumerate(recorded[:length], start=1):
            journal.append([Entry(record.at, record.events)])
            apply_all(state, record.events, record.at)
            if seq == taken:
                journal.snapshot(encode_state(state))
        assert replay(journal) == state
        assert replay(journal) == replay(journal)
        host = Simulation(number, tmp_path).host
        host.boots = int(state.boot_id.partition("-")[2] or 1)
        pool, _ = recover(journal, DriverAtStartup(host.driver()), host)
        recovered = pool.state
        assert not list(violations(recovered))
        assert set(state.leases) <= set(recovered.leases)
        journal.close()
        again = Journal(tmp_path / f"{number}.db")
        assert replay(again) == recovered
        again.close()
