"""The placer agrees with the state, and it finds room exactly where a scan over all devices does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    DeviceSpec,
    ExistingPartition,
    Health,
    HostSpec,
    Instant,
    Isolation,
    LeaseRequest,
    Mechanism,
    Priority,
    Requirements,
    State,
    requirements_of,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.size import parse_size
from fastgpu_jupyter.core.placement import capacity_index, logical_gpus
from fastgpu_jupyter.core.placement.placer import SHADOW_PRICES_EVERY, Placer
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.core.scheduling import queue_report
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.units import GIB
from tests.core.placement import naive_placement
from tests.core.world import BOOT, World, holder, mig_spec, spec

HOSTS = tuple(HostSpec(f"host-{number}", 16_000, 64 * GIB) for number in range(3))
DEVICE_KINDS = {
    "A100-80GB": (80 * GIB, (Mechanism.EXCLUSIVE, Mechanism.SHARED), 3_600_000, True),
    "L4": (24 * GIB, (Mechanism.EXCLUSIVE, Mechanism.SHARED), 800_000, False),
    "H100": (80 * GIB, (Mechanism.EXCLUSIVE,), 9_000_000, True),  # leased whole
}
#: Devices in MIG mode, with and without existing partitions.
MIG = {
    "mig": (),
    "mig with two": (ExistingPartition("2g.20gb", 4), ExistingPartition("1g.10gb", 3)),
    "mig in threes": (ExistingPartition("3g.40gb", 0), ExistingPartition("3g.40gb", 4, usable=False)),
}
SIZES = (
    "full", "half", "quarter", "any:3/8", "any:2/3", "20GiB", "24GiB", "a100", "l4:1/2", "h100", "2xany", "2xh100",
    "a100|l4:12GiB", "any>=40GiB", "any:1/8", "1g.10gb", "a100:2g.20gb", "1g.10gb+me", "9GiB",
)  # fmt: skip
REQUESTS = st.builds(
    LeaseRequest,
    profile=st.sampled_from(SIZES),
    memory_bytes=st.none(),
    kernel_id=st.none(),
    notebook=st.none(),
    priority=st.sampled_from([Priority.NORMAL, Priority.NORMAL, Priority.HIGH]),
    isolation=st.sampled_from([Isolation.NONE, Isolation.NONE, Isolation.HARDWARE]),
    parkable=st.sampled_from([None, None, True]),
    resizable=st.sampled_from([None, None, True]),
    cpu_milli=st.sampled_from([0, 0, 4000, 12_000]),
    host_memory_bytes=st.sampled_from([0, 0, 30 * GIB]),
    rate_micro_per_hour_max=st.sampled_from([None, None, 1_000_000]),
)


def device(name: str, model: str, host_id: str, index: int) -> DeviceSpec:
    if model in MIG:
        return mig_spec(name, index=index, host_id=host_id, existing_partitions=MIG[model])
    memory_bytes, mechanisms, rate, parkable = DEVICE_KINDS[model]
    return DeviceSpec(name, index, model, memory_bytes, False, mechanisms, rate, host_id, parkable)  # noqa: FBT003


class PlacerOfAnyHistory(RuleBasedStateMachine):
    """Requests, releases, resizes and device changes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.few_hosts = capacity_index.REFERENCE_HOSTS_MAX
        self.pool = Pool(State())
        self.now_ms = 0
        self.count = 0
        self.specs: list[DeviceSpec] = []

    def do(self, command: c.Command) -> None:
        self.now_ms += 1000
        self.pool.execute(command, Instant(self.now_ms, self.now_ms))

    @initialize(models=st.lists(st.sampled_from([*DEVICE_KINDS, *MIG]), min_size=1, max_size=8), few=st.booleans())
    def start(self, models: list[str], few: bool) -> None:
        capacity_index.REFERENCE_HOSTS_MAX = self.few_hosts if few else 0  # 0: as in a large pool
        self.do(c.StartPool(BOOT, 0))
        for number, model in enumerate(models):
            self.specs.append(device(f"gpu-{number}", model, ("host-0", "host-1", "unknown")[number % 3], number))
        self.do(c.SetDevices(tuple(self.specs), HOSTS))

    def teardown(self) -> None:
        capacity_index.REFERENCE_HOSTS_MAX = self.few_hosts

    @rule(request=REQUESTS, tenant=st.sampled_from(["ann", "bob", "eve"]))
    def ask(self, request: LeaseRequest, tenant: str) -> None:
        self.count += 1
        try:
            self.do(c.RequestLease(f"lease-{self.count}", tenant, request, holder(self.count), "0" * 64))
        except FastGPUError:
            return

    @rule(data=st.data())
    def continue_lease(self, data: st.DataObject) -> None:
        """Report the next step of a lease, or change an active one."""
        leases = [lease for lease in self.pool.state.leases.values() if lease.state is not LeaseState.ENDED]
        if not leases:
            return
        lease = data.draw(st.sampled_from(leases))
        generation = lease.logical_gpu.generation if lease.logical_gpu else 0
        commands: dict[LeaseState, c.Command] = {
            LeaseState.PREPARING: c.PrepareSucceeded(lease.id, generation),
            LeaseState.DRAINING: c.DrainSucceeded(lease.id, generation),
            LeaseState.PARKING: c.ParkSucceeded(lease.id, generation, GIB),
            LeaseState.PARKED: c.ResumeLease(lease.id),
            LeaseState.RESUMING: c.ResumeSucceeded(lease.id, generation),
        }
        if lease.state is LeaseState.ACTIVE:
            size = data.draw(st.sampled_from(SIZES))
            options: list[c.Command] = [c.ReleaseLease(lease.id), c.ResizeLease(lease.id, size)]
            options += [c.ParkLease(lease.id), c.TransferLease(lease.id, "eve")]
            command: c.Command = data.draw(st.sampled_from(options))
        else:
            command = commands.get(lease.state) or c.ReleaseLease(lease.id)
        try:
            self.do(command)
        except FastGPUError:
            return

    @rule(data=st.data(), drained=st.booleans(), health=st.sampled_from(Health))
    def change_availability(self, data: st.DataObject, drained: bool, health: Health) -> None:
        """Drain a device or change its health."""
        name = data.draw(st.sampled_from([spec.id for spec in self.specs]))
        if name in self.pool.state.devices:
            self.do(c.DrainDevice(name, drained))
            self.do(c.SetHealth(name, health))

    @rule(data=st.data())
    def show_devices(self, data: st.DataObject) -> None:
        """Show only some devices, or all again."""
        shown = data.draw(st.lists(st.sampled_from(self.specs), unique=True))
        self.do(c.SetDevices(tuple(shown), HOSTS))

    @rule(limit=st.sampled_from([None, 500, 2000]), tenant=st.sampled_from(["ann", "bob"]))
    def limit(self, limit: int | None, tenant: str) -> None:
        """Change the limit of a tenant."""
        self.do(c.SetTenant(tenant, 100, limit))

    @rule()
    def tick(self) -> None:
        self.do(c.Tick())

    @invariant()
    def index_agrees_with_the_state(self) -> None:
        state = self.pool.state
        assert list(violations(state)) == []
        rebuilt = Placer(state)
        mirror = self.pool._scheduler
        if mirror._outdated:
            return
        for host in rebuilt.index.hosts():
            mine = mirror._placer.index.host(host.id)
            assert (mine.free_cpu_milli, mine.free_memory_bytes) == (host.free_cpu_milli, host.free_memory_bytes)
            for name, one in host.devices.items():
                assert (mine.devices[name].free, mine.devices[name].grantable) == (one.free, one.grantable)

    @invariant()
    def place_finds_room_exactly_where_a_scan_does(self) -> None:
        state = self.pool.state
        placer = Placer(state)
        for size in SIZES:
            for requirements in (
                Requirements(parse_size(size)),
                Requirements(parse_size(size), cpu_milli=4000, host_memory_bytes=30 * GIB),
            ):
                demand = placer.demand(requirements)
                found = placer.place(requirements, demand, {}) if demand else None
                assert (found is None) == (naive_placement.find_devices(state, requirements) is None), requirements
                if found is not None:
                    devices = placer.devices(found)
                    assert {d.spec.host_id for d in devices} == {found.host_id}
                    part = logical_gpus.make_logical_gpu(requirements, devices, 1).partition
                    if part is not None:
                        assert (part.profile, part.start) in naive_placement.starts(devices[0], requirements)

    @invariant()
    def first_request_is_served_by_a_tick_where_there_is_room(self) -> None:
        """Nothing is reserved for a request that comes before the first one."""
        state = self.pool.state
        if not state.queue or not state.devices:
            return
        self.do(c.Tick())
        first = next((lease for lease, _, reason in queue_report.positions(state) if reason.value != "quota"), None)
        limited = any(tenant.limit_milli is not None for tenant in state.tenants.values())
        if first is not None and not limited:
            assert naive_placement.find_devices(state, first.requirements) is None


