"""The processes that have memory on a GPU and those that may: real processes on simulated GPUs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import EndReason, Enforcement, Lease, LeaseRequest, OverLimit, Policy
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.pool.composition import PoolServices, ServiceOptions
from fastgpu_jupyter.pool.devices.nvidia import counters
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.host.attribution import leases_of
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import recover
from fastgpu_jupyter.pool.monitors import processes as processes_module
from fastgpu_jupyter.pool.monitors import telemetry
from fastgpu_jupyter.pool.monitors.exemptions import DYNAMIC_UIDS, Exemptions
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from fastgpu_jupyter.pool.monitors.process_owners import OwnershipResolver, ProcessOwnership
from fastgpu_jupyter.pool.monitors.processes import END, IGNORE, WARN
from fastgpu_jupyter.pool.notifications import ChangeNotifier
from fastgpu_jupyter.units import GIB
from tests.core.world import World, spec, text
from tests.helpers import alive
from tests.pool.devices.fake_driver import FakeMachine, fake_spec
from tests.waiting import async_wait_until, wait_until

pytestmark = pytest.mark.slow

#: A user whose processes may be ended, and one whose are exempt.
USER, SPARED = 20_001, 20_002
#: Starts one more of itself below it, says both numbers, and waits until standard input ends.
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-I", "-c", "import sys; sys.stdin.read()"])
if sys.argv[1:]:
    os.setuid(int(sys.argv[1]))
print(child.pid, flush=True)
child.wait()
"""


@contextlib.contextmanager
def process(lease_id: str | None = None, uid: int | None = None) -> Iterator[tuple[int, int]]:
    """A process and its child; of a kernel where ``lease_id`` is given, of user ``uid`` where root runs the test."""
    env = {name: value for name, value in os.environ.items() if name != "FASTGPU_LEASE"}
    env |= {"FASTGPU_LEASE": lease_id} if lease_id else {}
    pipe = subprocess.PIPE
    command = [sys.executable, "-I", "-c", PARENT, *([str(uid)] if uid is not None and os.getuid() == 0 else [])]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            yield parent.pid, child
        finally:
            parent.stdin.close()
            for pid in (child, parent.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            parent.wait(20)


class Pool:
    def __init__(self, folder: Path, machine: FakeMachine, foreign: str, policy: Policy) -> None:
        self.machine, self.clock = machine, SystemClock()
        journal, driver = Journal(folder / "journal.db"), machine.driver()
        pool, _ = recover(journal, DriverAtStartup(driver), self.clock, policy=policy)
        self.services = PoolServices(
            pool, journal, driver, self.clock, options=ServiceOptions(foreign, foreign_exempt=[f"uid:{SPARED}"])
        )

    async def ask(self, name: str, pid: int, size: str = "half") -> None:
        holder = holder_of(pid, self.clock.boot_id())
        request = LeaseRequest(size, None, None, None, parkable=False)
        await self.services.commands.submit(c.RequestLease(name, "ann", request, holder, "0" * 64))
        await self.until(name, lambda lease: lease.state is LeaseState.ACTIVE)

    async def until(self, name: str, condition: Callable[[Lease], bool]) -> Lease:
        lease: Lease | None = None

        async def found() -> Lease | None:
            nonlocal lease
            lease = await self.services.store.read(lambda state, _: state.leases[name])
            return lease if condition(lease) else None

        return await async_wait_until(found, lambda: f"the lease is as it should be; it is {lease}")

    async def until_foreign(self, condition: Callable[[dict[str, list[int]]], bool]) -> None:
        await async_wait_until(lambda: condition(self.foreign), lambda: f"what is foreign; it is {self.foreign}")

    @property
    def foreign(self) -> dict[str, list[int]]:
        found = self.services.processes.foreign
        return {name: [one.holder.pid for one in ones] for name, ones in found.items()}

    async def looked(self) -> None:
        """Until another whole look is over."""
        enough = self.machine.calls.count("processes") + 2 * len(self.machine.specs)
        await async_wait_until(lambda: self.machine.calls.count("processes") > enough, "the processes are looked at")


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine([fake_spec("fake-0"), fake_spec("fake-1", 1)])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes_module, "CHECK_INTERVAL_S", 0.02)
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)
    monkeypatch.setattr(processes_module, "END_GRACE_S", 0.2)


