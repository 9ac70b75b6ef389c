"""What a pool manager in engine mode costs while many of its jobs wait in the queue of a cluster, and what it asks.

A real pool manager submits its jobs to a simulated cluster that starts none of them. Then, for a while, the processor
time of its process and of what it starts is measured, and the calls of the engine are counted from its metrics.

    python tests/benchmarks/cluster_queue.py [--jobs N] [--seconds S] [--json FILE] [--check]

``--check`` ends with status 1 above 2 % of a core, or if the engine was asked about jobs more often than every 2 s.

Measured on 2 cores with other work beside it (load average 8): 500 queued jobs take 0.3 % of a core, 64 MiB, 12 calls
a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

from fastgpu_jupyter.wire.client import new_token  # noqa: E402 (the path comes first)
from fastgpu_jupyter.wire.locate import user_state_dir  # noqa: E402
from fastgpu_jupyter.wire.unixsocket import connect  # noqa: E402
from tests.conftest import isolate  # noqa: E402
from tests.helpers import PoolProcess  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

LIMIT_PERCENT = 2.0
SETTINGS = (
    "--FastGPUPool.cluster=fake:2xA100-80GB", "--Limits.waiting_max=5000", "--Limits.waiting_max_per_tenant=5000",
    "--Limits.leases_max=5000", "--Limits.leases_max_per_tenant=5000", "--Limits.requests_per_s_per_tenant=100000",
    "--Limits.changes_per_day_per_tenant=100000",
)  # fmt: skip


def main() -> int:
    """Measure, print the figures, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        isolate(Path(folder), patch)
        found = measure(Path(folder), options.jobs, options.seconds)
    print(  # noqa: T201
        f"{options.jobs} queued jobs: {found['percent']:.2f} % of a core, {found['memory_mib']:.0f} MiB; "
        f"calls of the engine a minute: {found['statuses']:.1f} for the status of all, {found['others']:.1f} others"
    )
    if options.json:
        options.json.write_text(json.dumps(found))
    too_much = found["percent"] > LIMIT_PERCENT or found["statuses"] > 30.5
    return int(options.check and too_much)


def measure(folder: Path, jobs: int, seconds: float) -> dict[str, float]:
    """Return the figures of a pool manager with so many jobs that wait, over so many seconds."""
    control = user_state_dir() / "cluster/fake/control.json"
    control.parent.mkdir(parents=True, mode=0o700)
    for part in (control.parent, control.parent.parent, control.parent.parent.parent):
        part.chmod(0o700)
    control.write_text(json.dumps({"hold": True}))
    pool = PoolProcess(folder, "")
    pool.start(*SETTINGS)
    try:
        for _ in range(jobs):
            pool.client.request("a100", token=new_token())
        wait_until(lambda: _queued(pool) == jobs, "all jobs wait in the queue of the cluster")
        time.sleep(35)  # until none of them is young
        process = psutil.Process(pool.pid)
        before_s, calls_before, began_s = _cpu_s(process), _calls(pool), time.monotonic()
        time.sleep(seconds)
        minutes = (time.monotonic() - began_s) / 60
        used_s, calls = _cpu_s(process) - before_s, _calls(pool)
        made = {name: (calls[name] - calls_before.get(name, 0)) / minutes for name in calls}
        statuses = made.pop("statuses", 0.0)
        return {
            "percent": 100 * used_s / (60 * minutes),
            "memory_mib": process.memory_info().rss / 2**20,
            "statuses": statuses,
            "others": sum(made.values()),
        }
    finally:
        pool.end()


def _queued(pool: PoolProcess) -> int:
    return sum(1 for one in pool.client.leases() if one["cluster"] and one["cluster"]["position"] is not None)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _calls(pool: PoolProcess) -> dict[str, float]:
    with connect(pool.client.path, 10.0) as connection:
        connection.sendall(b"GET /v1/metrics HTTP/1.1\r\nHost: a\r\nUser-Agent: benchmark\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return {name: float(count) for name, count in re.findall(r'engine_calls_total{method="(\w+)"} (\S+)', text)}


if __name__ == "__main__":
    sys.exit(main())