PlacerOfAnyHistory.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
test_placer_agrees_with_the_state_after_any_history = pytest.mark.slow(PlacerOfAnyHistory.TestCase)


def test_place_parts_with_a_numerator_fill_a_device() -> None:
    world = World(spec("gpu"))
    lease = world.active("a", "any:3/8")
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.memory_bytes == 30 * GIB
    assert world.active("b", "any:5/8").logical_gpu is not None


def test_place_on_devices_of_different_sizes_takes_the_smaller() -> None:
    world = World(spec("large", 80 * GIB), spec("small", 24 * GIB, index=1))
    for name, size in (("part", "24GiB"), ("rest", "half")):
        gpu = world.active(name, size).logical_gpu
        assert gpu is not None
        assert gpu.device_id == ("small" if name == "part" else "large")
    other = World(spec("large", 80 * GIB), spec("small", 24 * GIB, index=1))
    whole = other.active("whole").logical_gpu
    assert whole is not None
    assert whole.device_id == "small"


def test_place_on_equal_devices_takes_the_lowest_index() -> None:
    world = World(spec("uuid-b", index=0), spec("uuid-a", index=1))
    first = world.active("a").logical_gpu
    assert first is not None
    assert first.device_id == "uuid-b"


def test_shadow_prices_follow_recent_requests_and_survive_a_restart() -> None:
    world = World(spec("gpu"))
    for number in range(SHADOW_PRICES_EVERY + 3):
        world.state.recent_requests.append(("any:2/3" if number % 2 else "any:1/3", 0, 0))
    prices = Placer(world.state).index._prices
    assert prices == Placer(replace(world.state)).index._prices
    assert prices.packing_value[500] < prices.packing_value[1000] * 0.4  # a half fits one third and no second
    world.state.recent_requests.clear()
    assert Placer(world.state).index._prices.packing_value[500] == prices.packing_value[1000] // 2


