"""One pool manager for one state folder and one socket, whoever else is started, and holders that are who they were.

Twenty start at once and one serves; the next takes over where it was killed, over the socket that it left. A process
that has a dead holder's number is not adopted and gets no signal. A holder that is stopped keeps its lease.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_runtime_dir, user_socket
from fastgpu_jupyter.wire.spawn import ALREADY_RUNNING
from tests.crash.conftest import Forked
from tests.helpers import PoolProcess, alive
from tests.views import value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
NS_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
ROUNDS = int(os.environ.get("FASTGPU_ALONE_ROUNDS", "3"))
REUSES = int(os.environ.get("FASTGPU_REUSES", "3"))
STARTERS = 20
LOSERS_MAX_S = 5.0


def serving() -> int | None:
    """The process that answers, or ``None``."""
    try:
        PoolClient(user_socket(), timeout_s=2).health()
        with unixsocket.connect(user_socket(), 2) as sock:
            return unixsocket.peer_of(sock).pid
    except Exception:  # noqa: BLE001 (whatever it is, nobody answers)
        return None


@pytest.mark.timeout(300 + 30 * ROUNDS)
def test_of_twenty_that_start_at_once_one_serves(forked: Forked, isolated: Path) -> None:
    outputs = [isolated / f"pool-{number}.out" for number in range(STARTERS)]
    token = new_token()
    lease_id = None
    for _ in range(ROUNDS):
        pids = []
        for output in outputs:
            output.unlink(missing_ok=True)
            forked.output = output
            forked.launch()
            pids.append(forked.pid)
        winner = wait_until(serving, "one serves")
        losers = [pid for pid in pids if pid != winner]
        assert winner in pids
        wait_until(lambda losers=losers: not any(alive(pid) for pid in losers), "the others end", LOSERS_MAX_S)  # type: ignore[misc]
        for pid, output in zip(pids, outputs, strict=True):
            if pid == winner:
                continue
            forked.pid = pid
            assert forked.wait() == ALREADY_RUNNING
            said = output.read_text()
            assert said.count("\n") == 1, said
            assert "already running here" in said
        if lease_id is None:
            lease_id = PoolClient(user_socket()).request("half", token=token)["id"]
        assert PoolClient(user_socket()).lease(lease_id)["state"] in {"preparing", "active"}
        # It is killed: its socket stays, and the next ones start over it.
        forked.pid = winner
        forked.kill()
        assert user_socket().exists()
        assert serving() is None


def test_a_socket_that_nobody_serves_is_replaced(forked: Forked) -> None:
    user_runtime_dir().mkdir(parents=True, mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    with unixsocket.short_address(user_socket()) as address:
        stale.bind(address)
    stale.close()
    assert forked.start()
    assert serving() == forked.pid


def test_two_state_folders_with_one_socket_are_served_one_after_the_other(forked: Forked, isolated: Path) -> None:
    assert forked.start()
    first = forked.pid
    forked.arguments.append(f"--FastGPUPool.state_dir={isolated / 'other state'}")
    forked.output = isolated / "second.out"
    forked.launch()
    assert forked.wait() == ALREADY_RUNNING
    said = forked.output.read_text()
    assert said.count("\n") == 1, said
    assert f"already running at the socket {user_socket()} (process {first}, state folder" in said
    assert serving() == first
    forked.pid = first
    forked.kill()
    assert forked.start()  # the first is dead: its socket is replaced
    assert serving() == forked.pid != first


def test_a_pool_that_is_killed_before_its_socket_has_its_name_leaves_nothing(forked: Forked) -> None:
    assert not forked.start(crash_at="before-rename")
    left = user_runtime_dir() / f".pool.sock.{forked.pid}"
    forked.wait()
    assert left.is_socket()
    assert forked.start()
    assert not left.exists()


def test_a_child_of_a_killed_pool_does_not_hold_its_lock(forked: Forked) -> None:
    """The lock's descriptor is closed in whatever program it starts."""
    assert forked.start()
    locks = [
        path
        for path in Path(f"/proc/{forked.pid}/fd").iterdir()
        if path.exists() and str(path.readlink()).endswith(("/lock", ".lock"))
    ]
    assert len(locks) == 2  # of its state folder, and of its socket
    for lock in locks:
        flags = Path(f"/proc/{forked.pid}/fdinfo/{lock.name}").read_text().split("flags:")[1].split()[0]
        assert int(flags, 8) & os.O_CLOEXEC


# -- who a holder is --------------------------------------------------------------------------------------------------

WITNESS = """
import signal, sys, time
got = []
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, lambda number, frame: print("signal", number, flush=True))
print("up", flush=True)
while True:
    time.sleep(60)
"""


def reborn(pid: int, command: list[str]) -> subprocess.Popen[str]:
    """A process of that number, which was another's."""
    for _ in range(50):
        NS_LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if process.pid == pid:
            return process
        process.kill()
        process.communicate()
    pytest.skip("other processes take the number first")


@pytest.mark.skipif(not os.access(NS_LAST_PID, os.W_OK), reason="needs root to give a number out again")
@pytest.mark.parametrize("meanwhile", ["it runs", "it is killed"])
def test_a_process_with_a_dead_holders_number_is_not_taken_for_it(forked: Forked, meanwhile: str) -> None:
    assert forked.start()
    for _ in range(REUSES):
        token = new_token()
        lease_id = forked.client.request("half", token=token)["id"]
        holder = subprocess.Popen(["sleep", "600"])
        forked.client.bind(lease_id, token, holder.pid)
        wait_until(lambda one=lease_id: forked.client.lease(one)["state"] == "active", "active")  # type: ignore[misc]
        if meanwhile == "it is killed":
            forked.kill()
        holder.kill()
        holder.wait()
        witness = reborn(holder.pid, [sys.executable, "-c", WITNESS])
        assert witness.stdout is not None
        try:
            assert witness.stdout.readline() == "up\n"
            if meanwhile == "it is killed":
                assert forked.start()
            wait_until(lambda one=lease_id: forked.client.lease(one)["state"] == "ended", "it is reaped")  # type: ignore[misc]
            assert value_of(forked.client.lease(lease_id)["end_reason"]) == "holder_died"
            assert witness.poll() is None
        finally:
            witness.kill()
            said, _ = witness.communicate()
        assert said == "", "the new process got a signal"


def test_a_holder_that_is_stopped_keeps_its_lease_and_is_billed(isolated: Path) -> None:
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
            before = pool.lease(lease_id)
            began_s = time.monotonic()
            pool.kill()  # also the pool that adopts it hears nothing from it, and needs to hear nothing
            pool.start()
            wait_until(lambda: time.monotonic() - began_s > stopped_s, "it is stopped for a while", stopped_s + 10)
            after = pool.lease(lease_id)
            passed_ms = (time.monotonic() - began_s) * 1000
            assert (after["state"], after["holder"]["pid"]) == ("active", holder.pid)
            assert after["times"]["granted_at"] == before["times"]["granted_at"]
            assert abs(after["usage"]["active_ms"] - before["usage"]["active_ms"] - passed_ms) < 500
            holder.kill()
            pool.wait_state(lease_id, "ended")
    finally:
        pool.end()
