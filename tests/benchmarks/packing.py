"""Measure how much of a cluster is allocated: our policy against the published ones, on the openb trace.

    python tests/benchmarks/packing.py [--traces default,...] [--order file,small-first,random:1] [--seeds 42-51]
                                       [--load 1.3] [--classes a,b,c] [--quick] [--check] [--json FILE]

``openb.py`` has the protocol. The figure is the allocated part of the capacity, as the mean over the arrivals at which
the arrived load rounds to X percent, and then over the seeds. The policies of the paper run on the same arrivals as
ours. A run is void if FGD or best-fit is not within 0.3 points of what its authors published.

Our policy is ``fastgpu_jupyter.core.placement.capacity_index`` as the pool uses it, in three classes that are never
mixed:

- a: a task is placed at once or never, and nothing is relocated.
- b: for a task that does not fit, one lease may move or two may swap (``relocation.py``), at most 0.1 moves a task.
- c: fractions may wait until some of them fill a device together to at least 96 percent. A fraction that has been
  passed over by ``--bound`` later tasks is placed as in class a as soon as it fits. Whole GPUs never wait by choice.

The shadow prices come from the trace itself, as FGD's typical tasks do. No constant was chosen on seeds 42 to 51: all
were chosen on the default trace in file order with seeds 100 to 103, and examined on the other traces with these seeds.

Measured on default with seeds 42 to 51, allocated percent at 130 % load in file order, small-first and random:1:

    FGD       95.20  95.36  95.47   published 95.39 (file order)
    best-fit  93.13  93.20  93.06   published 93.08
    ours a    96.15  96.15  96.16   target 95.9
    ours b    96.29  96.29  96.28   target 96.2; 0.005 moves a task, where 0.1 are allowed
    ours c    99.39  99.40  99.40   target 99.3; --bound 10000 (with 4000: 97.39, 97.39, 97.40)

Class c pays for that with waiting: at 100 percent load, 78.8 percent are allocated (class a: 96.05), one task in a
hundred is passed over by 5,500 later ones, none by more than the bound, and of about 10,800 tasks 2,740 still wait at
the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[2])]
# ruff: noqa: E402, T201


from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand, Placement
from fastgpu_jupyter.core.placement.relocation import PlacedDemand, find_move, find_swap
from fastgpu_jupyter.core.placement.shadow_prices import estimate_shadow_prices
from tests.benchmarks.openb import HOME, NODES, WHOLE, Trace, gpu_milli, published, read

#: (class, trace or "") -> least allocation at full load, in the worst order.
TARGETS = {"a": 95.9, "b": 96.2, "c": 99.3}
VOID_BEYOND = 0.3
MOVES_PER_TASK = 0.1
FULL_ENOUGH = 960
#: Parts of a device at most that are made at once.
PARTS_MAX = 6


class Outcome(NamedTuple):
    """The result of one experiment."""

    allocated: list[int]  #: after each arrival
    decide_ns: list[int]
    moves: int = 0
    holds: tuple[int, ...] = ()  #: later arrivals that each queued and placed task waited for
    waiting: int = 0


def index_of(trace: Trace, reference_hosts_max: int | None = None) -> CapacityIndex:
    """Return the empty cluster; hosts are named in the order under test, because the smallest id wins a tie."""
    usual: Counter[Demand] = Counter()
    for demand, count in trace.usual().items():
        usual[replace(demand, host_memory_bytes=0)] += count
    index = CapacityIndex(estimate_shadow_prices(usual, WHOLE), reference_hosts_max)
    for i, node in enumerate(trace.nodes):
        host = f"{i:06d}"
        index.add_host(host, node.cpu_milli, node.memory_mib << 20)
        for g in range(node.gpus):
            index.add_device(f"{host}/{g}", host, node.model, WHOLE)
    return index


def at_once(trace: Trace, arrivals: list[Demand]) -> Outcome:
    """Run an experiment of class a."""
    index, total, allocated, decide_ns = index_of(trace), 0, [], []
    for demand in arrivals:
        began = time.perf_counter_ns()
        placement = index.place(demand)
        if placement is not None:
            index.allocate(placement, demand)
            total += gpu_milli(demand)
        decide_ns.append(time.perf_counter_ns() - began)
        allocated.append(total)
    return Outcome(allocated, decide_ns)


def with_moves(trace: Trace, arrivals: list[Demand]) -> Outcome:
    """Run an experiment of class b."""
    index, total, allocated, decide_ns, moves = index_of(trace), 0, [], [], 0
    held: dict[int, PlacedDemand[int]] = {}
    unplaceable: set[Demand] = set()  # demands for which no move was found since the last placement
    for number, demand in enumerate(arrivals):
        began = time.perf_counter_ns()
        placement = index.place(demand)
        if placement is None and demand.devices and demand not in unplaceable and moves < MOVES_PER_TASK * (number + 1):
            made = _relocate_for(index, held, demand, number)
            moves += made
            if made:
                total += gpu_milli(demand)
                unplaceable.clear()
            else:
                unplaceable.add(demand)
        elif placement is not None:
            index.allocate(placement, demand)
            held[number] = PlacedDemand(number, placement, demand)
            total += gpu_milli(demand)
            unplaceable.clear()
        decide_ns.append(time.perf_counter_ns() - began)
        allocated.append(total)
    return Outcome(allocated, decide_ns, moves)


def _relocate_for(index: CapacityIndex, held: dict[int, PlacedDemand[int]], demand: Demand, number: int) -> int:
    """Place a task by one move or by one swap; return how many tasks were relocated."""
    move = find_move(index, held.values(), demand)
    if move is not None:
        changes, then = [(move.occupant, move.to)], move.then
    else:
        change = find_swap(index, held.values(), demand)
        if change is None:
            return 0
        changes = [(change.one, change.other.placement), (change.other, change.one.placement)]
        then = change.then
    for old, _ in changes:
        index.release(old.placement, old.demand)
    index.allocate(then, demand)
    held[number] = PlacedDemand(number, then, demand)
    for old, to in changes:
        index.allocate(to, old.demand)
        held[old.key] = PlacedDemand(old.key, to, old.demand)
    return len(changes)


class Batches:
    """The queue of class c: fractions that wait until they fill a device together."""

    def __init__(self, index: CapacityIndex, bound: int) -> None:
        self.index, self.bound = index, bound
        self.waiting: dict[int, deque[tuple[int, Demand]]] = defaultdict(deque)  #: by size, in order of arrival
        self.late: deque[tuple[int, Demand]] = deque()  #: whole GPUs that did not fit
        self.holds: list[int] = []
        self.gained = 0
        self._patterns: dict[int, list[tuple[tuple[int, int], ...]]] = {}
        self._known: tuple[int, ...] = ()

    def arrive(self, now: int, demand: Demand) -> None:
        """Add a demand, and place what can be placed now."""
        if demand.devices != 1 or demand.whole:
            if not self._place(now, now, demand):
                self.late.append((now, demand))
        else:
            size = demand.units or 0
            self.waiting[size].append((now, demand))
            self._batch(now, size)
        self._overdue(now)

    def _batch(self, now: int, size: int) -> None:
        """Fill a device as much as possible with waiting tasks, one of them of that size."""
        for pattern in self._with(size):
            if any(len(self.waiting[part]) < count for part, count in pattern):
                continue
            chosen = [self.waiting[part][i] for part, count in pattern for i in range(count)]
            whole = Demand(
                models=_common([demand for _, demand in chosen]),
                cpu_milli=sum(demand.cpu_milli for _, demand in chosen),
                host_memory_bytes=sum(demand.host_memory_bytes for _, demand in chosen),
            )
            placement = self.index.place(whole)
            if placement is None:
                continue
            for since, demand in chosen:
                self.index.allocate(Placement(placement.host_id, placement.device_ids, demand.units or 0), demand)
                self.waiting[demand.units or 0].popleft()
                self._count(now, since, demand)
            return

    def _overdue(self, now: int) -> None:
        for queue in self.waiting.values():
            if queue and now - queue[0][0] >= self.bound:
                since, demand = queue[0]
                if self._place(now, since, demand):
                    queue.popleft()
                else:
                    queue.rotate(-1)  # it does not fit; the next one is tried next time

    def _place(self, now: int, since: int, demand: Demand) -> bool:
        placement = self.index.place(demand)
        if placement is None:
            return False
        self.index.allocate(placement, demand)
        self._count(now, since, demand)
        return True

    def _count(self, now: int, since: int, demand: Demand) -> None:
        self.gained += gpu_milli(demand)
        self.holds.append(now - since)

    def _with(self, size: int) -> list[tuple[tuple[int, int], ...]]:
        """Return the sets of sizes with ``size`` that fill a device: the fullest first, of equal ones the smallest."""
        known = tuple(sorted(self.waiting, reverse=True))
        if known != self._known:
            self._known = known
            self._patterns.clear()
        if size not in self._patterns:
            found: list[tuple[int, int, tuple[tuple[int, int], ...]]] = []

            def grow(start: int, left: int, parts: tuple[int, ...]) -> None:
                if WHOLE - left >= FULL_ENOUGH:
                    found.append((left, len(parts), tuple(sorted(Counter(parts).items()))))
                if len(parts) < PARTS_MAX:
                    for i in range(start, len(known)):
                        if known[i] <= left:
                            grow(i, left - known[i], (*parts, known[i]))

            grow(0, WHOLE - size, (size,))
            self._patterns[size] = [pattern for _, _, pattern in sorted(found)]
        return self._patterns[size]


def _common(demands: list[Demand]) -> frozenset[str] | None:
    sets = [demand.models for demand in demands if demand.models is not None]
    return frozenset.intersection(*sets) if sets else None


def queued(trace: Trace, arrivals: list[Demand], bound: int) -> Outcome:
    """Run an experiment of class c."""
    batches, allocated, decide_ns = Batches(index_of(trace), bound), [], []
    for now, demand in enumerate(arrivals):
        began = time.perf_counter_ns()
        batches.arrive(now, demand)
        decide_ns.append(time.perf_counter_ns() - began)
        allocated.append(batches.gained)
    waiting = sum(map(len, batches.waiting.values())) + len(batches.late)
    return Outcome(allocated, decide_ns, 0, tuple(batches.holds), waiting)


# -- figures ----------------------------------------------------------------------------------------------------------


def at_load(trace: Trace, arrivals: list[Demand], allocated: list[int], percent: int) -> float:
    """Return the mean allocation in percent while the arrived load rounds to ``percent``."""
    arrived, values = 0, []
    for demand, now in zip(arrivals, allocated, strict=True):
        arrived += gpu_milli(demand)
        if round(100 * arrived / trace.capacity) == percent:
            values.append(now)
    return 100 * statistics.fmean(values) / trace.capacity if values else float("nan")


def quantile(values: list[int], part: float) -> int:
    """Return the quantile of the values for a part of 1; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0


