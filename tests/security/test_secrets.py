"""A secret is in no place that other users can read: no log, journal, command line or text of an error."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_runtime_dir, user_socket, user_state_dir
from tests.helpers import PoolProcess, ServerProcess, end_pool_at
from tests.waiting import DEADLINE_S, wait_until

CANARY = "canary-" + new_token()


def exchange(request: bytes) -> bytes:
    """Return everything that the pool manager answers to these bytes."""
    with contextlib.closing(unixsocket.connect(user_socket(), 5)) as sock:
        sock.sendall(request)
        received = b""
        with contextlib.suppress(OSError):
            while data := sock.recv(2**16):
                received += data
        return received


def hostile_requests(lease_id: str) -> list[bytes]:
    """Return malformed requests that a careless server would quote."""
    bearer = f"Authorization: Bearer {CANARY}"
    close = "Host: a\r\nConnection: close\r\n"
    post = f"POST /v1/leases HTTP/1.1\r\n{close}"
    return [
        f"GET /v1/pool HTTP/1.1\r\n{close}{bearer}\x01\r\n\r\n".encode(),
        f"GET /v1/pool HTTP/1.1\r\n{close}Authorization Bearer {CANARY}\r\n\r\n".encode(),
        f"GET /v1/pool HTTP/1.1\r\n{close}{bearer}\r\n{CANARY}\r\n\r\n".encode(),
        f"GET /v1/pool HTTP/9.9\r\n{close}{bearer}\r\n\r\n".encode(),
        f"{bearer}\r\nGET /v1/pool HTTP/1.1\r\n\r\n".encode(),
        f"PUT /v1/leases/{lease_id}/bind HTTP/1.1\r\n{close}{bearer}\r\n\r\n".encode(),
        f"POST /v1/leases/{lease_id}x/bind HTTP/1.1\r\n{close}{bearer}\r\nContent-Length: 0\r\n\r\n".encode(),
        f"{post}{bearer}\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{{".encode(),
        f"{post}{bearer}\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\nx".encode(),
        f"{post}{bearer}\r\nContent-Length: {CANARY}\r\n\r\n".encode(),
        f"{post}Transfer-Encoding: {CANARY}\r\n\r\n".encode(),
        f"GET /v1/pool HTTP/1.1\r\nHost: {CANARY}\r\nHost: b\r\nConnection: close\r\n\r\n".encode(),
        f"GET /v1/pool HTTP/1.1\r\n{close}Authorization: Bearer {CANARY}{'x' * 20_000}\r\n\r\n".encode(),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("log_json", [False, True], ids=["text", "json"])
def test_lease_token_is_in_no_log_file_answer_or_command_line(isolated: Path, log_json: bool) -> None:
    command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--on-demand", "--debug", "--simulate=1xT4-16GB"]
    command += [f"--FastGPUPool.log_json={log_json}"]
    subprocess.run(command, check=True, timeout=DEADLINE_S, capture_output=True)
    try:
        client = PoolClient(user_socket())
        lease = client.request("full", notebook="digits.ipynb", token=CANARY)
        assert client.bind(lease["id"], CANARY)["holder"]["pid"] == os.getpid()
        answers = [exchange(request) for request in hostile_requests(lease["id"])]
        with contextlib.suppress(FastGPUError):
            client.bind("no-such-lease", CANARY)
        answers.append(json.dumps(client.status()).encode())
        with contextlib.closing(client.events()) as stream:
            answers.append(json.dumps(next(iter(stream))).encode())
        client.release(lease["id"], CANARY)
        wait_until(lambda: client.lease(lease["id"])["state"] == "ended", "the lease ends")
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
        files = [
            path for folder in (user_state_dir(), user_runtime_dir()) for path in folder.rglob("*") if path.is_file()
        ]
        log = user_state_dir() / "pool.log"
        wait_until(lambda: b"POST /v1/leases" in log.read_bytes(), "everything is logged")
        assert {"journal.db", "pool.log", "releases.preallocated"} <= {path.name for path in files}
        assert not any(CANARY.encode() in text for text in answers)
        assert not any(CANARY.encode() in line for line in lines)
        for path in files:
            assert CANARY.encode() not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0, path
        for line in log.read_text().splitlines():
            assert line.isprintable()
            if log_json:
                assert {"time", "level", "logger", "message"} <= set(json.loads(line))
    finally:
        end_pool_at(user_socket())


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.slow
def test_jupyter_token_in_a_query_is_not_logged(pool: PoolProcess, jupyter: ServerProcess) -> None:
    (jupyter.folder / "config" / "jupyter_server_config.py").write_text(
        "from fastgpu_jupyter.wire.client import PoolClient\nPoolClient.devices = lambda _: 1 / 0\n"
    )
    jupyter.start("--debug")
    requests = {
        ("GET", "nothing"): 404,
        ("GET", "leases/.."): 400,
        ("GET", "leases/%FF"): 400,
        ("GET", "leases/0123456789abcdef"): 404,
        ("POST", "leases/0123456789abcdef/pin"): 400,
        ("GET", "leases/0123456789abcdef/pin"): 405,
        ("GET", "devices"): 500,
    }
    for (method, path), status in requests.items():
        answer = jupyter.call(method, f"fastgpu/api/{path}?token={jupyter.token}", b"{", token=None)
        assert answer[0] == status, (method, path, answer)
    jupyter.terminate()
    ours = [line for line in jupyter.log.splitlines() if "fastgpu/api" in line]
    assert len(ours) >= 2 * len(requests)
    assert not [line for line in ours if jupyter.token in line]
    assert "ZeroDivisionError" in jupyter.log