def play(
    tmp_path: Path,
    machine: FakeMachine,
    story: Callable[[Pool], Coroutine[Any, Any, None]],
    foreign: str = WARN,
    policy: Policy | None = None,
) -> None:
    async def run() -> None:
        pool = Pool(tmp_path, machine, foreign, policy or Policy(over_limit=OverLimit.REVOKE, over_limit_grace_ms=100))
        await pool.services.start()
        try:
            await story(pool)
        finally:
            await pool.services.stop()

    asyncio.run(run())


def put(machine: FakeMachine, device_id: str, pid: int, gib: int) -> None:
    machine.processes.setdefault(device_id, {})[pid] = gib * GIB


def test_monitor_reports_only_processes_without_a_lease(tmp_path: Path, machine: FakeMachine) -> None:
    with process("a") as (kernel, child), process() as (foreign_pid, _):

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel)
            for pid in (kernel, child, foreign_pid, os.getpid()):  # and the pool itself
                put(machine, "fake-0", pid, 1)
            await pool.until_foreign(lambda found: found == {"fake-0": [foreign_pid]})
            (one,) = pool.services.processes.foreign["fake-0"]
            assert (one.memory_bytes, one.lease_id) == (GIB, None)
            assert one.holder.uid == os.getuid()
            machine.leave(foreign_pid)
            await pool.until_foreign(lambda found: found == {})

        play(tmp_path, machine, story)


def test_process_that_scrubs_is_not_reported_as_one_without_a_lease(tmp_path: Path, machine: FakeMachine) -> None:
    with process() as (worker, _), process() as (foreign_pid, _):

        async def story(pool: Pool) -> None:
            pool.services.scrubber.pids.add(worker)
            for pid in (worker, foreign_pid):
                put(machine, "fake-0", pid, 1)
            await pool.until_foreign(bool)
            assert pool.foreign == {"fake-0": [foreign_pid]}

        play(tmp_path, machine, story)


def test_foreign_process_is_found_within_five_seconds(
    tmp_path: Path, machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # as it is in service
    assert processes_module.CHECK_INTERVAL_S + counters.PROCESSES_S + telemetry.SAMPLE_INTERVAL_S <= 5
    with process() as (foreign_pid, _):

        async def story(pool: Pool) -> None:
            put(machine, "fake-0", foreign_pid, 1)
            began_s = time.monotonic()
            await pool.until_foreign(bool)
            assert time.monotonic() - began_s < 5

        play(tmp_path, machine, story)


def test_process_with_a_lease_of_another_device_is_foreign(tmp_path: Path, machine: FakeMachine) -> None:
    with process("a") as (kernel, child):

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel, "full")
            put(machine, "fake-1", child, 1)
            await pool.until_foreign(lambda found: found == {"fake-1": [child]})
            assert pool.services.processes.foreign["fake-1"][0].lease_id == "a"

        play(tmp_path, machine, story)


def test_kernel_with_a_new_lease_is_identified_by_its_holder(tmp_path: Path, machine: FakeMachine) -> None:
    """Its environment still names the first lease, which is over."""
    with process("first") as (kernel, child):

        async def story(pool: Pool) -> None:
            await pool.ask("second", kernel)
            put(machine, "fake-0", kernel, 1)
            put(machine, "fake-0", child, 1)
            await pool.looked()
            assert pool.foreign == {}

        play(tmp_path, machine, story)


def test_process_that_names_the_lease_of_another_user_is_foreign() -> None:
    with process("a") as (liar, child):
        boot_id = SystemClock().boot_id()
        mine = holder_of(os.getpid(), boot_id)
        theirs = replace(mine, pid=4_000_000, uid=mine.uid + 1)
        assert leases_of(child, {"a": theirs}) == frozenset()
        assert leases_of(child, {"a": replace(theirs, uid=mine.uid)}) == {"a"}
        assert leases_of(child, {"a": replace(mine, pid=liar, start_time=1)}) == {"a"}, "by its word"
        assert leases_of(child, {"b": replace(mine, pid=liar, start_time=1)}) == frozenset(), "a number is no identity"
        assert leases_of(child, {"b": holder_of(liar, boot_id)}) == {"b"}


