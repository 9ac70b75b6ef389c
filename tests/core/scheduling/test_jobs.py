"""Leases of jobs beside those of notebooks: order, preemption, idleness, budgets and statements."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from fastgpu_jupyter.core.accounting import ledger
from fastgpu_jupyter.core.accounting.segment import Segment
from fastgpu_jupyter.core.lease import idle
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    IdlePolicy,
    IdleTimes,
    Lease,
    LeaseRequest,
    ParkReason,
    PendingReason,
    Policy,
    Priority,
    Retention,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.core.scheduling.queue_report import positions
from tests.core.world import World, holder, spec

IDLE_MS = 5000
S = LeaseState


def gpus(count: int = 1) -> World:
    return World(*(spec(f"gpu-{index}", index=index, parkable=True) for index in range(count)))


def submit(world: World, number: int, *, tenant: str = "ann", priority: Priority = Priority.LOW) -> Lease:
    """Request the lease of a job, as the dispatcher does."""
    return world.ask(f"job-{number}", tenant=tenant, priority=priority, job=f"job {number} · train")


def compute(world: World, number: int, *, tenant: str = "ann", priority: Priority = Priority.LOW) -> Lease:
    """Let a job compute: its lease is active, and its runner has reported so."""
    lease = submit(world, number, tenant=tenant, priority=priority)
    world.prepared(lease.id)
    world.do(c.ReportActivity(lease.id, busy=True))
    return lease


def notebook(world: World, name: str, *, busy: bool | None, tenant: str = "ann") -> Lease:
    """Start a kernel, which reports whether a cell waits or runs."""
    request = LeaseRequest("full", None, f"kernel of {name}", f"{name}.ipynb")
    world.do(c.RequestLease(name, tenant, request, holder(len(world.history)), "0" * 64))
    if world.state_of(name) is S.PREPARING:
        world.prepared(name)
    if busy is not None:
        world.do(c.ReportActivity(name, busy=busy))
    return world.state.leases[name]


def end(world: World, name: str) -> None:
    world.do(c.ReleaseLease(name))
    world.drained(name)


@pytest.mark.parametrize("tenant", ["ann", "bob"])
def test_queued_job_stays_behind_interactive_requests_that_came_later(tenant: str) -> None:
    world = gpus()
    compute(world, 1, priority=Priority.HIGH)
    submit(world, 2)
    notebook(world, "notebook", busy=True, tenant=tenant)
    assert [lease.id for lease, _, _ in positions(world.state)] == ["notebook", "job-2"]
    end(world, "job-1")
    assert world.states() == {"job-1": "ended", "job-2": "waiting", "notebook": "preparing"}


def test_job_with_high_priority_goes_before_notebooks_and_preempts_a_cell() -> None:
    world = gpus()
    notebook(world, "runs", busy=True)
    notebook(world, "waits", busy=True)
    submit(world, 1, priority=Priority.HIGH)
    assert [lease.id for lease, _, _ in positions(world.state)] == ["job-1", "waits"]
    assert world.state.leases["runs"].park_reason is ParkReason.PRIORITY


@pytest.mark.parametrize("tenant", ["ann", "bob"])
def test_computing_job_is_parked_for_a_cell_and_resumes_before_the_jobs_behind_it(tenant: str) -> None:
    world = gpus()
    first = compute(world, 1)
    submit(world, 2)
    notebook(world, "notebook", busy=True, tenant=tenant)
    assert (first.state, first.park_reason) == (S.PARKING, ParkReason.PRIORITY)
    world.parked("job-1")
    world.prepared("notebook")
    found = [(lease.id, reason) for lease, _, reason in positions(world.state)]
    assert found == [("job-1", PendingReason.PRIORITY), ("job-2", PendingReason.CAPACITY)]
    end(world, "notebook")
    assert world.states() == {"job-1": "resuming", "job-2": "waiting", "notebook": "ended"}
    world.resumed("job-1")
    assert (world.state_of("job-1"), first.busy) == (S.ACTIVE, True)


def test_computing_job_is_not_parked_for_a_kernel_without_a_cell_until_one_begins() -> None:
    world = gpus()
    compute(world, 1)
    notebook(world, "notebook", busy=None)
    assert world.states() == {"job-1": "active", "notebook": "waiting"}
    world.do(c.ReportActivity("notebook", busy=False))
    world.pass_time(10 * IDLE_MS)
    assert world.states() == {"job-1": "active", "notebook": "waiting"}
    world.do(c.ReportActivity("notebook", busy=True))
    assert world.states() == {"job-1": "parking", "notebook": "waiting"}


def test_computing_job_that_holds_its_gpu_is_not_parked() -> None:
    world = gpus()
    compute(world, 1)
    world.do(c.SetRetention("job-1", Retention.HOLD))
    notebook(world, "notebook", busy=True)
    assert world.states() == {"job-1": "active", "notebook": "waiting"}


@pytest.mark.parametrize("tenant", ["ann", "bob"])
@pytest.mark.parametrize("priority", [Priority.LOW, Priority.NORMAL])
def test_idle_notebook_gives_its_gpu_to_a_job_after_the_idle_time_and_not_between_two_cells(
    tenant: str, priority: Priority
) -> None:
    world = gpus()
    notebook(world, "notebook", busy=True)
    world.now_ms += 60_000
    submit(world, 1, tenant=tenant, priority=priority)
    world.do(c.ReportActivity("notebook", busy=False))
    world.pass_time(IDLE_MS - 1)
    assert world.states() == {"notebook": "active", "job-1": "waiting"}
    world.pass_time(1)
    assert world.states() == {"notebook": "parking", "job-1": "waiting"}


def test_notebook_of_the_same_user_still_gets_an_idle_gpu_at_once_while_a_job_waits() -> None:
    world = gpus()
    notebook(world, "a", busy=False)
    submit(world, 1)
    assert world.states()["a"] == "active"
    notebook(world, "b", busy=True)
    assert world.states() == {"a": "parking", "job-1": "waiting", "b": "waiting"}
    world.parked("a")
    assert world.states() == {"a": "parked", "job-1": "waiting", "b": "preparing"}


def test_job_that_computes_on_the_processor_is_not_idle_for_the_idle_policy() -> None:
    world = gpus()
    steps = IdleTimes(notify_ms=60_000, park_ms=120_000, release_ms=180_000, shut_down_ms=240_000)
    world.do(c.SetPolicy(Policy(idle_policy=IdlePolicy(steps))))
    lease = compute(world, 1)
    gpu = lease.logical_gpu
    assert gpu is not None
    for _ in range(10):
        world.do(c.ReportGPUUse(lease.id, gpu.generation, world.now_ms))
        world.pass_time(60_000)
    assert (lease.state, idle.idle_since_ms(lease)) == (S.ACTIVE, None)
    world.do(c.ReportActivity(lease.id, busy=False))  # the runner says that nothing runs any more
    world.do(c.ReportGPUUse(lease.id, gpu.generation, world.now_ms))
    for _ in range(4):
        world.pass_time(60_000)
    assert world.state_of(lease.id) is not S.ACTIVE


def test_job_whose_runner_has_not_reported_is_taken_for_one_that_computes() -> None:
    world = gpus()
    lease = submit(world, 1)
    world.prepared(lease.id)
    submit(world, 2, tenant="bob")
    world.pass_time(100 * IDLE_MS)
    assert world.states() == {"job-1": "active", "job-2": "waiting"}


def test_job_is_not_measured_as_the_notebook_that_it_was_submitted_from() -> None:
    world = gpus()
    compute(world, 1)
    assert world.do(c.RecordUse("job-1", MeasuredUse(1, 1000, 1000, 0, 1, 1, 1))) == []


def test_jobs_of_two_users_get_equal_shares() -> None:
    world = gpus(2)
    for number in range(60):
        submit(world, number, tenant="ann" if number < 40 else "bob")
    served: Counter[str] = Counter()
    for _ in range(20):  # while both have jobs
        for lease in [one for one in world.state.leases.values() if one.state is S.PREPARING]:
            world.prepared(lease.id)
        world.pass_time(60_000)
        for lease in [one for one in world.state.leases.values() if one.state is S.ACTIVE]:
            served[lease.tenant] += 1
            end(world, lease.id)
    assert sum(served.values()) == 40
    assert abs(served["ann"] - served["bob"]) <= 2


@pytest.mark.parametrize("policy", [BudgetPolicy.STOP, BudgetPolicy.PARK])
def test_waiting_job_sees_that_the_budget_is_spent_and_goes_on_with_the_next_one(policy: BudgetPolicy) -> None:
    world = gpus()
    world.do(c.SetBudget("ann", 1_000_000, policy))
    lease = compute(world, 1)
    submit(world, 2)
    world.pass_time(2_000_000)  # at 3.6 an hour
    if policy is BudgetPolicy.PARK:
        assert (lease.state, lease.park_reason) == (S.PARKING, ParkReason.BUDGET)
        world.parked(lease.id)
    else:
        end(world, lease.id)
    reasons = {reason for _, _, reason in positions(world.state)}
    assert reasons == {PendingReason.BUDGET}
    world.do(c.SetBudget("ann", 10_000_000, policy))
    assert world.state_of("job-1" if policy is BudgetPolicy.PARK else "job-2") in (S.RESUMING, S.PREPARING)


def test_job_that_has_spent_its_own_budget_stays_parked() -> None:
    world = gpus()
    lease = world.ask("job-1", priority=Priority.LOW, job="job 1", budget_micro=1_000_000)
    world.prepared(lease.id)
    world.do(c.ReportActivity(lease.id, busy=True))
    world.pass_time(2_000_000)
    world.parked(lease.id)
    assert (lease.state, lease.park_reason) == (S.PARKED, ParkReason.BUDGET)


def test_statement_names_jobs_and_sums_to_the_micro_unit() -> None:
    world = gpus()
    compute(world, 1)
    world.now_ms += 12_345
    notebook(world, "notebook", busy=True)
    world.parked("job-1")
    world.prepared("notebook")
    world.now_ms += 6_789
    end(world, "notebook")
    world.resumed("job-1")
    world.now_ms += 111
    end(world, "job-1")
    (statement,) = ledger.statements(world.history, world.state.month, world.at)
    named = {(of.lease_id, of.job) for line in statement.lines if isinstance(of := line.item.of, Segment)}
    assert named == {("job-1", "job 1 · train"), ("notebook", None)}
    assert sum(line.amount_micro for line in statement.lines) == statement.total_micro
    exact = sum(lease.cost_numerator for lease in world.state.leases.values())
    assert statement.total_micro == exact // 3_600_000
    assert statement.active_ms == 12_345 + 6_789 + 111


# -- users at work beside jobs ----------------------------------------------------------------------------------------

STEP_MS, PARK_MS, JOB_MS = 500, 1000, 20_000


@dataclass
class User:
    """A notebook whose cells begin at random times."""

    name: str
    cell_until_ms: int | None = None
    next_ms: int = 0
    waits_since_ms: int | None = None
    waited_ms: list[int] = field(default_factory=list)


class Afternoon:
    """Users who run cells beside a queue of jobs, with time for each preparation and each move of memory."""

    def __init__(self, seed: int, devices: int, users: int, jobs: int) -> None:
        self.random = random.Random(seed)
        self.world = gpus(devices)
        self.users = [User(f"notebook-{number}") for number in range(users)]
        self.left_ms = dict.fromkeys((f"job-{number}" for number in range(jobs)), JOB_MS)
        self.done: list[str] = []
        self.completes_ms: dict[str, int] = {}
        self.parked_for_cells: Counter[str] = Counter()
        self.cells = 0
        for user in self.users:
            notebook(self.world, user.name, busy=False, tenant=self.random.choice(("ann", "bob")))
            user.next_ms = self.random.randrange(60_000)
        for number in range(jobs):
            submit(self.world, number, tenant=self.random.choice(("ann", "bob")))

    def step(self) -> None:
        """Let half a second pass."""
        world = self.world
        world.now_ms += STEP_MS
        before = len(world.history)
        for user in self.users:
            self._work(user)
        for lease in list(world.state.leases.values()):
            self._complete(lease)
        world.do(c.Tick())
        for event in _events(world, before):
            if isinstance(event, e.LeaseParking) and event.reason is ParkReason.PRIORITY:
                self.parked_for_cells[event.lease_id] += 1

    def _work(self, user: User) -> None:
        world, lease = self.world, self.world.state.leases[user.name]
        if user.cell_until_ms is None and user.waits_since_ms is None and world.now_ms >= user.next_ms:
            self.cells += 1
            user.waits_since_ms = world.now_ms
            world.do(c.ReportActivity(user.name, busy=True))
        if user.waits_since_ms is not None and lease.state is S.ACTIVE:
            user.waited_ms.append(world.now_ms - user.waits_since_ms)
            user.waits_since_ms, user.cell_until_ms = None, world.now_ms + self.random.choice((500, 2000, 9000))
        elif user.cell_until_ms is not None and world.now_ms >= user.cell_until_ms:
            user.cell_until_ms, user.next_ms = None, world.now_ms + self.random.choice((500, 4000, 7000, 40_000))
            world.do(c.ReportActivity(user.name, busy=False))

    def _complete(self, lease: Lease) -> None:
        world = self.world
        if lease.id in self.left_ms and lease.state is S.ACTIVE:
            if lease.busy is None:
                world.do(c.ReportActivity(lease.id, busy=True))
            self.left_ms[lease.id] -= STEP_MS
            if self.left_ms[lease.id] <= 0:
                end(world, lease.id)
                self.done.append(lease.id)
        if lease.state not in (S.PREPARING, S.PARKING, S.RESUMING):
            self.completes_ms.pop(lease.id, None)
        elif world.now_ms >= self.completes_ms.setdefault(lease.id, world.now_ms + PARK_MS):
            del self.completes_ms[lease.id]
            {S.PREPARING: world.prepared, S.PARKING: world.parked, S.RESUMING: world.resumed}[lease.state](lease.id)


def _events(world: World, after: int) -> Iterator[e.Event]:
    for _, events in world.history[after:]:
        yield from events


@pytest.mark.parametrize("seed", range(8))
def test_afternoon_of_users_beside_jobs_has_no_ping_pong_and_no_job_starves(seed: int) -> None:
    devices, users, jobs = 2, 2, 6
    one = Afternoon(seed, devices, users, jobs)
    for _ in range(2400):
        one.step()
        if len(one.done) == jobs:
            break
    parked = sum(one.parked_for_cells.values())
    assert len(one.done) == jobs, "the jobs use the time between cells"
    assert parked, "else nothing is shown"
    assert parked <= one.cells
    ended_ms = one.world.now_ms
    # Each cell for which a job was parked came from a notebook that had been idle for the idle time.
    assert parked <= users * (ended_ms // (IDLE_MS + 2 * PARK_MS) + 1)
    # With a GPU for each user, a cell waits for one job to be parked and for its own memory, and for no job.
    assert max(waited for user in one.users for waited in user.waited_ms) <= 2 * PARK_MS + 4 * STEP_MS
    statements = list(ledger.statements(one.world.history, one.world.state.month, one.world.at))
    assert sum(line.amount_micro for made in statements for line in made.lines) == sum(
        made.total_micro for made in statements
    )
