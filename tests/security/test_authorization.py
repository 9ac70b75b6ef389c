"""Each operation of the pool's socket, for each kind of caller, against the table in docs/admin/security.md."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fastgpu_jupyter.wire.client import new_token, token_digest
from fastgpu_jupyter.wire.interfaces.operation import Operation
from fastgpu_jupyter.wire.interfaces.pool import OPERATIONS
from fastgpu_jupyter.wire.process_identity import start_time
from fastgpu_jupyter.wire.schemas import StandbyKernelBody
from tests.pool.served import ServedPool
from tests.waiting import DEADLINE_S, wait_until

PAGE = (Path(__file__).resolve().parents[2] / "docs/admin/security.md").read_text()
TABLE = dict(re.findall(r"^\| `([A-Z]+ /v1/\S+)` \| ([a-z ]+) \|$", PAGE, re.MULTILINE))

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as several users")

USER, OTHER_USER = 65534, 65533

#: Reads calls from standard input, makes them as the user that is named there, and prints the answers. In the path and
#: the body of a call, LEASE stands for the lease that the first call got.
CALLS = """
import http.client, json, os, socket, sys
uid, path, calls = json.load(sys.stdin)
os.setuid(uid)
found, lease_id = [], "none"
for method, url, body, headers in calls:
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    connection.request(method, url.replace("LEASE", lease_id), body, headers)
    response = connection.getresponse()
    stream = url.startswith("/v1/events") and response.status == 200
    text = (response.readline() if stream else response.read()).decode()
    if response.status == 201 and not found:
        lease_id = json.loads(text)["id"]
    found.append([response.status, text])
    connection.close()
