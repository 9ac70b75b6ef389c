"""What a call through the executor costs, beside the standard library's processes and joblib's loky, and 1,000 jobs.

A pool of simulated devices, the dispatcher and the workers are real processes in a folder of their own. The three
executors are measured in one run and in turns, so that what else the machine does meets all alike:

* *first*: from the construction of the executor until its first call begins, with all processes to start;
* *start*: from ``submit`` until a following call begins, in a worker that is kept;
* *round trip*: from ``submit`` until its result is there.

Then 1,000 calls are submitted while the only GPU is in use: the time of each ``submit``, and how much more memory the
dispatcher and the pool manager have with them.

    python tests/benchmarks/jobs.py [--calls N] [--first N] [--queued N] [--json FILE] [--check]

``--check`` ends with status 1 where the median *start* is more than 2 times that of either of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

from tests.benchmarks.kernel_start import DEADLINE_S, isolate, start_pool  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

LIMIT = 2.0
OURS, PROCESSES, LOKY = "FastGPU", "ProcessPoolExecutor", "loky"
#: Between two calls, so that each finds its worker waiting.
PAUSE_S = 0.002


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=500, help="following calls of each executor")
    parser.add_argument("--first", type=int, default=5, help="executors of each kind that are started")
    parser.add_argument("--queued", type=int, default=1000, help="jobs that are queued at once")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="fail where a following call starts too late")
    options = parser.parse_args()
    # The last worker may still be ending when the folder is removed.
    folders = tempfile.TemporaryDirectory(prefix="fastgpu-bench-", ignore_cleanup_errors=True)
    with folders as folder, services(Path(folder)) as pool_pid:
        report = {
            "first": measure_first(options.first),
            **measure_following(options.calls),
            "queued": measure_queued(options.queued, pool_pid),
        }
    print(table(report))  # noqa: T201 (its purpose)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    ratios = report["start"]["ratio"]
    slow = [name for name, ratio in ratios.items() if ratio > LIMIT]
    if options.check and slow:
        said = f"A following call starts later than {LIMIT:g} times {' and '.join(slow)}."
        print(said, file=sys.stderr)  # noqa: T201
        return 1
    return 0


@contextmanager
def services(folder: Path) -> Iterator[int]:
    """A pool manager, whose pid is yielded; the dispatcher starts with the first call and is ended here."""
    isolate(folder)
    pool = start_pool(folder)
    try:
        yield pool.pid
    finally:
        from fastgpu_jupyter.jobs.client import running_dispatcher
        from fastgpu_jupyter.wire.client import PoolClient
        from fastgpu_jupyter.wire.locate import user_socket

        dispatcher = running_dispatcher()
        if dispatcher is not None:
            process = psutil.Process(dispatcher.ping()["pid"])
            dispatcher.stop()
            dispatcher.close()
            process.wait(DEADLINE_S)
        # Kept workers end with the dispatcher; without a pool manager they would start one to release their leases.
        client = PoolClient(user_socket())
        wait_until(lambda: all(lease["state"] == "ended" for lease in client.leases()), "all leases have ended")
        pool.terminate()
        pool.wait()


# -- the executors -----------------------------------------------------------------------------------------------------


def begun() -> int:
    """The time, in nanoseconds of a clock that all processes share."""
    return time.monotonic_ns()


def fastgpu() -> Executor:
    """Return an executor of ours with one worker, of a key that no other one has."""
    import fastgpu_jupyter

    os.environ["OMP_BENCHMARK"] = str(time.monotonic_ns())  # one more variable: another worker
    executor: Executor = fastgpu_jupyter.Executor("half", max_workers=1)
    return executor


def loky() -> Executor:
    """Return an executor of loky that is not shared."""
    from joblib.externals.loky import ProcessPoolExecutor as LokyExecutor  # type: ignore[import-untyped]

    executor: Executor = LokyExecutor(1)
    return executor


MAKERS: Mapping[str, Callable[[], Executor]] = {
    OURS: fastgpu,
    PROCESSES: partial(ProcessPoolExecutor, 1),
    LOKY: loky,
}


def measure_first(count: int) -> dict[str, Any]:
    """Seconds until the first call of a new executor begins; the first executor of each kind is left out."""
    samples: dict[str, list[float]] = {name: [] for name in MAKERS}
    for turn in range(count + 1):
        for name, make in in_turn(turn):
            before = begun()
            with make() as executor:
                took = (executor.submit(begun).result() - before) / 1e9
            if turn:
                samples[name].append(took)
    return summary(samples)


def measure_following(count: int) -> dict[str, Any]:
    """Seconds until a call begins in a worker that waits for it, and until its result is there."""
    executors = {name: make() for name, make in MAKERS.items()}
    starts: dict[str, list[float]] = {name: [] for name in MAKERS}
    trips: dict[str, list[float]] = {name: [] for name in MAKERS}
    for turn in range(count + 20):
        for name, _ in in_turn(turn):
            time.sleep(PAUSE_S)
            before = begun()
            at = executors[name].submit(begun).result()
            after = begun()
            if turn >= 20:
                starts[name].append((at - before) / 1e9)
                trips[name].append((after - before) / 1e9)
    for executor in executors.values():
        executor.shutdown()
    return {"start": summary(starts), "round trip": summary(trips)}


def in_turn(turn: int) -> list[tuple[str, Callable[[], Executor]]]:
    """Return the executors, in the other order each second time."""
    return list(MAKERS.items())[:: 1 if turn % 2 else -1]


def measure_queued(count: int, pool_pid: int) -> dict[str, Any]:
    """Seconds of each submit while nothing can run, and bytes of memory with all jobs queued."""
    import fastgpu_jupyter
    from fastgpu_jupyter.jobs.client import ensure_dispatcher
    from fastgpu_jupyter.wire.client import PoolClient, new_token
    from fastgpu_jupyter.wire.locate import user_socket

    pool_client, tokens = PoolClient(user_socket()), [new_token() for _ in range(4)]
    leases = [pool_client.request("full", token=token) for token in tokens]
    client = ensure_dispatcher()
    processes = {"dispatcher": psutil.Process(client.ping()["pid"]), "pool": psutil.Process(pool_pid)}
    before = {name: process.memory_info().rss for name, process in processes.items()}
    executor = fastgpu_jupyter.Executor("full")
    took = []
    for _ in range(count):
        began = time.perf_counter()
        executor.submit(begun)
        took.append(time.perf_counter() - began)
    more = {name: process.memory_info().rss - before[name] for name, process in processes.items()}
    began = time.perf_counter()
    executor.shutdown(cancel_futures=True)
    cancelled = time.perf_counter() - began
    for lease, token in zip(leases, tokens, strict=True):
        pool_client.release(lease["id"], token)
    percentiles = statistics.quantiles(took, n=100)
    return {
        "jobs": count,
        "submit": {"median": statistics.median(took), "p99": percentiles[98], "most": max(took)},
        "cancel_all_s": cancelled,
        "memory_before_bytes": before,
        "memory_more_bytes": more,
    }


# -- the report --------------------------------------------------------------------------------------------------------


def summary(samples: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians with quartiles, and how many times ours is as long as each of the others."""
    rows: dict[str, Any] = {}
    for name, values in samples.items():
        low, _, high = statistics.quantiles(values, n=4)
        rows[name] = {"median": statistics.median(values), "q1": low, "q3": high, "n": len(values)}
    rows["ratio"] = {name: rows[OURS]["median"] / rows[name]["median"] for name in samples if name != OURS}
    return rows


