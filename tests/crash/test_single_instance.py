"""One pool manager serves one state folder and one socket, however many are started.

``FASTGPU_START_ROUNDS`` sets how often twenty are started at once.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_runtime_dir, user_socket
from fastgpu_jupyter.wire.spawn import ALREADY_RUNNING
from tests.crash.conftest import KillablePool
from tests.helpers import alive
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("FASTGPU_START_ROUNDS", "3"))
STARTERS = 20
LOSERS_MAX_S = 5.0


def serving() -> int | None:
    """Return the process that answers at the socket, or ``None``."""
    try:
        PoolClient(user_socket(), timeout_s=2).health()
        with unixsocket.connect(user_socket(), 2) as sock:
            return unixsocket.peer_of(sock).pid
    except Exception:  # noqa: BLE001 (any error means that no process answers)
        return None


@pytest.mark.timeout(300 + 30 * ROUNDS)
def test_of_twenty_pools_started_at_once_one_serves(killable_pool: KillablePool, isolated: Path) -> None:
    outputs = [isolated / f"pool-{number}.out" for number in range(STARTERS)]
    token = new_token()
    lease_id = None
    for _ in range(ROUNDS):
        pids = []
        for output in outputs:
            output.unlink(missing_ok=True)
            killable_pool.output = output
            killable_pool.launch()
            pids.append(killable_pool.pid)
        winner = wait_until(serving, "one pool manager serves")
        losers = [pid for pid in pids if pid != winner]
        assert winner in pids
        wait_until(lambda losers=losers: not any(alive(pid) for pid in losers), "the others end", LOSERS_MAX_S)  # type: ignore[misc]
        for pid, output in zip(pids, outputs, strict=True):
            if pid == winner:
                continue
            killable_pool.pid = pid
            assert killable_pool.wait() == ALREADY_RUNNING
            printed = output.read_text()
            assert printed.count("\n") == 1, printed
            assert "already running here" in printed
        if lease_id is None:
            lease_id = PoolClient(user_socket()).request("half", token=token)["id"]
        assert PoolClient(user_socket()).lease(lease_id)["state"] in {"preparing", "active"}
        # Its socket stays after the kill; the next ones replace it.
        killable_pool.pid = winner
        killable_pool.kill()
        assert user_socket().exists()
        assert serving() is None


def test_stale_socket_is_replaced(killable_pool: KillablePool) -> None:
    user_runtime_dir().mkdir(parents=True, mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    with unixsocket.short_address(user_socket()) as address:
        stale.bind(address)
    stale.close()
    assert killable_pool.start()
    assert serving() == killable_pool.pid


def test_second_state_folder_with_the_same_socket_waits_for_the_first(
    killable_pool: KillablePool, isolated: Path
) -> None:
    assert killable_pool.start()
    first = killable_pool.pid
    killable_pool.arguments.append(f"--FastGPUPool.state_dir={isolated / 'other state'}")
    killable_pool.output = isolated / "second.out"
    killable_pool.launch()
    assert killable_pool.wait() == ALREADY_RUNNING
    printed = killable_pool.output.read_text()
    assert printed.count("\n") == 1, printed
    assert f"already running at the socket {user_socket()} (process {first}, state folder" in printed
    assert serving() == first
    killable_pool.pid = first
    killable_pool.kill()
    assert killable_pool.start()  # the socket of the first is stale now
    assert serving() == killable_pool.pid != first


def test_socket_of_a_pool_killed_before_the_rename_is_removed(killable_pool: KillablePool) -> None:
    assert not killable_pool.start(crash_at="before-rename")
    left = user_runtime_dir() / f".pool.sock.{killable_pool.pid}"
    killable_pool.wait()
    assert left.is_socket()
    assert killable_pool.start()
    assert not left.exists()


def test_lock_descriptors_are_closed_in_child_processes(killable_pool: KillablePool) -> None:
    assert killable_pool.start()
    locks = [
        path
        for path in Path(f"/proc/{killable_pool.pid}/fd").iterdir()
        if path.exists() and str(path.readlink()).endswith(("/lock", ".lock"))
    ]
    assert len(locks) == 2  # of its state folder and of its socket
    for lock in locks:
        flags = Path(f"/proc/{killable_pool.pid}/fdinfo/{lock.name}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_CLOEXEC
