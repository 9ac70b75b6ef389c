"""Read the openb cluster trace, and draw the arrivals of the published experiment on it.

The trace (Alibaba, 2023, as the FGD paper of ATC 2023 uses it) is read from where it lies beside the repository, or
from the folder that ``FASTGPU_OPENB`` names, and is never copied into it. An experiment is an empty cluster and a list
of arrivals: the trace shuffled, then topped up with tasks drawn from it with replacement until their GPUs exceed
``load`` times the capacity (cut down first where the trace is bigger than that). Nothing leaves.

Traces are derived from those given: ``default+eight`` is the default trace with twice the share of tasks that want
eight GPUs, ``gpuspec10+bound`` has twice the share of tasks that name a model, and so on.
"""

from __future__ import annotations

import csv
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fastgpu_jupyter.core.placement.demand import Demand

HOME = Path(os.environ.get("FASTGPU_OPENB") or Path(__file__).resolve().parents[3] / "shared" / "traces" / "openb")
NODES = HOME / "openb_node_list_gpu_node.csv"
PUBLISHED = HOME / "published" / "analysis_allo_discrete.csv"

#: A whole GPU in the trace.
WHOLE = 1000
#: The tasks of which a derived trace has twice the share, by its suffix.
DOUBLED: dict[str, Callable[[Demand], bool]] = {
    "eight": lambda demand: demand.devices == 8,
    "bound": lambda demand: demand.models is not None,
}


class Node(NamedTuple):
    """One row of the node list."""

    name: str
    cpu_milli: int
    memory_mib: int
    gpus: int
    model: str


@dataclass(frozen=True)
class Trace:
    """Nodes in the order under test, and the tasks of a pod list in file order."""

    name: str
    nodes: tuple[Node, ...]
    tasks: tuple[Demand, ...]

    @cached_property
    def capacity(self) -> int:
        """The capacity in thousandths of a GPU."""
        return WHOLE * sum(node.gpus for node in self.nodes)

    def usual(self, cover: float = 1.0) -> dict[Demand, int]:
        """Return how often the most frequent tasks come, which together are ``cover`` of the trace."""
        counts = Counter(self.tasks)
        chosen: dict[Demand, int] = {}
        covered = 0
        for demand, count in counts.most_common():
            if covered >= cover * len(self.tasks):
                break
            chosen[demand] = count
            covered += count
        return chosen

    def arrivals(self, seed: int, load: float) -> list[Demand]:
        """Return the tasks of one experiment, in order."""
        draw = random.Random(seed)
        tasks = list(self.tasks)
        draw.shuffle(tasks)
        wanted = load * self.capacity
        total = sum(map(gpu_milli, tasks))
        while total > wanted:
            total -= gpu_milli(tasks.pop())
        while total <= wanted:
            tasks.append(self.tasks[draw.randrange(len(self.tasks))])
            total += gpu_milli(tasks[-1])
        return tasks


def gpu_milli(demand: Demand) -> int:
    """Return the thousandths of a GPU that a task requests."""
    return demand.devices * demand.units_on(WHOLE)


def given() -> list[str]:
    """Return the names of the traces that are given."""
    return sorted(path.stem.removeprefix("openb_pod_list_") for path in HOME.glob("openb_pod_list_*.csv"))


def read_named(name: str, order: str = "file", nodes: Path = NODES) -> Trace:
    """Return a trace by its name, which may be that of a derived one."""
    base, *doubled = name.split("+")
    trace = read(nodes, HOME / f"openb_pod_list_{base}.csv", order)
    for kind in doubled:
        trace = double(trace, kind)
    return trace


def double(trace: Trace, kind: str) -> Trace:
    """Return a trace of as many tasks with twice the share of a kind of them; of the others, some are left out."""
    if kind not in DOUBLED:
        sys.exit(f"No trace can be derived by {kind!r}: {', '.join(DOUBLED)}.")
    doubled = [task for task in trace.tasks if DOUBLED[kind](task)]
    others = [task for task in trace.tasks if not DOUBLED[kind](task)]
    left = random.Random(0).sample(others, len(trace.tasks) - 2 * len(doubled))
    return Trace(f"{trace.name}+{kind}", trace.nodes, (*doubled, *doubled, *left))


def read(nodes: Path, pods: Path, order: str = "file") -> Trace:
    """Return a trace with its nodes in ``order``: file, small-first or random:SEED."""
    missing = [str(path) for path in (nodes, pods) if not path.is_file()]
    if missing:
        sys.exit(f"The trace is not here: {', '.join(missing)}. Name its files with --nodes and --pods.")
    with nodes.open(newline="", encoding="utf-8") as file:
        hosts = [
            Node(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
            for row in csv.DictReader(file)
        ]
    with pods.open(newline="", encoding="utf-8") as file:
        demands: dict[Demand, Demand] = {}  # one object per shape: equal ones are found at once
        tasks = [demands.setdefault(one, one) for one in map(_demand, csv.DictReader(file))]
    return Trace(pods.stem.removeprefix("openb_pod_list_"), tuple(_ordered(hosts, order)), tuple(tasks))


def _ordered(hosts: list[Node], order: str) -> list[Node]:
    kind, _, seed = order.partition(":")
    if kind == "file":
        return hosts
    if kind == "small-first":
        return sorted(hosts, key=lambda node: node.gpus)
    if kind == "random" and seed.isdecimal():
        return random.Random(int(seed)).sample(hosts, len(hosts))
    sys.exit(f"There is no node order {order!r}: file, small-first or random:SEED.")


def _demand(row: dict[str, str]) -> Demand:
    devices, milli, models = int(row["num_gpu"]), int(row["gpu_milli"]), row.get("gpu_spec") or ""
    return Demand(
        devices=devices,
        units=milli if devices and milli < WHOLE else None,
        models=frozenset(models.split("|")) if models else None,
        cpu_milli=int(row["cpu_milli"]),
        host_memory_bytes=int(row["memory_mib"]) << 20,
    )


def published(trace: str, policy: str, load: int) -> float | None:
    """Return the mean allocation in percent that the authors published; ``None`` where they did not."""
    if not PUBLISHED.is_file():
        return None
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        values = [
            float(row[str(load)])
            for row in csv.DictReader(file)
            if row["workload"] == f"openb_pod_list_{trace}" and row["sc_policy"].endswith(policy)
        ]
    return sum(values) / len(values) if values else None