class Row(NamedTuple):
    """A row of the printed table."""

    trace: str
    order: str
    policy: str
    at_100: float
    at_full: float
    spread: float
    seeds: int
    decide_us: tuple[float, float]
    note: str


def summarise(
    trace: Trace, order: str, policy: str, args: argparse.Namespace, runs: list[tuple[list[Demand], Outcome]]
) -> Row:
    """Return the row for the experiments of all seeds."""
    full = round(100 * args.load)
    at_full = [at_load(trace, arrivals, outcome.allocated, full) for arrivals, outcome in runs]
    at_100 = [at_load(trace, arrivals, outcome.allocated, min(100, full)) for arrivals, outcome in runs]
    times = [ns for _, outcome in runs for ns in outcome.decide_ns]
    note = ""
    if policy.startswith("ours b"):
        note = f"{sum(o.moves for _, o in runs) / sum(len(a) for a, _ in runs):.4f} moves per task"
    if policy.startswith("ours c"):
        holds = [hold for _, outcome in runs for hold in outcome.holds]
        waiting = statistics.fmean(outcome.waiting for _, outcome in runs)
        note = (
            f"hold p50 {quantile(holds, 0.5)}, p99 {quantile(holds, 0.99)}, most {max(holds)} later tasks; "
            f"{waiting:.0f} wait at the end"
        )
    spread = statistics.stdev(at_full) if len(at_full) > 1 else 0.0
    micro = (quantile(times, 0.5) / 1000, quantile(times, 0.99) / 1000)
    return Row(
        trace.name, order, policy, statistics.fmean(at_100), statistics.fmean(at_full), spread, len(runs), micro, note
    )


