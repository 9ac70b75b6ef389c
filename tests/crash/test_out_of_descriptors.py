"""A pool manager that has no file descriptor left: it refuses, and takes nothing that it cannot see for gone."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fastgpu_jupyter.errors import LimitReached
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import PoolProcess
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
#: How long the use of processor time and the log are observed.
OBSERVED_S = float(os.environ.get("FASTGPU_DESCRIPTORS_S", "1.5"))


def settled_descriptors(pool: PoolProcess) -> set[int]:
    """Return the descriptors of the pool manager, once it has closed those of earlier connections."""
    seen: list[set[int]] = []

    def settled() -> bool:
        seen.append({int(path.name) for path in Path(f"/proc/{pool.pid}/fd").iterdir()})
        return len(seen) > 5 and all(one == seen[-1] for one in seen[-5:])

    wait_until(settled, "the descriptors stay the same")
    return seen[-1]


@contextlib.contextmanager
def descriptors(pool: PoolProcess, more: int) -> Iterator[None]:
    """Let the pool manager open ``more`` descriptors meanwhile; with fewer than none, not even its reserve."""
    used = settled_descriptors(pool)
    free = [number for number in range(max(used) + 20) if number not in used]
    limits = resource.prlimit(pool.pid, resource.RLIMIT_NOFILE)
    most = free[more] if more >= 0 else 3
    resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pool.pid, resource.RLIMIT_NOFILE, limits)


def connect() -> socket.socket:
    return unixsocket.connect(user_socket(), DEADLINE_S)


def test_connection_without_a_descriptor_is_refused_with_the_reason(pool: PoolProcess) -> None:
    lease = pool.client.request("full", token=new_token())
    with descriptors(pool, 0):
        for _ in range(3):
            with connect() as sock:
                answer = b"".join(iter(lambda: sock.recv(4096), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 429 ")
            assert json.loads(body)["code"] == "limit_reached"
    assert pool.state(lease["id"]) == "active"


def test_pool_without_descriptors_neither_works_in_circles_nor_fills_its_log(pool: PoolProcess) -> None:
    process, log = psutil.Process(pool.pid), pool.folder / "pool.out"
    with descriptors(pool, -1), contextlib.ExitStack() as waiting:
        for _ in range(20):
            waiting.enter_context(connect())
        before_bytes = log.stat().st_size
        before = process.cpu_times()
        time.sleep(OBSERVED_S)  # the subject is what happens in this time
        after = process.cpu_times()
        used_s = after.user + after.system - before.user - before.system
        assert used_s < OBSERVED_S / 3
        assert log.stat().st_size - before_bytes < 10_000 * max(1.0, OBSERVED_S / 10)
    wait_until(pool.answers, "the pool answers again")


def test_living_process_is_never_taken_for_gone_without_descriptors(pool: PoolProcess) -> None:
    token = new_token()
    lease = pool.client.request("full", token=token)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as holder:
        refused = 0
        for more in range(8):
            try:
                with descriptors(pool, more):
                    pool.client.bind(lease["id"], token, holder.pid)
            except LimitReached:
                refused += 1
            assert pool.state(lease["id"]) == "active"
        assert refused
        assert pool.lease(lease["id"])["holder"]["pid"] == holder.pid
        holder.kill()
    pool.wait_state(lease["id"], "ended")
