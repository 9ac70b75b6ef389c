"""Measure how long a grant takes: in process with a deep queue, and over the socket with a durable journal.

    python tests/benchmarks/grants.py [--part decide,socket] [--gpus 1000,10000] [--queued 0,1000,100000]
                                      [--steps N] [--seconds S] [--clients N] [--json FILE] [--check]

*Decide*: hosts are drawn from the openb trace up to a number of GPUs and kept full by requests of its shapes (fractions
and whole GPUs, with processors and memory) while leases end; ``--queued`` requests of 500 tenants wait. Without a
queue, requests stop at 95 percent of the GPUs. Timed is the whole ``Pool.execute`` of each command that leads to a
grant: the end of a lease, a request that is granted at once, or a tick, which drops reservations and forgets leases
that ended long ago. Only the second half of the run counts, with garbage collected as in the pool manager. *no ticks*
is p99 without ticks, *tick* the median of all ticks. Time passes as if leases lasted ten minutes.

*Socket*: a real pool manager with simulated devices and its journal, and clients that request and release in a loop, in
processes of their own. Two controls: the same clients asking for ``/v1/health`` in turns with that, of which a command
may cost two; and a loop that appends records of the same size to a file and makes as many durable at once as clients
wait (group commit).

Measured on 2 cores that other work kept busy (load average 2 to 4), at 10,000 GPUs, microseconds of the processor
because wall time says more of that other work: with 1,000 queued p50 136, p99 457; with 100,000 queued p50 126 to 138,
p99 264 to 309, a tick 169 to 209. In the same minutes an earlier version had p50 206 to 208, p99 747 to 773 and a tick
of 930, and these rules compiled (``make compiled``) p50 68 to 93, p99 183 to 266, a tick 140 to 196. Four runs in a row
while nothing else ran: with 1,000 queued p50 87 to 142, p99 269 to 442; with 100,000 p50 133 to 146, p99 265 to 283;
the p50 of one to the other 0.94 to 1.68, in two of four above the target of 1.5. What is left is some 225 calls a
decision: 45 percent of the time to apply two events and follow their device, 43 to find who fits and where.
The targets of 50 and 200 are missed; compiled, p99 is met at times. On 2026-11-30, at a load average of 12: with 1,000
queued p50 68, p99 333; with 100,000 queued p50 60, p99 185.

64 clients over the socket, when little else ran: 5.7 health requests a command before answers were written with their
commands (8,789 and 1,534 a second; processor time 119 and 740 us). Since then only beside other work (load average 5
to 12), where the rate says more of that than of the pool manager: processor time of a health request 115 to 125 us, of
a command 370 to 480 us (3.1 to 3.8 times as much; 370 with the journal in memory, where 2,180 a second were
acknowledged). The target of two is missed. Of the 370, by a profile: 120 what a health request costs, 55 to 60
decisions, 60 to 70 the thread of the journal, 45 preparing and draining with its thread, 25 views of leases and their
JSON, 25 who calls, the body and the key, the rest tasks, timers and publication.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
# ruff: noqa: E402, T201


from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import DeviceSpec, Holder, HostSpec, Instant, LeaseRequest, Mechanism, State
from fastgpu_jupyter.core.model.events import Event, LeaseGranted
from fastgpu_jupyter.core.placement.demand import Demand
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.pool.app import collect_garbage_seldom
from tests.benchmarks.openb import HOME, NODES, Trace, read
from tests.benchmarks.socket_grants import Measured, measure

#: Targets in microseconds for a decision, with the most GPUs and the deepest queue.
P50_US, P99_US = 50, 200
#: Factor by which a decision may take longer with a queue of 100,000 than with one of 1,000.
DEEPER = 1.5
#: How many health requests of the same run a durable command over the socket may cost.
HEALTH_PER_COMMAND = 2.0

LOAD = 0.95
TENANTS = 500
TRIES = 20  #: number of requests in a row that do not fit
LEASE_MS = 600_000
MILLI_BYTES = 80 << 20  #: a thousandth of a device
HOLDER = Holder("boot", 1, 1, 1, 1000)


def world(trace: Trace, gpus: int) -> c.SetDevices:
    """Return the command that shows hosts like those of the trace, with that many GPUs."""
    draw, nodes = random.Random(5), []
    left = gpus
    while left:
        node = draw.choice(trace.nodes)
        if node.gpus <= left:
            nodes.append(node)
            left -= node.gpus
    hosts = [HostSpec(f"host-{i:05d}", node.cpu_milli, node.memory_mib << 20) for i, node in enumerate(nodes)]
    specs = [
        DeviceSpec(
            id=f"{host.id}/{g}",
            index=g,
            model=node.model,
            memory_bytes=1000 * MILLI_BYTES,
            simulated=False,
            mechanisms=(Mechanism.EXCLUSIVE, Mechanism.SHARED),
            rate_micro_per_hour=1_000_000,
            host_id=host.id,
        )
        for host, node in zip(hosts, nodes, strict=True)
        for g in range(node.gpus)
    ]
    return c.SetDevices(tuple(specs), tuple(hosts))


def request_of(demand: Demand) -> LeaseRequest:
    """Return a task of the trace as a request of a user."""
    part = None if demand.whole else (demand.units or 0) * MILLI_BYTES
    profile = (f"{demand.devices}xany" if demand.devices > 1 else "full") if demand.whole else None
    return LeaseRequest(
        profile, part, None, None, cpu_milli=demand.cpu_milli, host_memory_bytes=demand.host_memory_bytes
    )


class Churn:
    """A pool that is kept at a load."""

    def __init__(self, trace: Trace, gpus: int, queued: int) -> None:
        self.draw = random.Random(7)
        self.requests = [request_of(task) for task in trace.tasks if task.devices]
        self.pool = Pool(State())
        self.now_ms = 0.0
        self.most_milli = LOAD * gpus * 1000
        self.queued = queued
        self.number = self.steps = 0
        self.held: list[str] = []
        self.took: list[tuple[str, bool, int, int]] = []  #: command, whether it granted, nanoseconds, of the processor
        self.do(c.StartPool("boot", 0))
        self.do(world(trace, gpus))
        self.fill()

    def milli(self) -> int:
        """Return the thousandths of GPUs that leases hold."""
        return sum(tenant.held_milli for tenant in self.pool.state.tenants.values())

    def do(self, command: c.Command) -> list[Event]:
        """Execute a command, note its time, and report the granted leases as prepared."""
        at = Instant(int(self.now_ms), int(self.now_ms))
        began, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
        events = self.pool.execute(command, at)
        took, took_cpu = time.perf_counter_ns() - began, time.thread_time_ns() - began_cpu
        granted = [event for event in events if type(event) is LeaseGranted]
        self.took.append((type(command).__name__, bool(granted), took, took_cpu))
        for event in granted:
            self.held.append(event.lease_id)
            self.do(c.PrepareSucceeded(event.lease_id, event.logical_gpu.generation))
        return events

    def fill(self) -> None:
        """Request more until enough requests wait, or without a queue, until enough is held."""
        while len(self.pool.state.queue) < self.queued:
            self.ask()
        tries = 0
        while not self.queued and tries < TRIES and self.milli() < self.most_milli:
            self.ask()
            for lease_id in list(self.pool.state.queue):  # it does not fit anywhere
                self.do(c.ReleaseLease(lease_id))
                tries += 1

    def ask(self) -> None:
        """Make one more request."""
        self.number += 1
        tenant = f"tenant-{int(TENANTS * self.draw.random() ** 2)}"
        self.do(c.RequestLease(f"lease-{self.number}", tenant, self.draw.choice(self.requests), HOLDER, "0" * 64))

    def step(self) -> None:
        """End a lease, and request until the load is as before."""
        self.now_ms += LEASE_MS / max(1, len(self.held))
        place = self.draw.randrange(len(self.held))
        self.held[place], self.held[-1] = self.held[-1], self.held[place]
        lease_id = self.held.pop()
        self.do(c.ReleaseLease(lease_id))
        gpu = self.pool.state.leases[lease_id].logical_gpu
        assert gpu is not None
        self.do(c.DrainSucceeded(lease_id, gpu.generation))
        self.fill()
        self.steps += 1
        if self.steps % 100 == 0:
            self.do(c.Tick())


class Decided(NamedTuple):
    """A row of the printed table."""

    gpus: int
    queued: int
    waiting: int
    load_percent: float
    grants: int
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    all_p99_us: float  #: of every command, granted or not
    cpu_p50_us: float  #: processor time, where the machine has other work
    cpu_p99_us: float
    others_p99_us: float  #: of those that grant and are no tick
    tick_p50_us: float  #: of every tick, granted or not


def decide(trace: Trace, gpus: int, queued: int, steps: int) -> Decided:
    """Run one configuration, and return its row."""
    churn = Churn(trace, gpus, queued)
    for _ in range(steps // 2):
        churn.step()
    churn.took.clear()
    gc.collect()
    collect_garbage_seldom()
    for _ in range(steps // 2):
        churn.step()
    gc.unfreeze()
    grants = [ns for _, granted, ns, _ in churn.took if granted]
    ticks = [ns for name, _, ns, _ in churn.took if name == "Tick"]
    others = [ns for name, granted, ns, _ in churn.took if granted and name != "Tick"]
    every = [ns for _, _, ns, _ in churn.took]
    cpu = [ns for _, granted, _, ns in churn.took if granted]
    us = [quantile(grants, part) / 1000 for part in (0.5, 0.9, 0.99, 1)]
    load = 100 * churn.milli() / (1000 * gpus)
    more = [
        quantile(each, part) for each, part in ((every, 0.99), (cpu, 0.5), (cpu, 0.99), (others, 0.99), (ticks, 0.5))
    ]
    return Decided(gpus, queued, len(churn.pool.state.queue), load, len(grants), *us, *(ns / 1000 for ns in more))


def quantile(values: list[int], part: float) -> int:
    """Return the quantile of the values for a part of 1; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0


