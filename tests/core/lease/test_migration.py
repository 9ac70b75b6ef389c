"""Leases leave a GPU that is not well: with their memory by themselves, without it only if they are asked to."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import device_health, migration
from fastgpu_jupyter.core.lease.migration import MigrationOption
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import effects as fx
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import Health, Lease, ParkReason, Retention
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import Conflict, Message
from tests.core.world import World, holder, mig_spec, spec, text
from tests.refusals import refused


def ill(world: World, lease: Lease) -> str:
    assert lease.logical_gpu is not None
    world.do(c.SetHealth(lease.logical_gpu.device_id, Health.SUSPECT, Message.of_text("An ECC error.")))
    return lease.logical_gpu.device_id


def devices() -> tuple[World, Lease]:
    """A lease of a partition, on one of two devices."""
    world = World(mig_spec("one"), mig_spec("two", index=1))
    lease = world.active("a", "half")
    ill(world, lease)
    return world, lease


def test_a_partition_is_offered_another_and_nothing_happens_that_is_not_asked_for() -> None:
    world, lease = devices()
    assert (lease.state, migration.migration_option(world.state, lease)) == (LeaseState.ACTIVE, MigrationOption.RESTART)
    said = text(device_health.message(world.state, lease))
    assert "`%fastgpu migrate` or `jupyter fastgpu migrate a`" in said
    assert "the kernel must then be restarted, and what it has on this one is lost" in said
    assert "Nothing is moved unless you ask for it" in said
    world.pass_time(600_000)
    assert (lease.state, lease.migration_requested) == (LeaseState.ACTIVE, False)
    world.do(c.BindHolder("a", holder(50)))  # a restart for another reason
    assert lease.state is LeaseState.ACTIVE


def test_what_was_asked_for_happens_at_the_restart_with_the_same_id() -> None:
    world, lease = devices()
    before = lease.logical_gpu
    assert before is not None
    assert [type(one) for one in world.do(c.MigrateLease("a"))] == [e.LeaseMigrationRequested]
    assert world.do(c.MigrateLease("a")) == []
    assert (lease.state, migration.migration_option(world.state, lease)) == (
        LeaseState.ACTIVE,
        MigrationOption.ACCEPTED,
    )
    assert "goes to another GPU when the kernel is restarted" in text(device_health.message(world.state, lease))

    old = lease.holder
    events = world.do(c.BindHolder("a", holder(50)))
    assert (lease.state, lease.park_reason, lease.migration_requested) == (
        LeaseState.PARKING,
        ParkReason.RESTART,
        False,
    )
    assert fx.Vacate("a", before, old) in list(fx.effects(world.state, events))
    assert fx.Vacate("a", before, old) in list(fx.outstanding(world.state)), "and after a crash, too"
    assert lease.parked_bytes == 0
    world.parked("a", 0)
    assert lease.logical_gpu is not None
    assert (lease.state, lease.logical_gpu.device_id != before.device_id) == (LeaseState.PREPARING, True)
    world.prepared("a")
    assert (lease.state, lease.image, lease.id) == (LeaseState.ACTIVE, None, "a")
    assert migration.migration_option(world.state, lease) is None


def test_it_goes_before_everybody_else() -> None:
    world, lease = devices()
    world.do(c.MigrateLease("a"))
    world.do(c.BindHolder("a", holder(50)))
    for name in ("b", "c", "d"):
        world.ask(name, "half")
    world.parked("a", 0)
    assert (lease.state, world.states()["d"]) == (LeaseState.WAITING, "waiting")
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    assert (lease.state, world.states()["d"]) == (LeaseState.PREPARING, "waiting")


def test_where_nothing_has_room_it_is_refused_and_keeps_what_it_has() -> None:
    world = World(mig_spec("one"), mig_spec("two", index=1))
    lease = world.active("a", "full")
    world.active("b", "1g.10gb")
    ill(world, lease)
    with refused(Conflict, match=r"has room now\. Nothing was changed: it keeps what it has"):
        world.do(c.MigrateLease("a"))
    world.do(c.ReleaseLease("b"))
    world.drained("b")
    world.do(c.MigrateLease("a"))
    world.active("c", "1g.10gb")  # and now there is none again
    world.do(c.BindHolder("a", holder(50)))
    assert (lease.state, lease.migration_requested) == (LeaseState.ACTIVE, True)


def test_where_its_gpu_is_well_there_is_no_reason_to() -> None:
    world = World(mig_spec("one"), mig_spec("two", index=1))
    lease = world.active("a", "half")
    with refused(Conflict, match="is healthy and in service"):
        world.do(c.MigrateLease("a"))
    assert lease.logical_gpu is not None
    world.do(c.DrainDevice(lease.logical_gpu.device_id, drained=True))
    assert migration.migration_option(world.state, lease) is MigrationOption.RESTART
    world.do(c.MigrateLease("a"))
    assert lease.migration_requested
    waiting = world.ask("b", "2g.20gb")
    if waiting.state is LeaseState.PREPARING:
        with refused(Conflict, match="is preparing cannot be moved"):
            world.do(c.MigrateLease("b"))


def test_one_that_is_pinned_goes_with_its_memory_once_its_user_says_so() -> None:
    world = World(spec("one", parkable=True), spec("two", index=1, parkable=True))
    lease = world.active("a", retention=Retention.HOLD)
    ill(world, lease)
    assert (lease.state, migration.migration_option(world.state, lease)) == (LeaseState.ACTIVE, MigrationOption.LIVE)
    assert "moves it there" in text(device_health.message(world.state, lease))
    world.do(c.MigrateLease("a"))
    assert (lease.state, lease.park_reason) == (LeaseState.PARKING, ParkReason.HEALTH)
    world.parked("a", 5)
    world.resumed("a")
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.device_id == "two"


def test_a_whole_gpu_that_cannot_be_parked_is_left_at_the_restart_for_any_that_serves() -> None:
    world = World(spec("one", whole_only=True), mig_spec("two", index=1))
    lease = world.active("a")
    ill(world, lease)
    world.do(c.MigrateLease("a"))
    world.do(c.BindHolder("a", holder(50)))
    world.parked("a", 0)
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.partition is not None
    assert lease.logical_gpu.partition.profile == "7g.80gb"


def test_a_lease_that_ends_on_its_way_ends() -> None:
    world, lease = devices()
    world.do(c.MigrateLease("a"))
    world.do(c.BindHolder("a", holder(50)))
    world.do(c.ReleaseLease("a"))
    assert lease.state is LeaseState.DRAINING
    generation = lease.logical_gpu.generation if lease.logical_gpu else 0
    assert world.do(c.ParkSucceeded("a", generation, 0)) == []
    world.drained("a")
    assert world.state_of("a") is LeaseState.ENDED
