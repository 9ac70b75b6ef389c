"""Standby kernels at the pool's socket: real processes, whose user, parent, memory and end the pool sees itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fastgpu_jupyter.pool.composition import ServiceOptions
from fastgpu_jupyter.pool.monitors import standby
from fastgpu_jupyter.pool.monitors.standby import StandbyLimits, StandbyMonitor, counted_bytes
from fastgpu_jupyter.wire import host_memory
from fastgpu_jupyter.wire.host_memory import MemoryDomain
from fastgpu_jupyter.wire.pressure import Pressure
from fastgpu_jupyter.wire.process_identity import start_time
from fastgpu_jupyter.wire.schemas import StandbyKernelBody
from tests.pool.monitors.test_metrics import scrape
from tests.pool.served import ServedPool
from tests.waiting import wait_until

MIB = 2**20
#: Takes the memory in its argument and waits.
CHILD = "import sys; taken = b'x' * (int(sys.argv[1]) << 20); print(flush=True); sys.stdin.read()"
Child = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def child() -> Iterator[Child]:
    """Start children of this process, which take the memory given in MiB."""
    started: list[subprocess.Popen[bytes]] = []

    def start(memory_mib: int = 1, **more: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", "-c", CHILD, str(memory_mib)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more))
        started[-1].stdout.readline()  # type: ignore[union-attr]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[ServedPool]:
    """A pool whose standby kernels may have 110 MiB together."""
    percent = 100 * 110 * MIB / psutil.virtual_memory().total
    served = ServedPool(tmp_path, options=ServiceOptions(standby=StandbyLimits(percent)))
    yield served
    served.stop()


def described(process: subprocess.Popen[bytes], memory_bytes: int | None = None) -> StandbyKernelBody:
    started = start_time(process.pid)
    assert started is not None
    return {"pid": process.pid, "start_time": started, "memory_bytes": memory_bytes}


def refusals(answer: Any) -> list[str | None]:
    return [None if one["refusal"] is None else one["refusal"]["code"] for one in answer["kernels"]]


def test_pool_measures_the_memory_of_reported_kernels_itself(pool: ServedPool, child: Child) -> None:
    process = child(30)
    answer = pool.client.report_standby([described(process, memory_bytes=1)], None)
    (kernel,) = answer["kernels"]
    assert kernel["memory_bytes"] == pytest.approx(host_memory.proportional_bytes(process.pid), rel=0.1)
    assert (kernel["memory_bytes"] or 0) > 30 * MIB
    assert pool.client.standby_kernels() == {
        "kernels": [{"pid": process.pid, "server_pid": os.getpid(), "memory_bytes": kernel["memory_bytes"]}],
        "host": answer["host"],
    }
    assert (answer["host"]["count"], answer["host"]["memory_bytes"]) == (1, kernel["memory_bytes"])
    assert scrape(pool)["fastgpu_standby_memory_bytes"] == kernel["memory_bytes"]


def test_pool_counts_no_process_that_is_not_a_child_of_the_caller(pool: ServedPool, child: Child) -> None:
    process = child()
    parent = os.getppid()
    others: list[StandbyKernelBody] = [
        {"pid": parent, "start_time": start_time(parent) or 0, "memory_bytes": None},
        {**described(process), "start_time": described(process)["start_time"] + 1},
        {"pid": 2**22 - 1, "start_time": 1, "memory_bytes": None},
    ]
    for other in others:
        answer = pool.client.report_standby([other], None)
        assert refusals(answer) == ["standby.not_seen"]
        assert answer["kernels"][0]["memory_bytes"] is None
        assert answer["host"]["count"] == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_pool_counts_no_child_of_another_user(pool: ServedPool) -> None:
    with subprocess.Popen(["sleep", "60"], user=65534) as process:
        assert refusals(pool.client.report_standby([described(process)], None)) == ["standby.not_seen"]
        process.kill()


def test_standby_kernels_vanish_with_their_processes_and_leave_nothing(pool: ServedPool, child: Child) -> None:
    processes = [child(), child()]
    pool.client.report_standby([described(one) for one in processes], None)
    assert pool.client.standby_kernels()["host"]["count"] == 2
    processes[0].kill()
    wait_until(lambda: pool.client.standby_kernels()["host"]["count"] == 1, "one kernel is left")
    assert pool.client.standby_kernels()["kernels"][0]["pid"] == processes[1].pid
    pool.client.report_standby([], None)
    assert pool.client.standby_kernels()["kernels"] == []
    assert pool.call(lambda: dict(pool.services.standby._watched)) == {}
    assert not [name for name in scrape(pool) if name.startswith("fastgpu_events_total")]  # nothing is journalled


def test_pool_without_readable_memory_bounds_what_a_server_states(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = child(30)
    measured_bytes = counted_bytes(process.pid, None)
    monkeypatch.setattr(standby, "proportional_bytes", lambda _: None)
    all_bytes = counted_bytes(process.pid, None)
    least_bytes = counted_bytes(process.pid, 1)
    assert measured_bytes is not None
    assert all_bytes is not None
    assert least_bytes is not None
    assert 30 * MIB < least_bytes <= measured_bytes <= all_bytes
    assert counted_bytes(process.pid, measured_bytes) == measured_bytes
    assert counted_bytes(process.pid, 2**50) == all_bytes


def test_limits_follow_pressure_and_available_memory() -> None:
    limits = StandbyLimits()

    def refusals_of(available: int | None, pressure: Pressure | None) -> tuple[str | None, str | None]:
        found = limits.domain(MemoryDomain("", 1000, available, pressure))
        assert found.budget_bytes == 50
        return found.refusal, found.new_refusal

    assert refusals_of(500, Pressure(0.0, 0.0)) == (None, None)
    assert refusals_of(None, None) == (None, None)  # unknown, not pressed
    assert refusals_of(500, Pressure(5.0, 0.0)) == ("pressure", None)
    assert refusals_of(500, Pressure(0.0, 5.0)) == ("pressure", None)
    assert refusals_of(99, None) == (None, "low_memory")
    assert refusals_of(49, None) == ("low_memory", "low_memory")
    assert StandbyLimits(0.0).domain(MemoryDomain("", 1000, 500, None)).refusal == "off"


def test_domains_are_the_host_and_each_group_with_a_limit(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    leaf = groups / "user/kernel"
    leaf.mkdir(parents=True)
    (proc / "7").mkdir(parents=True)
    (proc / "7/cgroup").write_text("4:memory:/other\n0::/user/kernel\n")
    assert host_memory.domains_of(7, proc, groups) == ()
    (proc / "meminfo").write_text("MemTotal: 4 kB\nMemAvailable: 2 kB\n")
    (leaf.parent / "memory.max").write_text("1000\n")
    (leaf.parent / "memory.high").write_text("800\n")
    (leaf.parent / "memory.current").write_text("500\n")
    (leaf.parent / "memory.pressure").write_text(
        "some avg10=1.50 avg60=2.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    (leaf / "memory.max").write_text("max\n")
    assert host_memory.domains_of(7, proc, groups) == (
        MemoryDomain("", 4096, 2048, None),
        MemoryDomain(str(leaf.parent), 800, 300, Pressure(1.5, 2.0)),
    )


# -- two servers ------------------------------------------------------------------------------------------------------

#: A Jupyter server as far as standby kernels go: each line of input is an order, each line of output its result.
SERVER = f"""
import asyncio, json, logging, subprocess, sys, time
from fastgpu_jupyter.server.standby_budget import StandbyBudget, StandbyRules, Waiting
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.process_identity import start_time