# -- the table --------------------------------------------------------------------------------------------------------


def judge(decided: list[Decided], measured: Measured | None) -> list[str]:
    """Return the targets that are missed."""
    missed = []
    most = max((row.gpus for row in decided), default=0)
    by_queue = {row.queued: row for row in decided if row.gpus == most}
    deep, shallow = by_queue.get(100_000), by_queue.get(1000)
    if deep and most >= 10_000 and (deep.p50_us > P50_US or deep.p99_us > P99_US):
        missed.append(f"a grant at {most} GPUs and 100,000 queued: p50 at most {P50_US} us, p99 at most {P99_US}")
    if deep and shallow and deep.p50_us > DEEPER * shallow.p50_us:
        missed.append(f"p50 with 100,000 queued is more than {DEEPER} times that with 1,000")
    if measured and measured.health_per_command > HEALTH_PER_COMMAND:
        missed.append(
            f"over the socket, a command costs {measured.health_per_command:.2f} health requests, at most "
            f"{HEALTH_PER_COMMAND:g}"
        )
    return missed


def show(row: Decided) -> Decided:
    """Print a row of the first table, and return it."""
    times = f"{row.p50_us:8.0f} {row.p90_us:8.0f} {row.p99_us:8.0f} {row.max_us:9.0f}"
    cpu = f"{row.cpu_p50_us:8.0f} {row.cpu_p99_us:8.0f} {row.others_p99_us:8.0f} {row.tick_p50_us:8.0f}"
    print(
        f"{row.gpus:7,} {row.waiting:9,} {row.load_percent:6.1f} {row.grants:7,} {times} {cpu} {row.all_p99_us:8.0f}",
        flush=True,
    )
    return row