def test_kernel_with_a_draining_and_a_new_lease_counts_for_both(tmp_path: Path, machine: FakeMachine) -> None:
    with process("first") as (kernel, child):

        async def story(pool: Pool) -> None:
            await pool.ask("first", kernel)
            put(machine, "fake-0", child, 1)
            await pool.services.commands.submit(c.ReleaseLease("first"))
            await pool.ask("second", kernel, "full")
            await pool.looked()
            assert (await pool.until("first", lambda _: True)).state is LeaseState.DRAINING
            assert pool.foreign == {}
            put(machine, "fake-1", kernel, 1)
            await pool.services.commands.submit(c.ReleaseLease("second"))
            await pool.looked()
            assert (await pool.until("second", lambda _: True)).state is LeaseState.DRAINING, "by its holder alone"
            machine.leave(kernel)
            machine.leave(child)
            for name in ("first", "second"):
                await pool.until(name, lambda lease: lease.state is LeaseState.ENDED)

        play(tmp_path, machine, story)


def test_policy_ignore_reports_no_foreign_process(tmp_path: Path, machine: FakeMachine) -> None:
    with process() as (foreign_pid, _):

        async def story(pool: Pool) -> None:
            put(machine, "fake-0", foreign_pid, 1)
            await pool.looked()
            assert pool.foreign == {}

        play(tmp_path, machine, story, IGNORE)


def test_policy_end_ends_exactly_the_foreign_processes(tmp_path: Path, machine: FakeMachine) -> None:
    with process("a") as (kernel, child), process(uid=USER) as (foreign_pid, other):

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel)
            for pid in (kernel, child, foreign_pid):
                put(machine, "fake-0", pid, 1)
            await pool.until_foreign(lambda _: not alive(foreign_pid))
            await pool.until_foreign(lambda found: found == {})
            assert alive(kernel)
            assert alive(child)
            assert alive(other), "it has no memory there"

        play(tmp_path, machine, story, END)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process of a service")
def test_policy_end_spares_services_and_exempt_users(tmp_path: Path, machine: FakeMachine) -> None:
    with contextlib.ExitStack() as running:
        spared = [running.enter_context(process(uid=uid))[0] for uid in (0, 7, DYNAMIC_UIDS.start, SPARED)]
        ended, _ = running.enter_context(process(uid=USER))

        async def story(pool: Pool) -> None:
            for pid in (*spared, ended):
                put(machine, "fake-0", pid, 1)
            await pool.until_foreign(lambda found: sorted(found.get("fake-0", [])) == sorted(spared))
            await pool.looked()
            assert not alive(ended)
            assert all(map(alive, spared))

        play(tmp_path, machine, story, END)


def test_signal_process_does_not_reach_a_reused_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = signal.pidfd_send_signal

    def note_and_send(pidfd: int, number: int) -> None:
        sent.append(number)
        send(pidfd, number)

    monkeypatch.setattr(signal, "pidfd_send_signal", note_and_send)
    with process() as (foreign_pid, _):
        boot_id = SystemClock().boot_id()
        holder = holder_of(foreign_pid, SystemClock().boot_id())
        earlier = type(holder)(holder.boot_id, holder.pid, holder.start_time - 1, holder.pidfd_inode, holder.uid)
        processes_module.signal_process(earlier, boot_id, signal.SIGKILL)
        assert sent == []
        processes_module.signal_process(holder, boot_id, signal.SIGKILL)
        assert sent == [signal.SIGKILL]
        wait_until(lambda: not alive(foreign_pid), "the very process ends")


def test_memory_of_children_counts_and_over_use_revokes(tmp_path: Path, machine: FakeMachine) -> None:
    with process("a") as (kernel, child), process("b") as (neighbour, _):

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel)
            await pool.ask("b", neighbour)
            put(machine, "fake-0", kernel, 30)
            put(machine, "fake-0", neighbour, 40)
            await pool.looked()
            assert (await pool.until("a", lambda _: True)).over_limit_since_ms is None
            put(machine, "fake-0", child, 11)
            await pool.until(
                "a", lambda lease: lease.over_limit_bytes == 41 * GIB or lease.state is not LeaseState.ACTIVE
            )
            lease = await pool.until("a", lambda lease: lease.state is LeaseState.DRAINING)
            assert lease.end_reason is EndReason.OVER_LIMIT
            assert text(lease.end_detail) == "It used 41 GiB of its GPU, more than its limit of 40 GiB."
            assert (await pool.until("b", lambda _: True)).state is LeaseState.ACTIVE
            machine.leave(kernel)
            machine.leave(child)
            await pool.until("a", lambda lease: lease.state is LeaseState.ENDED)

        play(tmp_path, machine, story)


