"""The policies that ours is compared with, scored as in the simulator of the FGD paper.

Scores are integers, 100 at best, and the first node of the order wins a tie, as in that simulator. Node state lies in
arrays, and only nodes that changed since a shape was last scored are scored again, which changes no result. The loop is
compiled where numba is installed; without it the same code runs, about two hundred times slower.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from tests.benchmarks.openb import WHOLE, Trace, gpu_milli

F = TypeVar("F", bound=Callable[..., Any])
try:
    numba: Any = importlib.import_module("numba")
except ImportError:  # pragma: no cover
    numba = None


def njit(function: F) -> F:
    """Compile a function; without numba, leave it as it is."""
    return function if numba is None else cast(F, numba.njit(function))


FGD, BEST_FIT, PACKING, RANDOM = range(4)
POLICIES = {"FGD": FGD, "best-fit": BEST_FIT, "packing": PACKING, "random": RANDOM}

#: Of the usual tasks FGD weighs the most frequent that cover this much of the trace.
TYPICAL = 0.95


class Controls:
    """A trace as arrays, and the policies on it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        models = {model: i for i, model in enumerate(sorted({node.model for node in trace.nodes}))}
        self.free = np.zeros((len(trace.nodes), max(node.gpus for node in trace.nodes)), np.int64)
        for i, node in enumerate(trace.nodes):
            self.free[i, : node.gpus] = WHOLE
        self.gpus = np.array([node.gpus for node in trace.nodes])
        self.cpu = np.array([node.cpu_milli for node in trace.nodes])
        self.memory = np.array([node.memory_mib for node in trace.nodes])
        self.model = np.array([models[node.model] for node in trace.nodes])
        self.shape_of = {demand: i for i, demand in enumerate(dict.fromkeys(trace.tasks))}
        self.shapes = np.array(
            [
                (d.cpu_milli, d.host_memory_bytes >> 20, d.devices, d.units_on(WHOLE) if d.devices else 0,
                 sum(1 << i for model, i in models.items() if d.allows(model)))
                for d in self.shape_of
            ]
        )  # fmt: skip
        self.typical, self.weight = self._typical()

    def _typical(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the most frequent tasks (cpu, devices, milli, models; without memory) and their frequencies."""
        counts: dict[tuple[int, ...], int] = {}
        for demand in self.trace.tasks:
            cpu, _, devices, milli, models = (int(x) for x in self.shapes[self.shape_of[demand]])
            shape = (cpu, devices, milli, models)
            counts[shape] = counts.get(shape, 0) + 1
        rows: list[tuple[int, ...]] = []
        weights: list[int] = []
        for key, count in sorted(counts.items(), key=lambda item: -item[1]):
            if sum(weights) >= TYPICAL * len(self.trace.tasks):
                break
            rows.append(key)
            weights.append(count)
        return np.array(rows), np.array(weights) / sum(weights)

    def run(self, policy: str, arrivals: list[Any], seed: int) -> list[int]:
        """Return the allocated thousandths of a GPU after each arrival."""
        tasks = np.array([self.shape_of[demand] for demand in arrivals])
        allocated = _run(
            POLICIES[policy], seed, tasks, self.shapes, self.typical, self.weight, self.free.copy(), self.gpus,
            self.cpu.copy(), self.memory.copy(), self.model,
        )  # fmt: skip
        assert allocated[-1] <= self.trace.capacity
        assert allocated[-1] <= sum(map(gpu_milli, arrivals))
        return [int(x) for x in allocated]


@njit
def _fits(free: Any, gpus: int, cpu: int, memory: int, model: int, shape: Any) -> bool:
    if cpu < shape[0] or memory < shape[1]:
        return False
    if shape[2] == 0:
        return True
    if not (shape[4] >> model) & 1:
        return False
    count = 0
    for g in range(gpus):
        if free[g] >= shape[3]:
            count += 1
    return bool(count >= shape[2])


@njit
def _fragments(free: Any, gpus: int, cpu: int, model: int, typical: Any, weight: Any) -> float:
    """Return F of the paper: what of the free GPUs of a node the typical tasks could not use."""
    total = 0
    for g in range(gpus):
        total += free[g]
    fragments = 0.0
    for t in range(len(weight)):
        need, devices, milli, models = typical[t, 0], typical[t, 1], typical[t, 2], typical[t, 3]
        lost = total
        if devices > 0 and cpu >= need and (models >> model) & 1:
            count, small = 0, 0
            for g in range(gpus):
                if free[g] >= milli:
                    count += 1
                else:
                    small += free[g]
            if count >= devices:
                lost = small
        fragments += weight[t] * lost
    return fragments


@njit
def _seen(free: Any, device: int) -> bool:
    """Return whether a GPU before this one has as much free."""
    for g in range(device):  # noqa: SIM110 - numba compiles loops only
        if free[g] == free[device]:
            return True
    return False


@njit
def _put(free: Any, gpus: int, shape: Any, device: int) -> None:
    if device >= 0:
        free[device] -= shape[3]
        return
    left = shape[2]
    for g in range(gpus):
        if left > 0 and free[g] == 1000:
            free[g] = 0
            left -= 1


@njit
def _score(  # noqa: C901, PLR0912 - four short formulas that numba compiles as one
    policy: int, free: Any, gpus: int, cpu: int, model: int, shape: Any, typical: Any, weight: Any
) -> Any:
    """Return the score of a node, and the GPU for a fraction (-1: whole GPUs)."""
    fraction = shape[2] == 1 and shape[3] < 1000
    tightest, whole, total = -1, 0, 0
    for g in range(gpus):
        total += free[g]
        if free[g] == 1000:
            whole += 1
        if fraction and free[g] >= shape[3] and (tightest < 0 or free[g] < free[tightest]):
            tightest = g
    if policy == 3:
        fitting = 0
        for g in range(gpus):
            if fraction and free[g] >= shape[3]:
                fitting += 1
                if np.random.random() * fitting < 1:
                    tightest = g
        return math.floor(np.random.random() * 1e9), tightest
    if policy == 1:
        left = 0.5 * (cpu - shape[0]) / 128000 + 0.5 * (total - shape[2] * shape[3]) / 8000
        return math.floor(100 * (1 - left)), tightest
    if policy == 2:
        if fraction and free[tightest] < 1000:
            return 100 - (free[tightest] - shape[3]) // 10, tightest
        if whole < gpus:
            return (100 if shape[2] == 0 else 50 - whole), tightest
        return 33 - (0 if shape[2] == 0 else whole), tightest
    before = _fragments(free, gpus, cpu, model, typical, weight)
    best, chosen = -1, -1
    for g in range(gpus):
        if fraction and (free[g] < shape[3] or _seen(free, g)):
            continue
        kept = free.copy()
        _put(free, gpus, shape, g if fraction else -1)
        delta = _fragments(free, gpus, cpu - shape[0], model, typical, weight) - before
        free[:] = kept
        score = math.floor(100 / (1 + math.exp(delta / 1000)))
        if score > best:
            best, chosen = score, g if fraction else -1
        if not fraction:
            break
    return best, chosen


@njit
def _run(
    policy: int, seed: int, tasks: Any, shapes: Any, typical: Any, weight: Any, free: Any, gpus: Any, cpu: Any,
    memory: Any, model: Any,
) -> Any:  # fmt: skip
    np.random.seed(seed)
    nodes = len(gpus)
    scores = np.full((len(shapes), nodes), -2, np.int64)  # -2: not scored yet, -1: does not fit
    devices = np.full((len(shapes), nodes), -1, np.int64)
    changes = np.zeros(len(tasks) + 1, np.int64)
    changed = 0
    known = np.full(len(shapes), -1, np.int64)
    allocated = np.zeros(len(tasks), np.int64)
    for t in range(len(tasks)):
        s = tasks[t]
        shape = shapes[s]
        everything = known[s] < 0 or policy == 3
        for c in range(0 if everything else known[s], nodes if everything else changed):
            n = c if everything else changes[c]
            scores[s, n] = -1
            if _fits(free[n], gpus[n], cpu[n], memory[n], model[n], shape):
                scores[s, n], devices[s, n] = _score(policy, free[n], gpus[n], cpu[n], model[n], shape, typical, weight)
        known[s] = changed
        n = np.argmax(scores[s])
        gained = 0
        if scores[s, n] >= 0:
            cpu[n] -= shape[0]
            memory[n] -= shape[1]
            if shape[2] > 0:
                _put(free[n], gpus[n], shape, devices[s, n])
            gained = shape[2] * shape[3]
            changes[changed] = n
            changed += 1
        allocated[t] = (allocated[t - 1] if t else 0) + gained
    return allocated