def test_recent_requests_beyond_the_maximum_drop_the_older_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastgpu_jupyter.core.lease.request.RECENT_REQUESTS_MAX", 4)
    world = World(spec("gpu"))
    for number in range(5):
        world.ask(f"lease-{number}", "half" if number < 3 else None, None if number < 3 else 3 * GIB)
    assert world.state.recent_requests == [("half", 0, 0), (f"{3 * GIB}B", 0, 0), (f"{3 * GIB}B", 0, 0)]


def test_place_on_a_host_without_free_processors_serves_no_request_that_needs_some() -> None:
    pool = Pool(State())
    at = Instant(0, 0)
    pool.execute(c.StartPool(BOOT, 0), at)
    specs = tuple(device(f"gpu-{number}", "A100-80GB", "host-0", number) for number in range(2))
    pool.execute(c.SetDevices(specs, HOSTS[:1]), at)
    for name in ("a", "b"):
        request = LeaseRequest("half", None, None, None, cpu_milli=12_000)
        pool.execute(c.RequestLease(name, "ann", request, holder(1), "0" * 64), at)
    assert [lease.state for lease in pool.state.leases.values()] == [LeaseState.PREPARING, LeaseState.WAITING]
    assert naive_placement.find_devices(pool.state, requirements_of(pool.state.leases["b"].request)) is None


def test_room_freed_for_the_first_request_is_reserved_though_another_device_would_do() -> None:
    """Otherwise the parked leases would come back there at once and be parked again at each tick."""
    world = World(spec("gpu", parkable=True), mig_spec("mig", index=1))
    world.active("on-mig", "1g.10gb", parkable=False)  # occupies the other device, and cannot be parked
    for name in ("one", "two"):
        world.active(name, "half", tenant=name, parkable=True)
    urgent = world.ask("urgent", "70GiB", priority=Priority.HIGH)
    assert {world.states()[name] for name in ("one", "two")} == {"parking"}
    world.parked("one")
    assert world.states()["one"] == "waiting", "what it left is reserved"
    world.parked("two")
    assert (urgent.state, urgent.logical_gpu is not None) == (LeaseState.PREPARING, True)


def test_partition_reported_lost_is_not_leased_until_reconciled() -> None:
    world = World(mig_spec("mig"))
    lease = world.active("a", "3g.40gb")
    assert lease.logical_gpu is not None
    assert lease.logical_gpu.partition is not None
    start = lease.logical_gpu.partition.start
    world.do(c.SetDevices((mig_spec("mig", existing_partitions=(ExistingPartition("1g.10gb", start + 1),)),)))
    other = world.ask("b", "1g.10gb")
    assert other.logical_gpu is not None
    assert other.logical_gpu.partition is not None
    assert not other.logical_gpu.partition.preexisting