def measure(args: argparse.Namespace) -> list[Row]:
    """Run every policy on every trace and order; print and return the rows."""
    ours: dict[str, Callable[[Trace, list[Demand]], Outcome]] = {}
    if "a" in args.classes:
        ours["ours a"] = at_once
    if "b" in args.classes:
        ours["ours b"] = with_moves
    if "c" in args.classes:
        for bound in args.bound:
            ours[f"ours c {bound}"] = partial(queued, bound=bound)
    rows = []
    for pods in args.pods:
        for order in args.order:
            trace = read(args.nodes, pods, order)
            drawn = {seed: trace.arrivals(seed, args.load) for seed in args.seeds}
            for policy in args.policies:
                from tests.benchmarks.controls import Controls

                controls = Controls(trace)
                runs = [(tasks, Outcome(controls.run(policy, tasks, seed), [])) for seed, tasks in drawn.items()]
                rows.append(show(summarise(trace, order, policy, args, runs)))
            for policy, run in ours.items():
                if trace.name != "default" and policy != "ours a":
                    continue  # the targets of the other classes are for the default trace
                runs = [(tasks, run(trace, tasks)) for tasks in drawn.values()]
                rows.append(show(summarise(trace, order, policy, args, runs)))
    return rows


def show(row: Row) -> Row:
    """Print a row of the table, and return it."""
    timing = f"{row.decide_us[0]:6.0f} {row.decide_us[1]:6.0f}" if any(row.decide_us) else " " * 13
    name = f"{row.trace:12} {row.order:12} {row.policy:13}"
    print(f"{name} {row.at_100:7.2f} {row.at_full:7.2f} ±{row.spread:.2f} {timing}  {row.note}", flush=True)
    return row


