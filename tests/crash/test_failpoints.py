"""The pool manager dies at each point of each command; what it acknowledged is there, the rest is had by asking again.

``FASTGPU_FAILPOINTS=all`` takes every pair of a point and a command; otherwise each point meets some of the commands,
and each command some of the points, all of both at least once.
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
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from tests.crash.conftest import Forked
from tests.views import value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

COMMANDS = (
    "StartPool", "RequestLease", "BindHolder", "ResizeLease", "TransferLease", "SetTenant", "DrainDevice",
    "ReleaseLease", "HolderEnded", "PrepareSucceeded", "DrainSucceeded",
)  # fmt: skip
IN_A_COMMAND = ("apply", "append", "insert", "commit", "answer")
SIDES = ("before", "after")


def _points() -> Iterator[str]:
    for number, command in enumerate(COMMANDS):
        for other, point in enumerate(IN_A_COMMAND):
            for side, when in enumerate(SIDES):
                every = os.environ.get("FASTGPU_FAILPOINTS") == "all"
                if command == "StartPool":
                    if point in {"append", "commit"}:  # it is decided in recovery, which asks nobody
                        yield f"{when}-{point}"
                elif every or (number + other + side) % 3 == 0 or command in {"RequestLease", "ReleaseLease"}:
                    yield f"{when}-{point}@{command}"
    for effect in ("WatchHolder", "Prepare", "Drain", "UnwatchHolder"):
        yield from (f"{when}-effect@{effect}" for when in SIDES)
    for point in ("prepare", "drain", "snapshot", "migrate", "migrate@Script", "recover", "bind", "rename"):
        yield from (f"{when}-{point}" for when in SIDES)
    yield "after-migrate@Script:2"
    yield "before-snapshot:2"


class Session:
    """A client that gives no command up: it starts the pool again and asks with the same key."""

    def __init__(self, pools: Forked) -> None:
        self.pools = pools
        self.deaths = 0

    def revive(self) -> None:
        self.pools.wait()
        self.deaths += 1
        assert self.pools.start(), self.pools.output.read_text()[-2000:]

    def do(self, call: Callable[..., Any], *args: Any, **how: Any) -> Any:
        for _ in range(3):
            try:
                return call(*args, **how)
            except PoolUnreachable:
                self.revive()
        raise AssertionError("it dies again and again")

    def until(self, lease_id: str, *states: str) -> None:
        def there() -> bool:
            return self.do(self.pools.client.lease, lease_id)["state"] in states

        wait_until(there, f"{lease_id} is {states}")


def play(session: Session, child: subprocess.Popen[bytes]) -> None:
    """One of each command, and what must be true after them."""
    client, token = session.pools.client, new_token()
    keys = [uuid.uuid4().hex for _ in range(3)]

    def request(profile: str, number: int) -> str:
        return str(session.do(client.request, profile, token=token, key=keys[number])["id"])

    released, kept, orphan = request("half", 0), request("full", 1), request("quarter", 2)
    session.do(client.bind, orphan, token, child.pid)
    for lease_id in (released, kept, orphan):
        session.until(lease_id, "active")
    session.do(client.resize, released, "quarter")
    session.do(client.transfer, kept, "nobody-else")
    session.do(
        client.set_tenant, "nobody-else", {"weight": 7, "guaranteed_milli": 0, "limit_milli": None, "group": None}
    )
    device = session.do(client.devices)[-1]["id"]
    session.do(client.drain, device, drained=True)
    session.do(client.release, released)
    child.kill()
    child.wait()
    for lease_id in (released, orphan):
        session.until(lease_id, "ended")
    found = {lease["id"]: lease for lease in session.do(client.leases)}
    assert set(found) == {released, kept, orphan}, "each key is one lease"
    assert value_of(found[released]["end_reason"]) == "released"
    assert value_of(found[orphan]["end_reason"]) == "holder_died"
    assert (found[kept]["state"], found[kept]["holder"]["pid"]) == ("active", os.getpid())
    assert session.do(client.devices)[-1]["drained"]
    assert {tenant["tenant"]["key"]: tenant["weight"] for tenant in session.do(client.tenants)}["nobody-else"] == 7
    assert [request(profile, n) for n, profile in enumerate(("half", "full", "quarter"))] == [released, kept, orphan]


def wipe() -> None:
    """The next pool manager begins without a history."""
    for path in (*user_state_dir().glob("*"), user_socket()):
        path.unlink(missing_ok=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(6))
def test_death_at_a_point_loses_nothing(forked: Forked, isolated: Path, part: int) -> None:
    points = list(_points())[part::6]
    for point in points:
        wipe()
        session = Session(forked)
        if not forked.start(point):
            session.revive()
        with subprocess.Popen(["sleep", "600"]) as child:
            try:
                play(session, child)
            except AssertionError as error:
                raise AssertionError(f"{point}: {error}") from error
            finally:
                child.kill()
        assert session.deaths == 1, f"{point} was not reached"
        forked.kill()
        found = examine(user_state_dir() / "journal.db")
        assert found.sound, (point, found)
        assert found.leases == 3
