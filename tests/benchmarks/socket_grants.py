"""Grants over the socket, for ``grants.py``: a real pool manager, clients in processes of their own, and two controls.

python tests/benchmarks/socket_grants.py SOCKET CLIENTS SECONDS lease|health     one process of clients

The controls are measured in the same run and folder. *fsync*: a loop that appends as many records as there are clients,
of the size that the journal's have, and makes them durable together. *health*: the same clients asking for nothing but
whether the pool is there, which is what the interface allows where nothing is decided and nothing written. Both kinds
alternate, and the medians count, because other work of the machine comes and goes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import selectors
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]
# ruff: noqa: E402, T201

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient
from tests.views import device_of

PROCESSES = 2
START_S = 60.0
ROUNDS = 5


class Measured(NamedTuple):
    """A line of the table."""

    clients: int
    commands_per_s: float  #: acknowledged, each durable: requests and releases
    grants_per_s: float
    grant_p50_us: float  #: from asking to an answer with a logical GPU
    grant_p99_us: float
    refused: int
    record_bytes: int
    fsync_records_per_s: float
    fsync_p50_us: float  #: of a group
    health_per_s: float
    cores: int
    health_cpu_us: float  #: processor time of the pool manager for one answer of that kind
    command_cpu_us: float  #: likewise for one command
    loop_cpu_us: float  #: the part of it in the thread of the event loop
    decisions_us: float  #: the part of that in decisions, of which a command needs two to three
    write_us: float  #: time in writes to the journal, waits for the disk included, divided by the commands
    commands_per_write: float

    @property
    def health_per_command(self) -> float:
        """Return how many health requests a command costs."""
        return self.health_per_s / self.commands_per_s


class Client:
    """One connection that asks, waits for the answer, and asks again."""

    def __init__(self, path: Path, job: str) -> None:
        self.sock = unixsocket.connect(path, 30)
        self.job = job
        self.lease: str | None = None
        self.granted: list[int] = []  #: nanoseconds
        self.answered = self.refused = 0
        self._buffer = b""
        self._began_ns = 0

    def ask(self) -> None:
        """Send the next request."""
        head = "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"
        body = b""
        if self.job == "lease":
            key = f"Idempotency-Key: {secrets.token_hex(16)}\r\n"
            if self.lease is None:
                body = json.dumps({"size": "eighth", "token_sha256": secrets.token_hex(32)}).encode()
                head = f"POST /v1/leases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{key}"
            else:
                head = f"DELETE /v1/leases/{self.lease} HTTP/1.1\r\nHost: localhost\r\n{key}"
        self._began_ns = time.perf_counter_ns()
        self.sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def read(self) -> bool:
        """Take what came; whether the answer is complete."""
        self._buffer += self.sock.recv(2**18)
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if len(body) < int(headers["content-length"]):
            return False
        self._buffer = b""
        took_ns = time.perf_counter_ns() - self._began_ns
        self.answered += 1
        if self.job == "lease":
            self._count(int(status.split()[1]), json.loads(body), took_ns)
        return True

    def _count(self, status: int, view: dict[str, Any], took_ns: int) -> None:
        if status >= 400:
            self.refused += 1
            self.lease = None
        elif self.lease is not None:
            self.lease = None
        else:
            self.lease = view["id"]
            if device_of(view) is not None:
                self.granted.append(took_ns)


def clients(path: Path, count: int, seconds: float, job: str) -> dict[str, Any]:
    """Drive so many connections from this process; the first tenth of the time is not counted."""
    selector = selectors.DefaultSelector()
    everybody = [Client(path, job) for _ in range(count)]
    for client in everybody:
        selector.register(client.sock, selectors.EVENT_READ, client)
        client.ask()
    began, counted_from = time.monotonic(), 0.0
    while (now := time.monotonic()) < began + seconds:
        if not counted_from and now > began + seconds / 10:
            counted_from = now
            for client in everybody:
                client.answered = client.refused = 0
                client.granted.clear()
        for key, _ in selector.select(0.5):
            if key.data.read():
                key.data.ask()
    return {
        "seconds": time.monotonic() - counted_from,
        "answered": sum(client.answered for client in everybody),
        "refused": sum(client.refused for client in everybody),
        "granted_ns": [ns for client in everybody for ns in client.granted],
    }


def measure(count: int, seconds: float) -> Measured:
    """Start a pool manager, drive it, and measure the controls."""
    with tempfile.TemporaryDirectory(prefix="fastgpu-grants-") as name:
        folder = Path(name)
        for part in ("state", "run"):
            (folder / part).mkdir(mode=0o700)
        path = folder / "run" / "pool.sock"
        pool = _start(folder, path, devices=-(-count // 4))  # there is always room for everybody
        try:
            rounds = []
            for _ in range(ROUNDS):
                health = _round(pool.pid, path, count, seconds / ROUNDS / 2, "health")
                rounds.append((health, _round(pool.pid, path, count, seconds / ROUNDS, "lease")))
        finally:
            pool.terminate()
            pool.wait(30)
        record_bytes = _record_bytes(folder / "state" / "journal.db")
        group_ns = _fsync(folder / "state" / "control", count, record_bytes, seconds / 2)
    granted = sorted(ns for _, leases in rounds for ns in leases.granted_ns)
    if not granted:
        raise SystemExit("No lease was granted.")
    healths, leases = zip(*rounds, strict=True)
    return Measured(
        clients=count,
        commands_per_s=median(each.per_s for each in leases),
        grants_per_s=median(each.grants_per_s for each in leases),
        grant_p50_us=granted[len(granted) // 2] / 1000,
        grant_p99_us=granted[len(granted) * 99 // 100] / 1000,
        refused=sum(each.refused for each in leases),
        record_bytes=record_bytes,
        fsync_records_per_s=count * len(group_ns) / (sum(group_ns) / 1e9),
        fsync_p50_us=sorted(group_ns)[len(group_ns) // 2] / 1000,
        health_per_s=median(each.per_s for each in healths),
        cores=os.cpu_count() or 1,
        health_cpu_us=median(each.cpu_us for each in healths),
        command_cpu_us=median(each.cpu_us for each in leases),
        loop_cpu_us=median(each.loop_cpu_us for each in leases),
        decisions_us=median(each.decisions_us for each in leases),
        write_us=median(each.writes_us for each in leases),
        commands_per_write=median(each.commands_per_write for each in leases),
    )


class Round(NamedTuple):
    """What one kind of request did for some seconds; times are for one answer."""

    per_s: float
    grants_per_s: float
    granted_ns: list[int]
    refused: int
    cpu_us: float
    loop_cpu_us: float
    decisions_us: float
    writes_us: float
    commands_per_write: float


def _round(pid: int, path: Path, count: int, seconds: float, job: str) -> Round:
    before_us, before = _processor_us(pid), _metrics(path)
    done = _drive(path, count, seconds, job)
    used_us, after = _processor_us(pid), _metrics(path)
    per_s = sum(each["answered"] / each["seconds"] for each in done)
    answers = per_s * seconds  # the first tenth, which is not counted, costs as much
    used_us = {thread: us - before_us.get(thread, 0) for thread, us in used_us.items()}
    decisions_s, writes_s, writes = (new - old for new, old in zip(after, before, strict=True))
    return Round(
        per_s,
        grants_per_s=sum(len(each["granted_ns"]) / each["seconds"] for each in done),
        granted_ns=[ns for each in done for ns in each["granted_ns"]],
        refused=sum(each["refused"] for each in done),
        cpu_us=sum(used_us.values()) / answers,
        loop_cpu_us=used_us[pid] / answers,
        decisions_us=1e6 * decisions_s / answers,
        writes_us=1e6 * writes_s / answers,
        commands_per_write=answers / writes if writes else 0.0,
    )


def _processor_us(pid: int) -> dict[int, float]:
    """Processor time of each thread of a process so far."""
    used = ((int(one.name), (one / "schedstat").read_text()) for one in Path(f"/proc/{pid}/task").iterdir())
    return {thread: int(times.split()[0]) / 1e3 for thread, times in used}


def _metrics(path: Path) -> tuple[float, float, float]:
    """Seconds of decisions and of writes to the journal so far, and the number of writes."""
    with unixsocket.connect(path, 30) as sock:
        sock.sendall(b"GET /v1/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: sock.recv(2**16), b"")).decode()

    def value(name: str) -> float:
        return float(re.findall(rf"^fastgpu_{name} (\S+)", text, re.MULTILINE)[0])

    return value("decision_seconds_sum"), value("journal_append_seconds_sum"), value("journal_append_seconds_count")


def _start(folder: Path, path: Path, devices: int) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate", f"{devices}xA100-80GB",
        f"--FastGPUPool.state_dir={folder / 'state'}", f"--socket={path}",
        "--Limits.requests_per_s_per_tenant=1000000",
    ]  # fmt: skip
    with (folder / "pool.out").open("ab") as out:
        pool = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": str(ROOT)})
    end = time.monotonic() + START_S
    while True:
        try:
            PoolClient(path).health()
            return pool
        except FastGPUError:
            if pool.poll() is not None or time.monotonic() > end:
                pool.kill()
                raise SystemExit((folder / "pool.out").read_text()[-2000:]) from None
            time.sleep(0.01)


def _drive(path: Path, count: int, seconds: float, job: str) -> list[dict[str, Any]]:
    shares = [count // PROCESSES + (number < count % PROCESSES) for number in range(PROCESSES)]
    processes = [
        subprocess.Popen([sys.executable, __file__, str(path), str(share), str(seconds), job], stdout=subprocess.PIPE)
        for share in shares
    ]
    return [json.loads(process.communicate(timeout=seconds + 60)[0]) for process in processes]


def _record_bytes(path: Path) -> int:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as journal:
        (size,) = journal.execute("SELECT AVG(LENGTH(payload)) FROM record").fetchone()
    return round(float(size))


def _fsync(path: Path, count: int, record_bytes: int, seconds: float) -> list[int]:
    """Nanoseconds of each group."""
    record = secrets.token_bytes(record_bytes)
    took: list[int] = []
    with path.open("wb", buffering=0) as file:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.perf_counter_ns()
            file.write(record * count)
            os.fsync(file.fileno())
            took.append(time.perf_counter_ns() - began)
    return took


if __name__ == "__main__":
    socket_path, how_many, duration_s, what = sys.argv[1:]
    print(json.dumps(clients(Path(socket_path), int(how_many), float(duration_s), what)))