@pytest.mark.parametrize("own_group", [False, True])
def test_driver_limit_follows_the_lease(tmp_path: Path, own_group: bool) -> None:
    machine = FakeMachine([fake_spec("fake-0", 0, Enforcement.DRIVER)])
    with process("a") as (kernel, _):
        machine.own_groups |= {kernel} if own_group else set()

        async def until_limit(memory_bytes: int | None) -> None:
            await async_wait_until(
                lambda: machine.limit_bytes("fake-0") == memory_bytes, lambda: f"{memory_bytes}, of {machine.limits}"
            )

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel)
            if not own_group:
                lease = await pool.until("a", lambda lease: lease.limit_detail is not None)
                assert lease.logical_gpu is not None
                assert lease.logical_gpu.enforcement is Enforcement.COOPERATIVE
                assert machine.limits == {}
                return
            await until_limit(40 * GIB)
            await pool.services.commands.submit(c.ResizeLease("a", "quarter"))
            await until_limit(20 * GIB)
            await pool.services.commands.submit(c.ResizeLease("a", "full"))
            await until_limit(None)
            await pool.services.commands.submit(c.ResizeLease("a", "half"))
            await until_limit(40 * GIB)
            await pool.services.commands.submit(c.ReleaseLease("a"))
            await pool.until("a", lambda lease: lease.state is LeaseState.ENDED)
            await until_limit(None)  # no other lease inherits it

        play(tmp_path, machine, story)


def test_over_use_that_ends_within_the_grace_period_has_no_consequence(tmp_path: Path, machine: FakeMachine) -> None:
    with process("a") as (kernel, _):

        async def story(pool: Pool) -> None:
            await pool.ask("a", kernel)
            put(machine, "fake-0", kernel, 41)
            await pool.until("a", lambda lease: lease.over_limit_since_ms is not None)
            put(machine, "fake-0", kernel, 40)
            await pool.until("a", lambda lease: lease.over_limit_since_ms is None)

        play(tmp_path, machine, story, policy=Policy(over_limit=OverLimit.REVOKE, over_limit_grace_ms=60_000))


def test_refresh_list_from_before_the_grant_reports_no_memory() -> None:
    world = World(spec("gpu-0", parkable=True))
    boot_id = SystemClock().boot_id()
    reported: list[c.ReportMemory] = []

    async def submit(command: c.ReportMemory) -> None:
        reported.append(command)
        world.do(command)

    async def read(view: Callable[..., Any]) -> Any:
        return view(world.state, world.at)

    listed: dict[str, ProcessOwnership] = {}
    monitor = processes_module.ProcessMonitor(
        boot_id,
        OwnershipResolver(boot_id),
        WARN,
        exemptions=Exemptions(),
        own_pids=(),
        driver=cast(Any, None),  # the list of every device is known
        driver_thread=cast(Any, None),
        telemetry=cast(Any, SimpleNamespace(ownership=listed)),
        state=cast(Any, SimpleNamespace(read=read)),
        commands=cast(Any, SimpleNamespace(submit=submit)),
        learn_user=cast(Any, None),  # no process is foreign
        changes=ChangeNotifier(),
    )

    def reports(number: int, gib: int) -> list[int]:
        """Return what one check reports of the lease, by the list of that number."""
        reported.clear()
        listed["gpu-0"] = ProcessOwnership(number, {}, {"a": gib * GIB}, (), hidden=False)
        asyncio.run(monitor._compare(["gpu-0"]))
        return [command.used_bytes // GIB for command in reported]

    world.active("a", "half")
    assert reports(1, 50) == [], "it may have been made before the lease was active"
    assert reports(1, 50) == []
    assert reports(2, 50) == [50]
    world.do(c.ParkLease("a"))
    world.parked("a")
    world.do(c.ResumeLease("a"))
    world.resumed("a")
    assert reports(2, 50) == [], "the process has been parked since"
    assert reports(3, 10) == []
    assert reports(4, 50) == [50]