def table(report: Mapping[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'milliseconds: median (quartiles)':<34}{OURS:>24}{PROCESSES:>24}{LOKY:>24}   ratios"]
    for name in ("first", "start", "round trip"):
        rows = report[name]
        cells = [
            f"{row['median'] * 1e3:.2f} ({row['q1'] * 1e3:.2f}-{row['q3'] * 1e3:.2f})"
            for row in (rows[OURS], rows[PROCESSES], rows[LOKY])
        ]
        ratios = " ".join(f"{ratio:.2f}" for ratio in rows["ratio"].values())
        lines.append(f"{name:<34}{cells[0]:>24}{cells[1]:>24}{cells[2]:>24}   {ratios}")
    queued = report["queued"]
    submit = {name: f"{value * 1e3:.2f}" for name, value in queued["submit"].items()}
    lines.append(
        f"{queued['jobs']} queued; submit in ms: median {submit['median']}, p99 {submit['p99']}, max {submit['most']}"
    )
    for name, more in queued["memory_more_bytes"].items():
        before = queued["memory_before_bytes"][name]
        lines.append(f"  memory of the {name}: {before / 2**20:.0f} MiB before, {more / 2**20:.1f} MiB more with them")
    lines.append(f"  all cancelled after {queued['cancel_all_s']:.2f} s")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
