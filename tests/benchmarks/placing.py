"""Measure how long a placement takes on a large cluster of openb nodes, kept at a load by leases that come and go.

    python tests/benchmarks/placing.py [--gpus 10000] [--load 0.95] [--decisions 20000] [--check]

Timed are ``place``, ``allocate`` and ``release`` of ``CapacityIndex``, each alone and the three together, in the second
half of the run. ``--check`` exits 1 where the three together take longer than the targets below; it is meaningless on a
busy machine.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]
# ruff: noqa: E402, T201

from fastgpu_jupyter.core.placement.demand import Demand, Placement
from tests.benchmarks.openb import HOME, NODES, Trace, gpu_milli, read
from tests.benchmarks.packing import index_of, quantile

#: Target in microseconds for a placement, an allocation and a release together.
P50_US, P99_US = 30, 150


def churn(trace: Trace, load: float, decisions: int) -> dict[str, list[int]]:
    """Return the nanoseconds of each operation."""
    index, draw, used = index_of(trace), random.Random(5), 0
    live: list[tuple[Placement, Demand]] = []
    took: dict[str, list[int]] = {"place": [], "allocate": [], "release": []}
    while len(took["release"]) < decisions:
        while used > load * trace.capacity:
            placement, demand = live.pop(draw.randrange(len(live)))
            began = time.perf_counter_ns()
            index.release(placement, demand)
            took["release"].append(time.perf_counter_ns() - began)
            used -= gpu_milli(demand)
        demand = trace.tasks[draw.randrange(len(trace.tasks))]
        began = time.perf_counter_ns()
        found = index.place(demand)
        took["place"].append(time.perf_counter_ns() - began)
        if found is not None:
            began = time.perf_counter_ns()
            index.allocate(found, demand)
            took["allocate"].append(time.perf_counter_ns() - began)
            used += gpu_milli(demand)
            live.append((found, demand))
    half = {name: values[-decisions // 2 :] for name, values in took.items()}
    return {**half, "together": [sum(parts) for parts in zip(*half.values(), strict=True)]}


def main() -> int:
    """Measure and print; return 1 for a missed target if checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=10_000)
    parser.add_argument("--load", type=float, default=0.95)
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    openb = read(NODES, HOME / "openb_pod_list_default.csv")
    draw, nodes = random.Random(5), list(openb.nodes)
    while sum(node.gpus for node in nodes) < args.gpus:
        nodes.append(draw.choice(openb.nodes))
    trace = Trace("churn", tuple(nodes), openb.tasks)
    print(f"{len(nodes)} hosts, {trace.capacity // 1000} GPUs, load {args.load:.0%}; microseconds")
    took = churn(trace, args.load, args.decisions)
    for name, values in took.items():
        print(f"{name:10}", *(f"p{part:g} {quantile(values, part / 100) / 1000:7.1f}" for part in (50, 90, 99, 99.9)))
    slow = quantile(took["together"], 0.5) > P50_US * 1000 or quantile(took["together"], 0.99) > P99_US * 1000
    return 1 if args.check and slow else 0


if __name__ == "__main__":
    sys.exit(main())
