"""The pool manager is killed at each failpoint of each command; nothing that it acknowledged is lost.

``FASTGPU_FAILPOINTS=all`` runs every pair of a point and a command. Otherwise each point is combined with some of the
commands and each command with some of the points; each of both occurs at least once.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.pool.journal.fsck import examine
from fastgpu_jupyter.pool.journal.marker import marker_paths
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from fastgpu_jupyter.wire.schemas import LeaseView
from tests.crash.conftest import KillablePool
from tests.views import value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

COMMANDS = (
    "StartPool", "RequestLease", "BindHolder", "ResizeLease", "TransferLease", "SetTenant", "DrainDevice",
    "ReleaseLease", "HolderEnded", "PrepareSucceeded", "DrainSucceeded",
)  # fmt: skip
IN_A_COMMAND = ("apply", "make", "append", "insert", "key", "commit", "answer")
#: Commands without an idempotency key.
WITHOUT_KEY = {"HolderEnded", "DrainSucceeded"}
#: Decided in recovery, which answers no caller.
IN_RECOVERY = {"apply", "append", "insert", "commit"}
#: The changes that are requested: the answers to the first three are written with the command, the others after it.
REPLIES = (
    "POST /v1/leases", "POST /v1/leases/{lease_id}/resize", "DELETE /v1/leases/{lease_id}",
    "POST /v1/leases/{lease_id}/bind", "POST /v1/leases/{lease_id}/transfer", "PUT /v1/tenants/{tenant}",
    "PUT /v1/devices/{device_id}",
)  # fmt: skip
SIDES = ("before", "after")


def _points() -> Iterator[str]:
    every = os.environ.get("FASTGPU_FAILPOINTS") == "all"
    for number, command in enumerate(COMMANDS):
        for other, point in enumerate(IN_A_COMMAND):
            for side, when in enumerate(SIDES):
                reached = (
                    point in IN_RECOVERY if command == "StartPool" else point != "key" or command not in WITHOUT_KEY
                )
                often = command in {"StartPool", "RequestLease", "ReleaseLease"}
                if reached and (every or often or (number + other + side) % 3 == 0):
                    yield f"{when}-{point}@{command}"
    for number, operation in enumerate(REPLIES):
        yield from (f"{when}-reply@{operation}" for side, when in enumerate(SIDES) if every or (number + side) % 2)
    for effect in ("WatchHolder", "Prepare", "Drain", "UnwatchHolder"):
        yield from (f"{when}-effect@{effect}" for when in SIDES)
    for point in ("dictionary", "give-up", "keep", "update"):
        yield from (f"{when}-{point}" for when in SIDES)
    for write in ("keep", "snapshot", "archive"):
        yield from (f"{when}-commit@{write}" for when in SIDES)
    for point in ("prepare", "drain", "snapshot", "create", "archive", "part", "recover", "bind", "rename"):
        yield from (f"{when}-{point}" for when in SIDES)
    yield "before-snapshot:2"
    yield from ("before-part:2", "after-part:2", "after-archive:2")


class RetryingClient:
    """A client that starts the pool manager again and repeats its call with the same key until it is answered."""

    def __init__(self, pool: KillablePool) -> None:
        self.pool = pool
        self.crashes = 0

    def restart(self) -> None:
        self.pool.wait()
        self.crashes += 1
        assert self.pool.start(), self.pool.output.read_text()[-2000:]

    def call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        for _ in range(3):
            try:
                return function(*args, **options)
            except PoolUnreachable:
                self.restart()
        raise AssertionError("the pool manager ends each time")

    def wait_for(self, lease_id: str, *states: str) -> None:
        def there() -> bool:
            return self.call(self.pool.client.lease, lease_id)["state"] in states

        wait_until(there, f"{lease_id} is one of {states}")


def run_commands(caller: RetryingClient, child: subprocess.Popen[bytes]) -> None:
    """Run one of each command and check what must be true after them."""
    client, token = caller.pool.client, new_token()
    keys = [uuid.uuid4().hex for _ in range(3)]

    def request_all() -> list[LeaseView]:
        sizes = ("half", "full", "quarter")
        return [caller.call(client.request, size, token=token, key=key) for size, key in zip(sizes, keys, strict=True)]

    answers = request_all()
    released, retained, orphan = (answer["id"] for answer in answers)
    caller.call(client.bind, orphan, token, child.pid)
    for lease_id in (released, retained, orphan):
        caller.wait_for(lease_id, "active")
    caller.call(client.resize, released, "quarter")
    caller.call(client.transfer, retained, "other-tenant")
    caller.call(
        client.set_tenant, "other-tenant", {"weight": 7, "guaranteed_milli": 0, "limit_milli": None, "group": None}
    )
    device = caller.call(client.devices)[-1]["id"]
    caller.call(client.drain, device, drained=True)
    caller.call(client.release, released)
    child.kill()
    child.wait()
    for lease_id in (released, orphan):
        caller.wait_for(lease_id, "ended")
    found = {lease["id"]: lease for lease in caller.call(client.leases)}
    assert set(found) == {released, retained, orphan}, "each key is one lease"
    assert value_of(found[released]["end_reason"]) == "released"
    assert value_of(found[orphan]["end_reason"]) == "holder_died"
    assert (found[retained]["state"], found[retained]["holder"]["pid"]) == ("active", os.getpid())
    assert caller.call(client.devices)[-1]["drained"]
    assert {tenant["tenant"]["name"]: tenant["weight"] for tenant in caller.call(client.tenants)}["other-tenant"] == 7
    assert request_all() == answers, "a repeated request has the answer that was acknowledged"


def remove_state() -> None:
    """Remove the state of the pool manager, so that the next one starts with an empty journal."""
    markers = marker_paths(user_state_dir(), user_socket())
    for path in (*user_state_dir().glob("*"), user_socket(), *markers):
        path.unlink(missing_ok=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(6))
def test_pool_killed_at_a_failpoint_loses_nothing_acknowledged(
    killable_pool: KillablePool, isolated: Path, part: int
) -> None:
    points = list(_points())[part::6]
    for point in points:
        remove_state()
        caller = RetryingClient(killable_pool)
        if not killable_pool.start(point):
            caller.restart()
        with subprocess.Popen(["sleep", "600"]) as child:
            try:
                run_commands(caller, child)
            except AssertionError as error:
                raise AssertionError(f"{point}: {error}") from error
            finally:
                child.kill()
        assert caller.crashes == 1, f"{point} was not reached"
        killable_pool.kill()
        found = examine(user_state_dir() / "journal.db")
        assert found.sound, (point, found)
        assert found.leases == 3
