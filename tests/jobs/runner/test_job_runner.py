"""The runner of a job with real processes and a real pool: what is recorded, whatever ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.runner.processes import processes
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import PoolProcess, alive
from tests.jobs.runner.attempt import Attempt
from tests.waiting import DEADLINE_S, wait_until

Start = Callable[..., Attempt]


@pytest.fixture
def command(pool: PoolProcess, tmp_path: Path) -> Iterator[Start]:
    """Make attempts of a job that runs a shell script, in an own working folder."""
    made: list[Attempt] = []
    cwd = tmp_path / "work"
    cwd.mkdir()

    def make(script: str, **body: Any) -> Attempt:
        attempt = Attempt(pool, cwd, "command", {"argv": ["sh", "-c", script]}, **body)
        made.append(attempt)
        return attempt

    yield make
    for attempt in made:
        attempt.end()


@pytest.mark.slow
def test_command_leaves_log_files_and_outcome(command: Start, pool: PoolProcess) -> None:
    script = "echo $FASTGPU_JOB $FASTGPU_SIMULATED; echo err >&2; mkdir out; echo data > out/a.png; printf end"
    attempt = command(script, save=["out/*.png"])
    outcome = attempt.run()
    assert (outcome["state"], outcome["exit_status"], outcome["error"], outcome["notes"]) == ("done", 0, None, [])
    assert attempt.log == f"{attempt.mark} 1\nerr\nend"
    assert list(attempt.manifest().files) == ["out/a.png"]
    assert attempt.store.content(attempt.manifest().files["out/a.png"].digest) == b"data\n"
    assert pool.state(attempt.lease_id) == "ended"
    assert json.loads(places.start_file(attempt.id).read_text())["lease"]["token"] is None
    failed = command("echo before; exit 3")
    outcome = failed.run()
    assert (outcome["state"], outcome["exit_status"], outcome["error"]["name"]) == ("failed", 3, "ExitStatus")
    assert outcome["result"] is None
    missing = Attempt(pool, Path("/nowhere"), "command", {"argv": ["true"]})
    assert "/nowhere does not exist" in missing.run()["error"]["text"]


@pytest.mark.slow
def test_time_limit_ends_the_whole_session(command: Start) -> None:
    attempt = command("trap 'echo interrupted; exit 1' INT; sleep 1000 & wait", timeout_ms=300)
    outcome = attempt.run()
    assert (outcome["state"], outcome["error"]["name"]) == ("failed", "Timeout")
    assert attempt.log == "interrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["runner", "guard", "work", "pool"])
def test_killed_process_leaves_nothing_that_computes(command: Start, pool: PoolProcess, killed: str) -> None:
    attempt = command("setsid sleep 1000 & echo ready; sleep 0.5; echo more; wait")
    attempt.start()
    assert attempt.process is not None
    attempt.wait_for_log("ready")
    # The environment of a process that is about to run another program cannot be read for a moment.
    wait_until(lambda: "sleep" in map(_program, attempt.live()), "the process in a session of its own runs")
    guard = next(one.pid for one in processes() if one.parent == attempt.process.pid)
    work = next(one.pid for one in processes() if one.parent == guard)
    if killed == "pool":
        _kill_pool(pool)
        attempt.wait_for_log("more")
        wait_until(lambda: _state(pool, attempt) == "active", "another pool manager knows the lease")
        os.kill(work, signal.SIGTERM)
    else:
        os.kill({"runner": attempt.process.pid, "guard": guard, "work": work}[killed], signal.SIGKILL)
    wait_until(lambda: not attempt.live(), "nothing of the job computes")
    attempt.process.wait(30)
    wait_until(lambda: _state(pool, attempt) == "ended", "the lease has ended")
    if killed == "runner":
        assert not places.outcome_file(attempt.id).exists()
        assert json.loads(places.work_file(attempt.id).read_text()) == {"attempt": 1}
    else:
        outcome = attempt.outcome()
        assert outcome["state"] == "failed"
        assert outcome["error"]["name"] == ("SIGTERM" if killed == "pool" else "SIGKILL")


def _kill_pool(pool: PoolProcess) -> None:
    """Kill the process that serves, which may be one that was started on demand."""
    sock = unixsocket.connect(user_socket(), DEADLINE_S)
    pid = unixsocket.peer_of(sock).pid
    sock.close()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the pool manager is gone")


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _state(pool: PoolProcess, attempt: Attempt) -> str | None:
    try:
        return pool.state(attempt.lease_id)
    except PoolUnreachable:
        return None


@pytest.mark.slow
def test_lease_that_is_parked_waits_and_one_that_is_released_ends_the_job(command: Start, pool: PoolProcess) -> None:
    attempt = command("echo ready; sleep 1000")
    attempt.start()
    attempt.wait_for_log("ready")
    wait_until(lambda: pool.lease(attempt.lease_id)["usage"]["busy"] is True, "it reports that it computes")
    pool.client.release(attempt.lease_id)
    outcome = attempt.wait()
    assert (outcome["state"], outcome["error"]["name"]) == ("failed", "LeaseEnded")
    assert "It was released." in outcome["error"]["text"]
