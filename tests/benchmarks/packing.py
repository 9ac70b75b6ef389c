"""Measure how much of a cluster is allocated: our policy against the published ones, on the openb trace.

    python tests/benchmarks/packing.py [--traces default,... | given | all] [--order file,small-first,random:1]
                                       [--seeds 42-51] [--load 1.3] [--classes a,b,c] [--quick] [--check] [--json FILE]
                                       [--picture FILE.svg]

``openb.py`` has the protocol, and traces derived from those given. The figure is the allocated part of the capacity, as
the mean over the arrivals at which the arrived load rounds to X percent, and then over the seeds. The policies of the
paper run on the same arrivals as ours. A run is void if FGD or best-fit is not within 0.3 points of what its authors
published. ``--check`` compares class a with FGD at every percent from 60 to ``--load``, on every trace and order.

Our policy is ``fastgpu_jupyter.core.placement.capacity_index`` as the pool uses it, in three classes that are never
mixed:

- a: a task is placed at once or never, and nothing is relocated.
- b: for a task that does not fit, one lease may move or two may swap (``relocation.py``), at most 0.1 moves a task.
- c: fractions may wait until some of them fill a device together to at least 96 percent. A fraction that has been
  passed over by ``--bound`` later tasks is placed as in class a as soon as it fits. Whole GPUs never wait by choice.

The shadow prices come from the trace itself, as FGD's typical tasks do. No constant was chosen on seeds 42 to 51: all
were chosen with seeds 100 to 103 (those of ``scarcity.py`` in file order and random:2 on all traces, the others in file
order on the default trace), and examined with seeds 42 to 51 and other orders.

Measured with seeds 42 to 51, allocated percent of FGD and of ours a, in file order, at 95, 100 and 130 percent load:

    trace                  FGD  ours    FGD  ours    FGD  ours
    cpu100                94.84 94.99   95.06 96.08   95.24 96.17
    default               94.81 95.00   95.01 96.06   95.20 96.16
    gpushare100           86.32 87.04   86.40 87.12   86.64 87.53
    gpushare40            93.80 94.23   93.85 94.55   94.05 94.67
    gpuspec10             90.36 94.41   94.49 95.98   94.72 96.10
    multigpu20            94.97 95.01   95.46 96.66   95.60 96.74
    default+eight         94.75 94.99   94.90 96.27   95.06 96.37
    default+eight+eight   94.98 95.00   95.66 96.67   95.80 96.76
    multigpu20+eight      94.99 95.00   96.29 97.09   96.40 97.17
    gpushare40+eight      92.89 94.53   92.93 94.81   93.16 94.93
    cpu100+eight          94.93 95.01   95.24 96.25   95.39 96.35
    gpuspec10+eight       89.45 94.41   94.04 96.21   94.96 96.32
    gpuspec10+bound       91.12 94.04   94.93 95.87   95.11 96.05
    gpuspec10+bound+bound 82.27 89.80   85.79 93.44   95.25 96.06
    gpuspec10+bound+eight 90.26 93.59   94.83 96.14   95.31 96.30

Of these 15 traces in the three orders, at 71 loads each, ours is below FGD at one of 3,195 points: gpushare40 in order
random:1 at 93 percent, 92.99 instead of 93.00. On default at 130 percent, in file order, small-first and random:1:

    FGD       95.20  95.36  95.47   published 95.39 (file order)
    best-fit  93.13  93.20  93.06   published 93.08
    ours a    96.16  96.16  96.16   target 95.9
    ours b    96.29  96.29  96.28   target 96.2; 0.005 moves a task, where 0.1 are allowed
    ours c    99.39  99.40  99.40   target 99.3; --bound 10000 (with 4000: 97.39, 97.39, 97.40)

Classes b and c were measured before capacity was left to scarce kinds of demands.
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
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[2])]
# ruff: noqa: E402, T201


from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import Demand
from fastgpu_jupyter.core.placement.relocation import PlacedDemand, find_move, find_swap
from fastgpu_jupyter.core.placement.shadow_prices import estimate_shadow_prices
from tests.benchmarks.openb import WHOLE, Trace, given, gpu_milli, published, read_named
from tests.benchmarks.packing_picture import Panel, draw
from tests.benchmarks.packing_queue import Batches

#: (class, trace or "") -> least allocation at full load, in the worst order.
TARGETS = {"a": 95.9, "b": 96.2, "c": 99.3}
VOID_BEYOND = 0.3
#: Arrived loads in percent: the first that is compared with FGD, and those that are printed.
FIRST_LOAD = 60
SHOWN_LOADS = [*range(60, 131, 5)]
PICTURE_FROM = 80
#: Points up to which two means of different experiments are the same.
ROUNDING = 0.005
#: Traces that are derived from those given.
DERIVED = [
    "default+eight", "default+eight+eight", "multigpu20+eight", "gpushare40+eight", "cpu100+eight", "gpuspec10+eight",
    "gpuspec10+bound", "gpuspec10+bound+bound", "gpuspec10+bound+eight",
]  # fmt: skip
MOVES_PER_TASK = 0.1


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


def curve_of(trace: Trace, arrivals: list[Demand], allocated: list[int]) -> dict[int, float]:
    """Return the mean allocation in percent by the percentage of the capacity that the arrived load rounds to."""
    arrived = 0
    values: dict[int, list[int]] = defaultdict(list)
    for demand, now in zip(arrivals, allocated, strict=True):
        arrived += gpu_milli(demand)
        values[round(100 * arrived / trace.capacity)].append(now)
    return {percent: 100 * statistics.fmean(some) / trace.capacity for percent, some in values.items()}


def quantile(values: list[int], part: float) -> int:
    """Return the quantile of the values for a part of 1; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0