def show_socket(row: Measured) -> None:
    """Print the second table."""
    print(
        f"\n{row.clients} clients over the socket, {row.cores} cores: "
        f"{row.commands_per_s:,.0f} commands/s, {row.grants_per_s:,.0f} grants/s, refused {row.refused}; "
        f"a grant takes p50 {row.grant_p50_us:,.0f} us, p99 {row.grant_p99_us:,.0f} us\n"
        f"controls: {row.fsync_records_per_s:,.0f} records/s of {row.record_bytes} bytes with fsync in groups of "
        f"{row.clients} (a group p50 {row.fsync_p50_us:,.0f} us); {row.health_per_s:,.0f} health requests/s\n"
        f"a command costs {row.health_per_command:.2f} health requests (at most {HEALTH_PER_COMMAND:g})\n"
        f"processor time of the pool manager: a health request {row.health_cpu_us:,.0f} us, a command "
        f"{row.command_cpu_us:,.0f} us, of which {row.loop_cpu_us:,.0f} in the event loop ({row.decisions_us:,.0f} of "
        f"them decide); {row.commands_per_write:,.1f} commands share a write, {row.write_us:,.0f} us of it for each"
    )


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> int:
    """Measure and print; return 1 for a missed target if checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="decide,socket")
    parser.add_argument("--gpus", type=_numbers, default=[1000, 10_000])
    parser.add_argument("--queued", type=_numbers, default=[0, 1000, 100_000])
    parser.add_argument("--steps", type=int, default=20_000, help="leases that end; the second half is timed")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--nodes", type=Path, default=NODES)
    parser.add_argument("--pods", type=Path, default=HOME / "openb_pod_list_default.csv")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    args = parser.parse_args()
    decided: list[Decided] = []
    measured: Measured | None = None
    if "decide" in args.part:
        trace = read(args.nodes, args.pods)
        print(f"microseconds of a whole decision that grants, {os.cpu_count()} cores; cpu: of the processor alone")
        head = (
            "   GPUs    queued   load  grants      p50      p90      p99       max  cpu p50  cpu p99 no ticks     tick"
        )
        print(head, " all p99")
        decided = [show(decide(trace, gpus, queued, args.steps)) for gpus in args.gpus for queued in args.queued]
    if "socket" in args.part:
        measured = measure(args.clients, args.seconds)
        show_socket(measured)
    missed = judge(decided, measured)
    for line in missed:
        print(f"missed: {line}")
    if args.json:
        report = {
            "cores": os.cpu_count(),
            "decide": [row._asdict() for row in decided],
            "socket": measured._asdict() if measured else None,
            "missed": missed,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if args.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
