"""The pool manager as a process: what callers may do, which answers they get, and what survives."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from fastgpu_jupyter.errors import Forbidden, NotFound, PoolUnreachable
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire import schemas, unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_runtime_dir, user_socket, user_state_dir
from fastgpu_jupyter.wire.spawn import ALREADY_RUNNING, ensure_pool
from tests.helpers import PoolProcess, alive, end_pool_at, fastgpu, fastgpu_process
from tests.views import value_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
COMMAND = [sys.executable, "-m", "fastgpu_jupyter"]


def raw(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """One request without the client's manners."""
    connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
    connection.sock = unixsocket.connect(user_socket(), DEADLINE_S)
    with contextlib.closing(connection):
        sent = {"User-Agent": "a program of others"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


# -- views and commands -----------------------------------------------------------------------------------------------


def test_views_have_the_fields_of_their_types(shared: PoolProcess) -> None:
    shared.client.request("half", token=new_token())
    shared.client.request("full", token=new_token())
    status = shared.client.status()
    shapes = {"devices": schemas.DeviceView, "leases": schemas.LeaseView, "queue": schemas.QueueEntryView}
    assert set(status["pool"]) == set(get_type_hints(schemas.PoolView))
    for part, shape in shapes.items():
        assert status[part], part  # type: ignore[literal-required]
        for item in status[part]:  # type: ignore[literal-required]
            assert set(item) == set(get_type_hints(shape))
    assert set(status["devices"][0]["allocations"][0]) == set(get_type_hints(schemas.AllocationView))


def test_status_command_prints_a_table_or_json(shared: PoolProcess) -> None:
    lease = shared.client.request("half", notebook="digits.ipynb", token=new_token())
    table = fastgpu("status").stdout
    for word in ("simulated", lease["id"], "digits.ipynb", "A100-80GB", "40 GiB"):
        assert word in table
    status = json.loads(fastgpu("status", "--json").stdout)
    assert [one["state"] for one in status["leases"] if one["id"] == lease["id"]] == ["active"]


def test_release_command_releases_a_lease(shared: PoolProcess) -> None:
    lease = shared.client.request("full", token=new_token())
    done = fastgpu("release", lease["id"])
    assert done.returncode == 0
    assert f"Released {lease['id']}" in done.stdout
    shared.wait_state(lease["id"], "ended")
    ended = json.loads(fastgpu("status", "--json").stdout)["leases"]
    assert [value_of(one["end_reason"]) for one in ended if one["id"] == lease["id"]] == ["released"]
    missing = fastgpu("release", "no-such")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "There is no lease 'no-such'" in missing.stderr


def test_status_command_without_a_pool_says_what_to_do(isolated: Path) -> None:
    done = fastgpu("status")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No pool manager answers" in done.stderr
    assert "jupyter fastgpu pool" in done.stderr


def test_second_pool_manager_exits_with_one_line(shared: PoolProcess) -> None:
    second = fastgpu_process("pool", "--simulate", "1xT4-16GB")
    assert second.returncode == ALREADY_RUNNING
    assert second.stderr.count("\n") == 1
    assert f"already running here (process {shared.pid}" in second.stderr
    assert shared.client.devices()[0]["model"] == "A100-80GB"


def test_pool_command_with_an_invalid_simulate_exits_with_one_line(isolated: Path) -> None:
    done = fastgpu_process("pool", "--simulate", "2xPotato")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'2xPotato' in --simulate is not a number and a model" in done.stderr


def test_pool_command_with_a_damaged_journal_exits_and_keeps_it(pool: PoolProcess) -> None:
    pool.client.request("full", token=new_token())
    pool.end()
    path = user_state_dir() / "journal.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE record SET payload = x'00' WHERE seq = 3")
    before = path.read_bytes()
    done = fastgpu_process("pool", "--simulate", "1xA100-80GB")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is damaged at record 3" in done.stderr
    assert path.read_bytes() == before
    with pytest.raises(PoolUnreachable, match="is damaged at record 3"):
        ensure_pool()


# -- what may be done -------------------------------------------------------------------------------------------------


def test_bind_without_the_token_is_forbidden(shared: PoolProcess) -> None:
    token = new_token()
    lease = shared.client.request("full", token=token)
    for wrong in (new_token(), "", token[:-1]):
        with pytest.raises(Forbidden, match="needs the token"):
            shared.client.bind(lease["id"], wrong, os.getpid())
    assert shared.client.bind(lease["id"], token)["holder"]["pid"] == os.getpid()
    with pytest.raises(NotFound):
        shared.client.bind(lease["id"], token, 2**31 - 1)