def judge(rows: list[Row], load: int) -> list[str]:
    """Return what makes the run void, and which targets are missed."""
    found = {(row.trace, row.order, row.policy): row for row in rows}
    wrong = []
    for policy, name in (("FGD", "FGD"), ("best-fit", "BestFit")):
        row, known = found.get(("default", "file", policy)), published("default", name, load)
        if row and known and abs(row.at_full - known) > VOID_BEYOND:
            wrong.append(f"void: {policy} is at {row.at_full:.2f}, its authors published {known:.2f}")
    for row in rows:
        fgd = found.get((row.trace, row.order, "FGD"))
        if row.policy == "ours a" and fgd and row.at_full < fgd.at_full:
            wrong.append(f"{row.trace} {row.order}: ours a {row.at_full:.2f} is below FGD {fgd.at_full:.2f}")
    for kind, target in TARGETS.items():
        mine = [row for row in rows if row.trace == "default" and row.policy.startswith(f"ours {kind}")]
        orders = {row.order for row in mine}
        if mine and min(max(r.at_full for r in mine if r.order == order) for order in orders) < target:
            wrong.append(f"class {kind} misses {target} on default in the worst order")
    return wrong


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=Path, default=NODES)
    parser.add_argument("--pods", type=Path, nargs="*", help="pod lists; by default those of --traces")
    parser.add_argument("--traces", default="default", help="names with commas, or all")
    parser.add_argument("--order", type=lambda text: text.split(","), default=["file", "small-first", "random:1"])
    parser.add_argument("--seeds", type=_seeds, default=_seeds("42-51"))
    parser.add_argument("--load", type=float, default=1.3)
    parser.add_argument("--classes", default="a,b,c")
    parser.add_argument("--policies", default="FGD,best-fit,packing,random", help="controls; empty for none")
    parser.add_argument("--bound", type=lambda text: [int(part) for part in text.split(",")], default=[4000, 10000])
    parser.add_argument("--quick", action="store_true", help="three seeds, file order, class a")
    parser.add_argument("--check", action="store_true", help="exit 1 where the run is void or a target is missed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.order, args.classes = args.seeds[:3], ["file"], "a"
    names = args.traces.split(",")
    if names == ["all"]:
        names = sorted(path.stem.removeprefix("openb_pod_list_") for path in HOME.glob("openb_pod_list_*.csv"))
    args.pods = args.pods or [HOME / f"openb_pod_list_{name}.csv" for name in names]
    args.policies = [policy for policy in args.policies.split(",") if policy]
    return args


def main() -> int:
    """Run the experiments; return 1 for a void run or a missed target if checked."""
    args = _arguments()
    print(
        "trace        order        policy        @100 %  @full         p50 us p99 us  (whole decision; @full is --load)"
    )
    rows = measure(args)
    wrong = judge(rows, round(100 * args.load))
    for line in wrong:
        print(line)
    if args.json:
        args.json.write_text(json.dumps({"rows": [row._asdict() for row in rows], "missed": wrong}, indent=1) + "\n")
    return 1 if args.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