CHILD = {CHILD!r}

async def main(path):
    connect = lambda: PoolClient(path)
    budget = StandbyBudget(logging.getLogger(), rules=StandbyRules(wait_for_quiet=False), connect=connect)
    kernels = {{}}
    for line in sys.stdin:
        order = line.strip()
        if order == "want":
            refusal = await budget.allowed("python3")
            found = refusal and refusal.code
        elif order == "start":
            command = [sys.executable, "-I", "-S", "-c", CHILD, "35"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            process.stdout.readline()
            kernels[process.pid] = process
            found = process.pid
        elif order == "report":
            waiting = [Waiting(pid, start_time(pid), "python3", None, time.monotonic()) for pid in kernels]
            stay = await budget.report(waiting)
            found = sorted(kernels.keys() - stay)
            for pid in found:
                kernels[pid].kill()
                kernels.pop(pid).wait()
        print(json.dumps(found), flush=True)

asyncio.run(main(sys.argv[1]))
"""


class ServerProcess:
    """A process that stands for a Jupyter server."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", SERVER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, order: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def servers(pool: ServedPool) -> Iterator[list[ServerProcess]]:
    started = [ServerProcess(pool.path) for _ in range(2)]
    yield started
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.slow
def test_two_servers_share_the_budget_and_leave_their_part_when_killed(
    pool: ServedPool, servers: list[ServerProcess]
) -> None:
    first, second = servers
    most_bytes = 0

    def used() -> int:
        nonlocal most_bytes
        host = pool.client.standby_kernels()["host"]
        most_bytes = max(most_bytes, host["memory_bytes"])
        return host["count"]

    for _ in range(2):  # alone, it may have two: a first one counts as 64 MiB before it is measured
        assert first.do("want") is None
        first.do("start")
        assert first.do("report") == []
    assert first.do("want") == "standby.budget"
    assert second.do("want") == "standby.budget"  # until the first server has ended its second one
    assert used() == 2
    (ended,) = first.do("report")
    wait_until(lambda: used() == 1, "the second kernel of the first server has ended")
    with pytest.raises(ProcessLookupError):
        os.kill(ended, 0)
    assert second.do("want") is None
    second.do("start")
    assert second.do("report") == []
    assert first.do("want") == "standby.budget"
    assert [first.do("report"), second.do("report"), used()] == [[], [], 2]
    first.process.kill()  # its kernels read the end of their input
    wait_until(lambda: used() == 1, "what the first server had is free")
    assert second.do("want") is None
    assert most_bytes <= 110 * MIB


def test_server_that_is_silent_wants_nothing_more(pool: ServedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "SILENCE_MAX_S", 0.05)
    assert pool.client.report_standby([], 60 * MIB)["refusal"] is None
    monitor: StandbyMonitor = pool.services.standby
    assert pool.call(lambda: len(monitor.registry.servers())) == 1
    wait_until(lambda: pool.call(lambda: not monitor.registry.servers()), "the server is forgotten")
    assert pool.call(lambda: not monitor._watched)
