"""Leases of a pool manager that a real Slurm grants, for tests."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from fastgpu_jupyter.wire.client.leases import ClusterOptions
from tests.helpers import PoolProcess
from tests.pool.clusters.agents import SMALL_KERNEL
from tests.waiting import DEADLINE_S

TOKEN = "of-this-lease"
#: How long the pool manager is asked to wait for a change of a lease.
LOOK_MS = 1000


def request(pool: PoolProcess, size: str, partition: str = "", time_limit_ms: int = 7_200_000) -> str:
    """Request a lease and return its id."""
    options = ClusterOptions(partition=partition, time_limit_ms=time_limit_ms)
    found = pool.client.request(size, token=TOKEN, options={"cluster": options})
    return str(found["id"])


def until(pool: PoolProcess, lease_id: str, state: str) -> Any:
    """Wait until a lease is in a state, and return it."""
    began_s, view = time.monotonic(), pool.client.lease(lease_id)
    while view["state"] != state:
        assert time.monotonic() - began_s < DEADLINE_S, f"{state}: {view}\n{pool.log[-3000:]}"
        view = pool.client.lease(lease_id, LOOK_MS, view["version"])
    return view


def cluster_of(pool: PoolProcess, lease_id: str) -> Any:
    """Return the job of a lease."""
    return pool.client.lease(lease_id)["cluster"]


def start_kernel(pool: PoolProcess, lease_id: str) -> int:
    """Start a small kernel in the job of a lease and return its process."""
    return pool.client.start_kernel(lease_id, TOKEN, SMALL_KERNEL, {}, key=secrets.token_hex(16))["pid"]


def step_above(pid: int) -> int:
    """Return Slurm's own process of the job above a process of it."""
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        if "(slurmstepd)" in stat:
            return pid
        pid = int(stat.rpartition(")")[2].split()[1])
    raise AssertionError("no slurmstepd is above the kernel")


def now_ms() -> int:
    """Return the wall-clock time in milliseconds."""
    return int(time.time() * 1000)