class Row(NamedTuple):
    """A row of the printed table."""

    trace: str
    order: str
    policy: str
    curve: dict[int, float]  #: allocated percentage by arrived percentage
    spread: float  #: at full load, between seeds
    seeds: int
    decide_us: tuple[float, float]
    note: str


def summarise(
    trace: Trace, order: str, policy: str, args: argparse.Namespace, runs: list[tuple[list[Demand], Outcome]]
) -> Row:
    """Return the row for the experiments of all seeds."""
    full = round(100 * args.load)
    curves = [curve_of(trace, arrivals, outcome.allocated) for arrivals, outcome in runs]
    curve = {
        percent: statistics.fmean(one[percent] for one in curves)
        for percent in range(FIRST_LOAD, full + 1)
        if all(percent in one for one in curves)
    }
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
    spread = statistics.stdev(one[full] for one in curves) if len(curves) > 1 else 0.0
    micro = (quantile(times, 0.5) / 1000, quantile(times, 0.99) / 1000)
    return Row(trace.name, order, policy, curve, spread, len(runs), micro, note)


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
    for name in args.traces:
        for order in args.order:
            trace = read_named(name, order)
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
    name = f"{row.trace:18} {row.order:12} {row.policy:13}"
    full = max(row.curve)
    print(f"{name} {row.curve[min(100, full)]:7.2f} {row.curve[full]:7.2f} ±{row.spread:.2f} {timing}  {row.note}")
    sys.stdout.flush()
    return row


def pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Return the rows of class a, each with that of FGD on the same trace and order."""
    fgd = {(row.trace, row.order): row for row in rows if row.policy == "FGD"}
    return [(row, fgd[row.trace, row.order]) for row in rows if row.policy == "ours a" and row[:2] in fgd]


def show_curves(rows: list[Row]) -> None:
    """Print the allocation of FGD and of class a at some loads, and the load at which class a is least ahead."""
    for ours, fgd in pairs(rows):
        loads = [load for load in SHOWN_LOADS if load in ours.curve]
        least = min(ours.curve, key=lambda load: ours.curve[load] - fgd.curve[load])
        print(f"\n{ours.trace}, {ours.order}: least ahead of FGD at {least} %:", end=" ")
        print(f"{ours.curve[least] - fgd.curve[least]:+.2f} points")
        print("  arrived %", *(f"{load:6d}" for load in loads))
        for row in (fgd, ours):
            print(f"  {row.policy:9}", *(f"{row.curve[load]:6.2f}" for load in loads))


def picture_of(ours: Row, fgd: Row) -> Panel:
    """Return the panel of a trace, from the load on at which it has something to show."""
    named = {"FGD": fgd.curve, "FastGPU": ours.curve}
    loads = range(PICTURE_FROM, max(ours.curve) + 1)
    return Panel(ours.trace, {name: {load: curve[load] for load in loads} for name, curve in named.items()})


def judge(rows: list[Row], load: int) -> list[str]:
    """Return what makes the run void, and which targets are missed."""
    found = {(row.trace, row.order, row.policy): row for row in rows}
    wrong = []
    for policy, name in (("FGD", "FGD"), ("best-fit", "BestFit")):
        row, known = found.get(("default", "file", policy)), published("default", name, load)
        if row and known and abs(row.curve[load] - known) > VOID_BEYOND:
            wrong.append(f"void: {policy} is at {row.curve[load]:.2f}, its authors published {known:.2f}")
    for ours, fgd in pairs(rows):
        behind = {percent: fgd.curve[percent] - mine for percent, mine in ours.curve.items()}
        most = max(behind, key=behind.__getitem__)
        if behind[most] >= ROUNDING:
            loads = sum(points >= ROUNDING for points in behind.values())
            wrong.append(
                f"{ours.trace} {ours.order}: ours a is below FGD at {loads} loads, most at {most} %: "
                f"{ours.curve[most]:.2f} instead of {fgd.curve[most]:.2f}"
            )
    for kind, target in TARGETS.items():
        mine = [row for row in rows if row.trace == "default" and row.policy.startswith(f"ours {kind}")]
        orders = {row.order for row in mine}
        if mine and min(max(r.curve[load] for r in mine if r.order == order) for order in orders) < target:
            wrong.append(f"class {kind} misses {target} on default in the worst order")
    return wrong


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", default="default", help="names with commas; given; or all: with derived ones")
    parser.add_argument("--order", type=lambda text: text.split(","), default=["file", "small-first", "random:1"])
    parser.add_argument("--seeds", type=_seeds, default=_seeds("42-51"))
    parser.add_argument("--load", type=float, default=1.3)
    parser.add_argument("--classes", default="a,b,c")
    parser.add_argument("--policies", default="FGD,best-fit,packing,random", help="controls; empty for none")
    parser.add_argument("--bound", type=lambda text: [int(part) for part in text.split(",")], default=[4000, 10000])
    parser.add_argument("--quick", action="store_true", help="three seeds, file order, class a")
    parser.add_argument("--check", action="store_true", help="exit 1 where the run is void or a target is missed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="write the curves of FGD and of class a there, as SVG")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.order, args.classes = args.seeds[:3], ["file"], "a"
    named = {"given": given(), "all": [*given(), *DERIVED]}
    args.traces = named.get(args.traces) or args.traces.split(",")
    args.policies = [policy for policy in args.policies.split(",") if policy]
    return args


def main() -> int:
    """Run the experiments; return 1 for a void run or a missed target if checked."""
    args = _arguments()
    header = f"{'trace':18} {'order':12} {'policy':14} @100 %  @full         p50 us p99 us"
    print(f"{header}  (whole decision; @full is --load)")
    rows = measure(args)
    show_curves(rows)
    if args.picture:
        args.picture.write_text(draw([picture_of(*pair) for pair in pairs(rows)]))
    wrong = judge(rows, round(100 * args.load))
    for line in wrong:
        print(line)
    if args.json:
        args.json.write_text(json.dumps({"rows": [row._asdict() for row in rows], "missed": wrong}, indent=1) + "\n")
    return 1 if args.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