def test_request_repeated_with_its_key_is_one_lease(shared: PoolProcess) -> None:
    token = new_token()
    first = shared.client.request("half", token=token, key="once")
    assert shared.client.request("half", token=token, key="once")["id"] == first["id"]
    assert [one["id"] for one in shared.live()] == [first["id"]]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 404),
        ("GET", "/v1/leases/no-such", None, {}, 404),
        ("GET", "/v1/leases/no-such?wait_ms=soon", None, {}, 400),
        ("GET", "/v1/events?lease=no-such", None, {}, 404),
        ("PUT", "/v1/leases", b"{}", {"Content_Type": "application/json"}, 405),
        ("POST", "/v1/leases", b"{}", {"Content_Type": "text/plain"}, 400),
        ("POST", "/v1/leases", b"{", {"Content_Type": "application/json"}, 400),
        ("POST", "/v1/leases", b"[]", {"Content_Type": "application/json"}, 400),
        ("POST", "/v1/leases", b"{}", {"Content_Type": "application/json"}, 400),
        ("POST", "/v1/leases", b'{"size": 7}', {"Content_Type": "application/json"}, 400),
        ("POST", "/v1/leases", b"{}", {"Content_Type": "application/json", "Idempotency_Key": "x" * 200}, 400),
        ("DELETE", "/v1/leases/no-such", None, {}, 404),
    ],
)
def test_errors_have_the_shape_of_a_problem(
    shared: PoolProcess, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    found, problem = raw(method, path, body, **headers)
    assert found == status
    assert set(problem) == {"type", "title", "status", "code", "detail", "message"}
    assert problem["status"] == status
    assert problem["detail"].endswith(".")


@as_root
def test_socket_is_not_reachable_for_another_user(pool: PoolProcess) -> None:
    code = f"import os; os.setuid(65534); os.stat({str(user_socket())!r})"
    # The folders above are pytest's own; what must stop the stranger is ours.
    for folder in (user_runtime_dir().parent, *user_runtime_dir().parent.parents):
        with contextlib.suppress(OSError):
            folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert "PermissionError" in done.stderr
    assert user_runtime_dir().stat().st_mode & 0o777 == 0o700


@as_root
def test_client_sends_nothing_to_a_socket_of_another_user(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = isolated / "trap" / "pool.sock"
    path.parent.mkdir()
    os.chown(path.parent, 65534, 65534)
    code = (
        "import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.bind('pool.sock'); s.listen();"
        "print('up', flush=True); c, _ = s.accept(); c.settimeout(5); print('got', c.recv(100), flush=True)"
    )
    # The other user's process listens, so that the system names it as the peer.
    trap = subprocess.Popen([sys.executable, "-c", code], cwd=path.parent, stdout=subprocess.PIPE, text=True)
    assert trap.stdout is not None
    with trap, trap.stdout:
        assert trap.stdout.readline() == "up\n"
        # Not as root, which trusts other sockets than a user does.
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        with pytest.raises(PoolUnreachable) as refused:
            PoolClient(path).request("full", token=new_token())
        assert "belongs to another user" in text_of(refused.value)
        assert trap.stdout.readline() == "got b''\n"


# -- life -------------------------------------------------------------------------------------------------------------


def test_idle_pool_manager_ends(isolated: Path) -> None:
    running = subprocess.Popen([*COMMAND, "pool", "--simulate", "1xT4-16GB", "--FastGPUPool.idle_timeout_s=1"])
    try:
        client = PoolClient(user_socket())
        wait_until(user_socket().exists, "the pool serves")
        token = new_token()
        lease = client.request("full", token=token)
        # With a lease it runs on without calls; that it would have ended shows in what follows.
        time.sleep(3)
        assert running.poll() is None
        client.release(lease["id"])
        assert running.wait(DEADLINE_S) == 0
        assert not user_socket().exists()
    finally:
        running.kill()
        running.wait()


def test_pool_manager_without_its_socket_ends(pool: PoolProcess) -> None:
    user_socket().unlink()
    wait_until(lambda: not alive(pool.pid) or pool._process is None or pool._process.poll() is not None, "it ends")


def test_concurrent_starts_give_one_pool_manager(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGPU_SIMULATE", "1xT4-16GB")
    try:
        with ThreadPoolExecutor(8) as starters:
            clients = list(starters.map(lambda _: ensure_pool(30.0), range(8)))
        assert {client.pool()["started_at"] for client in clients} == {clients[0].pool()["started_at"]}
        # Its parent is init, and none of the processes that started it.
        sock = unixsocket.connect(user_socket(), DEADLINE_S)
        pid = unixsocket.peer_of(sock).pid
        sock.close()
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent not in {os.getpid(), 0}
    finally:
        end_pool_at(user_socket())


def test_event_stream_sends_a_snapshot_then_changes(shared: PoolProcess) -> None:
    with contextlib.closing(shared.client.events()) as stream:
        messages = iter(stream)
        assert next(messages)["type"] == "snapshot"
        lease = shared.client.request("full", token=new_token())
        seen = []
        while "active" not in seen:
            message = next(messages)
            seen += [
                one["state"] for one in message.get("leases", []) if one.get("id") == lease["id"] and "state" in one
            ]
        assert set(seen) <= {"preparing", "active"}
        usage = next(message for message in messages if message["type"] == "usage")
        assert [one["id"] for one in usage["leases"]] == [lease["id"]]
        assert usage["leases"][0]["memory"]["used_bytes"] > 0
