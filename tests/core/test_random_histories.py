"""Random histories: whatever happens in whatever order, the state is sound and its replay is the same state."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastgpu_jupyter.core.accounting import calendar, ledger, meter
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    DeviceFault,
    DeviceSpec,
    ExistingPartition,
    Health,
    HostSpec,
    IdlePolicy,
    IdleTimes,
    Instant,
    Plan,
    Policy,
    Priority,
    Retention,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.core.pool import replay
from fastgpu_jupyter.errors import CallerError, Message
from fastgpu_jupyter.units import GIB
from tests.core.faults import BAD_MEMORY, MEMORY_ERRORS, OFF_THE_BUS, WRONG_ADDRESS
from tests.core.world import EIGHTHS, World, holder, mig_spec, spec

NO = Message.of_text("no")

SPECS = (
    spec("a", 80 * GIB, index=0, parkable=True),
    spec("b", 80 * GIB, index=1),
    spec("c", 24 * GIB, index=2, parkable=True, model="L4"),
    mig_spec("d", index=3),
    mig_spec(
        "e",
        index=4,
        existing_partitions=(ExistingPartition("2g.20gb", 4), ExistingPartition("3g.40gb", 0, usable=False)),
    ),
)
#: The last one once more: unpartitioned, divided otherwise.
OTHERS = (
    spec("e", index=4),
    mig_spec("e", index=4),
    mig_spec("e", index=4, existing_partitions=(ExistingPartition("1g.10gb", 6),)),
)
HOSTS = (HostSpec("", 8000, 64 * GIB),)
DAY_MS = 86_400_000


class PoolMachine(RuleBasedStateMachine):
    """Callers, holders, devices and time do as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(*SPECS)
        self.asked = 0
        self.order: list[str] = []

    def _try(self, command: c.Command) -> None:
        try:
            self.world.do(command)
        except CallerError:
            assert list(violations(self.world.state)) == []

    def _names(self, data: st.DataObject, *states: LeaseState) -> str:
        leases = self.world.state.leases.values()
        names = [lease.id for lease in leases if not states or lease.state in states]
        return data.draw(st.sampled_from(names)) if names else "none"

    @rule(
        profile=st.sampled_from(
            ["full", "half", "quarter", "eighth", "2xany", "a100:1/3", "bad", None, "1g.10gb", "9GiB"]
        ),
        gib=st.integers(0, 100),
        tenant=st.sampled_from(["ann", "bob", "eve"]),
        priority=st.sampled_from(Priority),
        retention=st.sampled_from(Retention),
        cores=st.sampled_from([0, 0, 0, 1, 6]),
        budget_micro=st.none() | st.integers(0, 10**7),
    )
    def ask(
        self,
        profile: str | None,
        gib: int,
        tenant: str,
        priority: Priority,
        retention: Retention,
        cores: int,
        budget_micro: int | None,
    ) -> None:
        name = f"lease-{self.asked}"
        self.asked += 1
        try:
            self.world.ask(
                name,
                profile,
                None if profile else gib * GIB,
                tenant=tenant,
                priority=priority,
                retention=retention,
                cpu_milli=1000 * cores,
                budget_micro=budget_micro,
            )
        except CallerError:
            return
        self.order.append(name)

    @rule(tenant=st.sampled_from(["ann", "bob"]), keep_ms=st.sampled_from([0, 60_000]), granted=st.booleans())
    def ask_engine(self, tenant: str, keep_ms: int, granted: bool) -> None:
        name = f"lease-{self.asked}"
        self.asked += 1
        try:
            self.world.on_cluster(name, tenant=tenant, keep_ms=keep_ms)
        except CallerError:  # the budget is spent
            return
        if granted:
            self.world.granted(name, milli=2000)

    @rule(data=st.data())
    def engine_ends_job(self, data: st.DataObject) -> None:
        lease = self.world.state.leases.get(self._names(data))
        if lease is not None and lease.cluster_job is not None:
            self._try(c.ClusterJobEnded(lease.id, lease.cluster_job.name, NO))

    @rule(data=st.data())
    def prepared(self, data: st.DataObject) -> None:
        name = self._names(data, LeaseState.PREPARING)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            ok = data.draw(st.booleans())
            self._try(c.PrepareSucceeded(name, gpu.generation) if ok else c.PrepareFailed(name, gpu.generation, NO))

    @rule(data=st.data(), stale=st.integers(0, 2))
    def drained(self, data: st.DataObject, stale: int) -> None:
        name = self._names(data, LeaseState.DRAINING)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            self._try(c.DrainSucceeded(name, gpu.generation - stale))

    @rule(data=st.data(), busy=st.booleans())
    def use(self, data: st.DataObject, busy: bool) -> None:
        self._try(c.ReportActivity(self._names(data), busy))

    @rule(data=st.data(), retention=st.sampled_from(Retention))
    def retain(self, data: st.DataObject, retention: Retention) -> None:
        self._try(c.SetRetention(self._names(data), retention))

    @rule(data=st.data(), park=st.booleans())
    def park_or_resume(self, data: st.DataObject, park: bool) -> None:
        name = self._names(data)
        self._try(c.ParkLease(name) if park else c.ResumeLease(name))

    @rule(data=st.data(), stale=st.integers(0, 1), ok=st.booleans())
    def parked(self, data: st.DataObject, stale: int, ok: bool) -> None:
        name = self._names(data, LeaseState.PARKING)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            generation = gpu.generation - stale
            self._try(c.ParkSucceeded(name, generation, GIB) if ok else c.ParkFailed(name, generation, NO))

    @rule(data=st.data(), stale=st.integers(0, 1), ok=st.booleans())
    def resumed(self, data: st.DataObject, stale: int, ok: bool) -> None:
        name = self._names(data, LeaseState.RESUMING)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            generation = gpu.generation - stale
            self._try(c.ResumeSucceeded(name, generation) if ok else c.ResumeFailed(name, generation, NO))

    @rule(
        idle_ms=st.sampled_from([None, 0, 5000]),
        quantum_ms=st.sampled_from([None, 60_000]),
        moves=st.booleans(),
        ahead_ms=st.sampled_from([None, 0, 60_000]),
    )
    def policy(self, idle_ms: int | None, quantum_ms: int | None, moves: bool, ahead_ms: int | None) -> None:
        times = IdleTimes(60_000, 120_000, 3 * 60_000, 4 * 60_000)
        self._try(
            c.SetPolicy(Policy(idle_ms, quantum_ms, 100 * GIB, moves, idle_policy=IdlePolicy(times), ahead_ms=ahead_ms))
        )

    @rule(data=st.data(), ago_ms=st.none() | st.integers(0, 10**6), stale=st.integers(0, 1))
    def gpu_use(self, data: st.DataObject, ago_ms: int | None, stale: int) -> None:
        name = self._names(data, LeaseState.ACTIVE)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            since_ms = None if ago_ms is None else self.world.now_ms - ago_ms
            self._try(c.ReportGPUUse(name, gpu.generation - stale, since_ms))

    @rule(data=st.data(), cells=st.integers(0, 9), known_ms=st.integers(0, 10**6), peak=st.none() | st.integers(0, GIB))
    def measured(self, data: st.DataObject, cells: int, known_ms: int, peak: int | None) -> None:
        name = self._names(data)
        self._try(c.RecordUse(name, MeasuredUse(cells, known_ms, known_ms, 0, peak)))
        self._try(c.SilenceAdvice(name, silenced=cells > 5))

    @rule(data=st.data(), for_ms=st.integers(0, 10**8), ends=st.booleans())
    def snooze(self, data: st.DataObject, for_ms: int, ends: bool) -> None:
        name = self._names(data)
        self._try(c.EndIdleLease(name) if ends else c.SnoozeLease(name, for_ms))

    @rule(
        tenant=st.sampled_from(["ann", "bob"]),
        milli=st.integers(0, 2000),
        model=st.sampled_from([None, "a100", "l4", "2xany"]),
        plan=st.sampled_from(Plan),
        ahead_ms=st.none() | st.integers(-1, 40 * DAY_MS),
    )
    def reserve(self, tenant: str, milli: int, model: str | None, plan: Plan, ahead_ms: int | None) -> None:
        name = f"reservation-{len(self.world.state.reservations)}"
        start = None if ahead_ms is None else self.world.at.wall_ms + ahead_ms
        self._try(c.ReserveCapacity(name, tenant, milli, model, plan, 30, start))

    @rule(number=st.integers(0, 5))
    def cancel_reservation(self, number: int) -> None:
        self._try(c.CancelReservation(f"reservation-{number}"))

    @rule(
        tenant=st.sampled_from(["ann", "bob"]),
        budget_micro=st.none() | st.integers(-1, 10**8),
        policy=st.sampled_from(BudgetPolicy),
    )
    def budget(self, tenant: str, budget_micro: int | None, policy: BudgetPolicy) -> None:
        self._try(c.SetBudget(tenant, budget_micro, policy))

    @rule(data=st.data(), budget_micro=st.none() | st.integers(0, 10**8))
    def lease_budget(self, data: st.DataObject, budget_micro: int | None) -> None:
        self._try(c.SetLeaseBudget(self._names(data), budget_micro))

    @rule(days=st.integers(-40, 40))
    def set_the_wall_clock(self, days: int) -> None:
        self.world.wall_offset_ms += days * DAY_MS

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self._try(c.ReleaseLease(self._names(data)))

    @rule(data=st.data(), profile=st.sampled_from(["full", "half", "eighth", "70GiB", "2xany", "a100:1/3", "?"]))
    def resize(self, data: st.DataObject, profile: str) -> None:
        self._try(c.ResizeLease(self._names(data), profile))

    @rule(data=st.data(), on=st.booleans())
    def run_on_the_cpu_meanwhile(self, data: st.DataObject, on: bool) -> None:
        self._try(c.SetCpuMeanwhile(self._names(data), on))

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        self._try(c.MigrateLease(self._names(data)))

    @rule(data=st.data(), stuck=st.sampled_from([(), ("JAX",)]), stale=st.booleans())
    def libraries(self, data: st.DataObject, stuck: tuple[str, ...], stale: bool) -> None:
        name = self._names(data, LeaseState.ACTIVE)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            self._try(c.ReportLibraries(name, None if gpu.whole or stale else gpu.memory_bytes, stuck))

    @rule(data=st.data(), tenant=st.sampled_from(["ann", "bob", "new"]))
    def transfer(self, data: st.DataObject, tenant: str) -> None:
        self._try(c.TransferLease(self._names(data), tenant))

    @rule(data=st.data(), pid=st.integers(1, 50))
    def bind(self, data: st.DataObject, pid: int) -> None:
        self._try(c.BindHolder(self._names(data), holder(pid)))

    @rule(data=st.data(), late=st.booleans())
    def holder_ends(self, data: st.DataObject, late: bool) -> None:
        lease = self.world.state.leases.get(self._names(data))
        if lease is not None:
            self._try(c.HolderEnded(lease.id, holder(999) if late else lease.holder))

    @rule(device=st.sampled_from("abcde"), health=st.sampled_from(list(Health)))
    def health(self, device: str, health: Health) -> None:
        self._try(c.SetHealth(device, health, Message.of_text("observed"), lost=health is Health.FAULTY))

    @rule(
        data=st.data(),
        device=st.sampled_from("abc"),
        fault=st.sampled_from([WRONG_ADDRESS, MEMORY_ERRORS, BAD_MEMORY, OFF_THE_BUS]),
        certain=st.booleans(),
    )
    def fault(self, data: st.DataObject, device: str, fault: DeviceFault, certain: bool) -> None:
        self._try(c.ReportFault(device, fault, (self._names(data),), certain))

    @rule(device=st.sampled_from("abc"))
    def restore_device(self, device: str) -> None:
        self._try(c.RestoreDevice(device))

    @rule(device=st.sampled_from("abcde"), drained=st.booleans())
    def drain_device(self, device: str, drained: bool) -> None:
        self._try(c.DrainDevice(device, drained))

    @rule(
        tenant=st.sampled_from(["ann", "bob"]),
        weight=st.integers(0, 3),
        limit=st.none() | st.integers(0, 3000),
        guaranteed=st.integers(0, 1500),
        group=st.sampled_from([None, "lab", "desk"]),
    )
    def entitle(self, tenant: str, weight: int, limit: int | None, guaranteed: int, group: str | None) -> None:
        self._try(c.SetTenant(tenant, weight, limit, guaranteed, group))

    @rule(weight=st.integers(1, 3), limit=st.none() | st.integers(0, 3000), guaranteed=st.integers(0, 1000))
    def entitle_group(self, weight: int, limit: int | None, guaranteed: int) -> None:
        self._try(c.SetGroup("lab", weight, limit, guaranteed))

    @rule(
        shown=st.sets(st.sampled_from(SPECS)),
        other=st.sampled_from((None, *OTHERS)),
        silent=st.sampled_from([(), *((one.id,) for one in SPECS)]),
    )
    def devices(self, shown: set, other: DeviceSpec | None, silent: tuple[str, ...]) -> None:  # type: ignore[type-arg]
        now = {one.id: one for one in (*shown, *([other] if other else []))}
        self._try(c.SetDevices(tuple(sorted(now.values(), key=lambda item: item.index)), HOSTS, silent))

    @rule(name=st.sampled_from([one.id for one in SPECS]))
    def no_device_is_known(self, name: str) -> None:
        self._try(c.ReportNoAnswer())
        self._try(c.ForgetDevice(name))

    @rule(data=st.data(), stale=st.integers(0, 1))
    def its_part_is_gone(self, data: st.DataObject, stale: int) -> None:
        name = self._names(data, LeaseState.ACTIVE)
        if name != "none":
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            self._try(c.LogicalGPULost(name, gpu.generation - stale, Message.of_text("A process destroyed it.")))

    @rule(step_ms=st.integers(0, 10**7) | st.integers(0, 40 * DAY_MS))
    def time_passes(self, step_ms: int) -> None:
        self.world.now_ms += step_ms
        self._try(c.Tick())

    @precondition(lambda self: self.asked > 5)
    @rule(same=st.booleans())
    def restart(self, same: bool) -> None:
        boot = self.world.state.boot_id if same else f"boot-{self.asked}-{self.world.now_ms}"
        self._try(c.StartPool(boot, self.world.now_ms))

    @invariant()
    def the_queue_is_in_order_of_arrival(self) -> None:
        waiting = [self.world.state.leases[name].arrival for name in self.world.state.queue]
        assert waiting == sorted(set(waiting))
        new = [name for name in self.order if name in self.world.state.queue]
        new = [name for name in new if self.world.state.leases[name].granted_at is None]
        assert new == [name for name in self.world.state.queue if name in new]

    @invariant()
    def nothing_that_could_be_granted_waits(self) -> None:
        assert self.world.pool.advance(Instant(self.world.now_ms, 0), make_room=False) == []

    @invariant()
    def steps_of_the_idle_policy_are_taken_while_nothing_runs(self) -> None:
        _, events = self.world.history[-1]
        for event in events:
            if isinstance(event, e.LeaseIdleStepTaken):
                lease = self.world.state.leases[event.lease_id]
                assert lease.busy is False
                assert lease.gpu_idle_since_ms is not None

    @invariant()
    def memory_is_promised_once(self) -> None:
        # Counted from the leases, without the indexes of the pool.
        for device in SPECS:
            holding = (lease for lease in self.world.state.leases.values() if lease.state in HOLDING_CAPACITY)
            gpus = [lease.logical_gpu for lease in holding if lease.logical_gpu is not None]
            gpus = [gpu for gpu in gpus if device.id in gpu.device_ids]
            held = [device.memory_bytes if gpu.more_device_ids else gpu.memory_bytes for gpu in gpus]
            assert sum(held) <= device.memory_bytes
            parts = [gpu.partition for gpu in gpus if gpu.partition is not None]
            length = {one.name: one.length for one in EIGHTHS}
            slots = [slot for part in parts for slot in range(part.start, part.start + length[part.profile])]
            assert len(slots) == len(set(slots))
            assert max(slots, default=0) < 8
            assert not parts or len(parts) == len(gpus)

    def teardown(self) -> None:
        self._bills_are_equal()
        replayed = State()
        for at, events in self.world.history:
            replay(replayed, events, at)
        assert replayed == self.world.state

    def _bills_are_equal(self) -> None:
        """The ledger, which knows events only, comes to what the state has summed up as it went."""
        state, at = self.world.state, self.world.at
        by_lease: dict[str, int] = {}
        for segment in ledger.segments(self.world.history, at):
            by_lease[segment.lease_id] = by_lease.get(segment.lease_id, 0) + segment.numerator
        for lease in state.leases.values():
            assert meter.cost_numerator(lease, at.ms) == by_lease.get(lease.id, 0)
        month = calendar.month_at(at.wall_ms)
        made = {one.tenant: one for one in ledger.statements(self.world.history, month, at)}
        for name in state.tenants:
            total_micro = made[name].total_micro if name in made else 0
            assert meter.spent_micro(state, name, at) == total_micro
            if name in made:
                assert sum(line.amount_micro for line in made[name].lines) == total_micro


TestPoolMachine = pytest.mark.slow(PoolMachine.TestCase)
TestPoolMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
