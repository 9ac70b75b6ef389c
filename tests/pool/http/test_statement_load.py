"""What others notice of a statement of a long history while many requests wait: nearly nothing."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, LeaseRequest, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.http import statement_process
from fastgpu_jupyter.pool.identity import key_of_uid
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from tests.helpers import PoolProcess
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
SIMULATE = "1xA100-80GB"
EVENTS = int(os.environ.get("FASTGPU_STATEMENT_EVENTS", "20000"))
WAITING = 2_000
ASKED = 300
NO_LIMITS = [
    f"--Limits.{name}=100000"
    for name in ("waiting_max_per_tenant", "leases_max_per_tenant", "requests_per_s_per_tenant")
]


class History:
    """A journal with a long history, written without a pool manager."""

    def __init__(self, path: Path) -> None:
        clock = SystemClock()
        self.pool, self.entries, self.events = Pool(State()), list[Entry](), 0
        self.holder = holder_of(os.getpid(), clock.boot_id())
        self.at = Instant(0, clock.wall_ms() - 10 * EVENTS)
        self.do(c.StartPool(clock.boot_id(), clock.boot_ms()))
        devices, _ = SimulatedDriver(SIMULATE, {}).inventory()
        self.do(c.SetDevices(tuple(devices)))
        while self.events < EVENTS:
            self.use(f"past-{self.events}")
        for number in range(WAITING + 1):
            self.request(f"waiting-{number}")
        journal = Journal(path)
        for first in range(0, len(self.entries), 1000):
            journal.append(self.entries[first : first + 1000])
        journal.close()

    def do(self, command: c.Command) -> None:
        self.at = Instant(self.at.ms + 1, self.at.wall_ms + 1)
        events = self.pool.execute(command, self.at)
        self.entries.append(Entry(self.at, events))
        self.events += len(events)

    def request(self, name: str) -> None:
        request = LeaseRequest("full", None, None, f"{name}.ipynb")
        self.do(c.RequestLease(name, key_of_uid(os.getuid()), request, self.holder, "0" * 64))

    def use(self, name: str) -> None:
        """Let a lease be requested, granted, used and released."""
        self.request(name)
        lease = self.pool.state.leases[name]
        assert lease.logical_gpu is not None
        generation = lease.logical_gpu.generation
        self.do(c.PrepareSucceeded(name, generation))
        self.do(c.ReleaseLease(name))
        self.do(c.DrainSucceeded(name, generation))
        assert self.pool.state.leases[name].state is LeaseState.ENDED


def health_p99_s(client: PoolClient, while_running: threading.Thread | None = None) -> float:
    """Return the 99th percentile of the time that ``/v1/health`` takes."""
    took_s = []
    for _ in range(ASKED):
        assert while_running is None or while_running.is_alive()
        began_s = time.perf_counter()
        client.health()
        took_s.append(time.perf_counter() - began_s)
    return sorted(took_s)[int(0.99 * ASKED)]


def makes_statement(pool: PoolProcess) -> bool:
    """Return whether the process that makes statements runs."""
    return any(statement_process.__name__ in command_of(child) for child in psutil.Process(pool.pid).children())


def command_of(process: psutil.Process) -> str:
    """Return the command of a process; that of one which has ended is empty."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_health_beside_a_long_statement_and_a_deep_queue_answers_nearly_as_fast(isolated: Path) -> None:
    user_state_dir().mkdir(parents=True, mode=0o700, exist_ok=True)
    history = History(user_state_dir() / "journal.db")
    pool = PoolProcess(isolated, SIMULATE)
    try:
        pool.start(*NO_LIMITS)
        client = PoolClient(user_socket(), timeout_s=DEADLINE_S)
        month = datetime.fromtimestamp(history.at.wall_ms / 1000, UTC).strftime("%Y-%m")
        assert len(client.queue()) >= WAITING - 1
        done = threading.Event()
        lines = []

        def read_statements() -> None:
            while not done.is_set():
                (statement,) = client.statements(month)
                lines.append(len(statement["lines"]))

        idle_s = health_p99_s(client)
        reading = threading.Thread(target=read_statements)
        reading.start()
        wait_until(lambda: makes_statement(pool), "a statement is made")
        busy_s = health_p99_s(client, while_running=reading)
        done.set()
        reading.join()
        assert min(lines) >= EVENTS // 8
        assert busy_s <= 10 * idle_s, f"{1000 * busy_s:.1f} ms beside a statement, {1000 * idle_s:.1f} ms without"
        # A reader that does not wait for the end of its statement ends the process.
        with unixsocket.connect(user_socket(), DEADLINE_S) as sock:
            sock.sendall(f"GET /v1/statements/{month} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until(lambda: makes_statement(pool), "another statement is made")
        wait_until(lambda: not makes_statement(pool), "its process ends")
    finally:
        pool.end()
