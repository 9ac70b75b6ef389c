"""The recorded process is the holder of a lease: another with its process id is not, and it may be stopped for long.

``FASTGPU_PID_REUSES`` sets how often a process id is used again, ``FASTGPU_STOPPED_S`` how long the holder is stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastgpu_jupyter.wire.client import new_token
from tests.crash.conftest import KillablePool
from tests.helpers import PoolProcess
from tests.views import value_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
NS_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
REUSES = int(os.environ.get("FASTGPU_PID_REUSES", "3"))

SIGNAL_PRINTER = """
import signal, sys, time
got = []
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, lambda number, frame: print("signal", number, flush=True))
print("up", flush=True)
while True:
    time.sleep(60)
"""


def start_with_pid(pid: int, command: list[str]) -> subprocess.Popen[str]:
    """Start a process with the process id of one that has ended."""
    for _ in range(50):
        NS_LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if process.pid == pid:
            return process
        process.kill()
        process.communicate()
    pytest.skip("other processes take the process id first")


@pytest.mark.skipif(not os.access(NS_LAST_PID, os.W_OK), reason="needs root to choose the next process id")
@pytest.mark.parametrize("pool", ["runs", "is killed"])
def test_process_with_the_pid_of_a_dead_holder_is_not_the_holder(killable_pool: KillablePool, pool: str) -> None:
    assert killable_pool.start()
    for _ in range(REUSES):
        token = new_token()
        lease_id = killable_pool.client.request("half", token=token)["id"]
        holder = subprocess.Popen(["sleep", "600"])
        killable_pool.client.bind(lease_id, token, holder.pid)
        wait_until(lambda one=lease_id: killable_pool.client.lease(one)["state"] == "active", "active")  # type: ignore[misc]
        if pool == "is killed":
            killable_pool.kill()
        holder.kill()
        holder.wait()
        process = start_with_pid(holder.pid, [sys.executable, "-c", SIGNAL_PRINTER])
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            if pool == "is killed":
                assert killable_pool.start()
            wait_until(lambda one=lease_id: killable_pool.client.lease(one)["state"] == "ended", "the lease ends")  # type: ignore[misc]
            assert value_of(killable_pool.client.lease(lease_id)["end_reason"]) == "holder_died"
            assert process.poll() is None
        finally:
            process.kill()
            printed, _ = process.communicate()
        assert printed == "", "the new process received a signal"


def test_stopped_holder_keeps_its_lease_and_is_billed(isolated: Path) -> None:
    stopped_s = float(os.environ.get("FASTGPU_STOPPED_S", "2"))
    pool = PoolProcess(isolated, "1xA100-80GB")
    pool.start()
    try:
        token = new_token()
        lease_id = pool.client.request("full", token=token)["id"]
        with subprocess.Popen(["sleep", "600"]) as holder:
            pool.client.bind(lease_id, token, holder.pid)
            pool.wait_state(lease_id, "active")
            holder.send_signal(signal.SIGSTOP)
            earliest_s = time.monotonic()
            before = pool.lease(lease_id)
            began_s = time.monotonic()
            pool.kill()  # the next one recovers the lease without any sign of life of the holder
            pool.start()
            wait_until(
                lambda: time.monotonic() - began_s > stopped_s,
                "the holder was stopped for long enough",
                stopped_s + DEADLINE_S,
            )
            ended_s = time.monotonic()
            after = pool.lease(lease_id)
            latest_s = time.monotonic()
            assert (after["state"], after["holder"]["pid"]) == ("active", holder.pid)
            assert after["times"]["granted_at"] == before["times"]["granted_at"]
            billed_ms = after["usage"]["active_ms"] - before["usage"]["active_ms"]
            assert (ended_s - began_s) * 1000 - 5 <= billed_ms <= (latest_s - earliest_s) * 1000 + 5
            holder.kill()
            pool.wait_state(lease_id, "ended")
    finally:
        pool.end()
