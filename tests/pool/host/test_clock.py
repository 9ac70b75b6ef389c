"""The clock by which leases are billed, on a host that was suspended."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import PoolProcess
from tests.waiting import wait_until

#: What a program sees after a suspend: only CLOCK_BOOTTIME and the wall clock have advanced.
SUSPENDED = """
import os, time
suspended_ns = lambda: 43_200_000_000_000 * os.path.exists({flag!r})
gettime, wall, wall_ns = time.clock_gettime_ns, time.time, time.time_ns
time.clock_gettime_ns = lambda clock: gettime(clock) + (suspended_ns() if clock == time.CLOCK_BOOTTIME else 0)
time.time = lambda: wall() + suspended_ns() / 1e9
time.time_ns = lambda: wall_ns() + suspended_ns()
"""


def test_system_clock_of_a_suspended_host_excludes_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = {time.CLOCK_MONOTONIC: 5_000_000_000, time.CLOCK_BOOTTIME: 43_205_000_000_000}
    monkeypatch.setattr(time, "clock_gettime_ns", clocks.__getitem__)
    assert SystemClock().boot_ms() == 5000


@pytest.mark.slow
def test_lease_of_a_pool_that_was_suspended_is_billed_for_running_time(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = isolated / "suspended"
    (isolated / "site").mkdir()
    (isolated / "site/sitecustomize.py").write_text(SUSPENDED.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(isolated / "site"), prepend=":")
    pool = PoolProcess(isolated, "1xA100-80GB")
    pool.start()
    try:
        lease = pool.client.request("full", token=new_token())
        pool.wait_state(lease["id"], "active")
        began = pool.client.lease(lease["id"])["money"]["cost_at"]
        flag.touch()
        view = wait_until(
            lambda: (one := pool.client.lease(lease["id"]))["usage"]["active_ms"] > 1000 and one, "time passes"
        )
        assert view["money"]["cost_at"] - began > 43_200_000
        assert view["usage"]["active_ms"] < 600_000
        assert view["money"]["cost_micro"] < view["money"]["rate_micro_per_hour"] // 6
        months = {time.strftime("%Y-%m", time.gmtime(ms / 1000)) for ms in (began, view["money"]["cost_at"])}
        statements = [one for month in months for one in pool.client.statements(month)]
        assert 0 < sum(one["active_ms"] for one in statements) < 600_000
    finally:
        pool.end()