print(json.dumps(found))
"""


class Call(NamedTuple):
    method: str
    path: str
    body: Any = None
    token: str | None = None
    key: str | None = None


def call_as(pool: ServedPool, uid: int, calls: list[Call]) -> list[tuple[int, Any]]:
    """Return the status and the body of the answer to each call of a user."""
    described = []
    for call in calls:
        headers = {"User-Agent": "a program of others"}
        headers |= {"Authorization": f"Bearer {call.token}"} if call.token else {}
        headers |= {"Content-Type": "application/json"} if call.body is not None else {}
        headers |= {"Idempotency-Key": call.key} if call.key else {}
        described.append([call.method, call.path, None if call.body is None else json.dumps(call.body), headers])
    given = json.dumps([uid, str(pool.path), described])
    command = [sys.executable, "-I", "-c", CALLS]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=DEADLINE_S, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return [(status, text) for status, text in json.loads(done.stdout)]


@pytest.fixture
def pool() -> Iterator[ServedPool]:
    """Yield a pool of root whose socket every user can open, as that of a system service."""
    with tempfile.TemporaryDirectory() as folder:  # the folders of pytest are private
        Path(folder).chmod(0o755)
        served = ServedPool(Path(folder), "4xA100-80GB")
        served.path.chmod(0o666)
        yield served
        served.stop()


class Held(NamedTuple):
    """A lease of ``USER``, held by a process of that user."""

    lease_id: str
    token: str


@pytest.fixture
def held(pool: ServedPool) -> Iterator[Held]:
    command = [sys.executable, "-I", "-c", f"import os, sys; os.setuid({USER}); print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as kernel:
        assert kernel.stdout is not None
        kernel.stdout.readline()
        token = new_token()
        body = {"size": "quarter", "notebook": "secret.ipynb", "token_sha256": token_digest(token)}
        # Requested and bound in one process, because the lease would end with the process that requested it.
        calls = [Call("POST", "/v1/leases", body), Call("POST", "/v1/leases/LEASE/bind", {"pid": kernel.pid}, token)]
        (_, text), (status, _) = call_as(pool, USER, calls)
        assert status == 200
        yield Held(json.loads(text)["id"], token)
        kernel.kill()


RESERVATION = {"tenant": "bob", "size": "a100:1/2", "plan": "month"}


def body_of(operation: Operation) -> Any:
    return {
        "POST /v1/leases": {"size": "eighth", "token_sha256": "0" * 64},
        "POST /v1/leases/{lease_id}/bind": {"pid": None},
        "POST /v1/leases/{lease_id}/resize": {"size": "eighth"},
        "POST /v1/leases/{lease_id}/kernel": {"argv": ["a"], "env": {}, "cwd": None, "restart": False, "key": "k"},
        "POST /v1/leases/{lease_id}/kernel/signal": {"signum": 2},
        "POST /v1/leases/{lease_id}/transfer": {"tenant": "root"},
        "PUT /v1/devices/{device_id}": {"drained": True},
        "PUT /v1/devices/{device_id}/mig": {"on": False},
        "PUT /v1/driver": {"used": True},
        "POST /v1/leases/{lease_id}/pin": {"pinned": True},
        "POST /v1/leases/{lease_id}/snooze": {"for_ms": 1_800_000},
        "POST /v1/leases/{lease_id}/advice/silence": {"silenced": True},
        "POST /v1/leases/{lease_id}/cpu_meanwhile": {"on": False},
        "POST /v1/leases/{lease_id}/activity": {"busy": True},
        "POST /v1/leases/{lease_id}/rename": {"notebook": "b.ipynb"},
        "POST /v1/leases/{lease_id}/libraries": {"memory_bytes": None, "needs_restart": []},
        "POST /v1/leases/{lease_id}/budget": {"budget_micro": 10**9},
        "PUT /v1/tenants/{tenant}": {"weight": 3},
        "PUT /v1/tenants/{tenant}/budget": {"budget_micro": 10**9, "policy": "warn"},
        "PUT /v1/reservations/{reservation_id}": RESERVATION,
        "PUT /v1/groups/{group}": {"weight": 3},
        "PUT /v1/standby": {"kernels": [], "wanted_bytes": None},
    }.get(operation.name)


#: The documented right -> the status for each caller: the user without a token, with a wrong one and with the right
#: one, another user with the right token, root without it. ``None`` is the status of success.
ANSWERS: dict[str, tuple[int | None, ...]] = {
    "everybody": (None, None, None, None, None),
    "its user": (None, None, None, 403, None),
    "its user with its token": (403, 403, None, 403, 403),
    "administrators": (403, 403, 403, 403, None),
}


def test_documented_table_has_every_operation() -> None:
    assert set(TABLE) == {operation.name for operation in OPERATIONS}
    assert set(TABLE.values()) <= set(ANSWERS)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_caller_is_answered_as_documented(pool: ServedPool, held: Held, operation: Operation) -> None:
    device = str(pool.client.devices()[0]["id"])
    names = {"lease_id": held.lease_id, "device_id": device, "tenant": "bob", "group": "lab", "month": "2026-11"}
    path = operation.path.format(**names, reservation_id="r1")
    if operation.name == "DELETE /v1/reservations/{reservation_id}":
        call_as(pool, 0, [Call("PUT", path, RESERVATION)])
    call = Call(operation.method, path, body_of(operation))
    given = call._replace(token=held.token)
    tries = (
        (OTHER_USER, given),
        (USER, call),
        (USER, call._replace(token=new_token())),
        (USER, given),
        (0, call),
    )
    found = [call_as(pool, uid, [one])[0][0] for uid, one in tries]
    other_user, without, wrong, right, root = found
    wanted = [operation.status if code is None else code for code in ANSWERS[TABLE[operation.name]]]
    # Its GPU is healthy, there and of this machine, and it is not idle: callers that may migrate it, give it up, end it
    # or start a kernel on another host are refused.
    refused = ("/migrate", "/end_idle", "/kernel", "/kernel/signal")
    if operation.path.endswith(refused) or operation.name == "DELETE /v1/devices/{device_id}":
        wanted = [409 if code == operation.status else code for code in wanted]
    if operation.path.endswith("/bind"):
        # The lease ends with the caller that bound itself: after the right one there is nothing left to bind.
        wanted[4] = 403
    assert [without, wrong, right, other_user, root] == wanted


def test_standby_kernels_are_reported_and_seen_by_their_own_user_only(pool: ServedPool) -> None:
    with subprocess.Popen(["sleep", "60"]) as kernel:
        described: StandbyKernelBody = {
            "pid": kernel.pid,
            "start_time": start_time(kernel.pid) or 0,
            "memory_bytes": None,
        }
        report = Call("PUT", "/v1/standby", {"kernels": [described], "wanted_bytes": None})
        (_, reported), (_, seen) = call_as(pool, USER, [report, Call("GET", "/v1/standby")])
        assert [one["refusal"]["code"] for one in json.loads(reported)["kernels"]] == ["standby.not_seen"]
        assert json.loads(seen)["host"]["count"] == 0
        own = pool.client.report_standby([described], None)
        assert own["kernels"][0]["refusal"] is None
        ((_, seen),) = call_as(pool, USER, [Call("GET", "/v1/standby")])
        assert (json.loads(seen)["kernels"], json.loads(seen)["host"]["count"]) == ([], 1)
        kernel.kill()


@pytest.mark.slow
def test_another_tenant_sees_no_names_of_a_lease(pool: ServedPool, held: Held) -> None:
    device = str(pool.client.devices()[0]["id"])
    reading = [
        Call(operation.method, operation.path.format(month="2026-11", device_id=device))
        for operation in OPERATIONS
        if operation.method == "GET" and "lease_id" not in operation.path
    ]
    for call, (status, text) in zip(reading, call_as(pool, OTHER_USER, reading), strict=True):
        assert status == (403 if call.path.endswith("/mig") else 200), call  # only administrators may read it
        for secret in ("secret.ipynb", held.lease_id, f'"{pwd.getpwuid(USER).pw_name}"', f'"uid:{USER}"'):
            assert secret not in text, call
    assert call_as(pool, OTHER_USER, [Call("GET", f"/v1/events?lease={held.lease_id}")])[0][0] == 404
    own = dict(zip((call.path for call in reading), call_as(pool, USER, reading), strict=True))
    assert "secret.ipynb" in own["/v1/leases"][1]


@pytest.mark.slow
def test_only_root_requests_with_the_priority_system(pool: ServedPool) -> None:
    body = {"size": "eighth", "token_sha256": "0" * 64, "priority": "system"}
    assert call_as(pool, USER, [Call("POST", "/v1/leases", body)])[0][0] == 403
    assert call_as(pool, 0, [Call("POST", "/v1/leases", body)])[0][0] == 201


@pytest.mark.slow
def test_idempotency_key_of_another_user_gives_a_lease_of_its_own(pool: ServedPool) -> None:
    call = Call("POST", "/v1/leases", {"size": "eighth", "token_sha256": "0" * 64}, key="once")
    found = [call_as(pool, uid, [call])[0] for uid in (USER, OTHER_USER)]
    assert [status for status, _ in found] == [201, 201]
    assert len({json.loads(text)["id"] for _, text in found}) == 2


@pytest.mark.slow
def test_binding_to_a_process_of_another_user_is_forbidden(pool: ServedPool, held: Held) -> None:
    call = Call("POST", f"/v1/leases/{held.lease_id}/bind", {"pid": os.getpid()}, held.token)
    status, text = call_as(pool, USER, [call])[0]
    assert (status, json.loads(text).get("detail")) == (403, f"Process {os.getpid()} belongs to another user.")


@pytest.mark.slow
def test_caller_that_executes_a_set_user_id_program_is_not_taken_for_root(
    pool: ServedPool,
) -> None:
    """The user of a caller is the one that connected, not the one of a set-user-id program that it executes later."""
    sleep = pool.folder / "sleep"
    shutil.copy("/bin/sleep", sleep)
    sleep.chmod(0o4755)
    code = (
        f"import os, socket, sys; os.setuid({USER}); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "socket.send_fds(socket.socket(fileno=int(sys.argv[3])), [b'x'], [s.fileno()]);"
        "s.set_inheritable(True); os.execv(sys.argv[2], ['sleep', '60'])"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-I", "-c", code, str(pool.path), str(sleep), str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd="/") as process:
            try:
                _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
                with socket.socket(fileno=descriptor) as connection:
                    _until_executed(process.pid, "sleep")
                    if os.stat(f"/proc/{process.pid}").st_uid != 0:  # noqa: PTH116
                        pytest.skip("set-user-id programs do not work here")
                    connection.sendall(b"GET /v1/leases HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    connection.settimeout(DEADLINE_S)
                    answer = connection.recv(2**16)
            finally:
                process.kill()
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"changed its user since it connected" in answer


def _until_executed(pid: int, name: str) -> None:

    wait_until(lambda: Path(f"/proc/{pid}/comm").read_text().strip() == name, f"{name} runs")
