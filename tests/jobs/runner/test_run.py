"""``jupyter fastgpu run`` as its users see it: streams, terminal, signals, the wait, and what a kill leaves."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.cli.run import split
from fastgpu_jupyter.errors import InvalidRequest, PoolUnreachable
from fastgpu_jupyter.jobs.runner.processes import has_variable, processes
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.variables import ANCESTOR_LEASES
from tests.helpers import PoolProcess, alive, fastgpu
from tests.waiting import DEADLINE_S, wait_until

RUN = [sys.executable, "-m", "fastgpu_jupyter", "run"]
#: Counts the signals that it gets, one line for each; ends at the end of its input, or with a third one.
COUNTS = """
import os, signal, sys
names = []
def note(signum, frame):
    names.append(signal.Signals(signum).name)
    os.write(1, f"got {names[-1]} {len(names)}\\n".encode())
for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGWINCH", "SIGCONT"):
    signal.signal(getattr(signal, name), note)
os.write(1, b"ready\\n")
while True:
    signal.pause()
    if "SIGTERM" in names:
        sys.exit(7)
"""


@contextlib.contextmanager
def running(*arguments: str, **more: object) -> Iterator[subprocess.Popen[str]]:
    """A ``run`` in the background; it is killed at the end, which ends its command."""
    process = subprocess.Popen(
        [*RUN, *arguments], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more
    )  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()  # what a broken build leaves behind may hold the other end


def descendants_of_lease(lease_id: str) -> list[int]:
    """The processes that were started on a lease."""
    return [one.pid for one in processes() if not one.is_zombie and has_variable(one.pid, ANCESTOR_LEASES, [lease_id])]


def test_split_takes_options_until_the_command() -> None:
    words = split(["--size", "half", "--priority=low", "--hold", "-q", "python", "-m", "train", "--size", "9"])
    assert words.command == ["python", "-m", "train", "--size", "9"]
    assert (words.size, words.options, words.quiet) == ("half", {"priority": "low", "retention": "hold"}, True)
    assert split(["--size=24GiB", "--", "-x"]).command == ["-x"]


@pytest.mark.parametrize("words", [["--siz", "half", "true"], ["--size"], ["--priority", "urgent", "true"], ["-x"]])
def test_split_of_a_wrong_option_is_refused(words: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        split(words)


def test_run_without_a_program_is_one_sentence(isolated: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    for words, status, part in (
        ((), 125, "Name the command"),
        (("--", "no-such-program"), 127, "was not found"),
        (("--", str(tmp_path / "none")), 127, "was not found"),
        (("--", str(plain)), 126, "may not be executed"),
        (("--sise", "half", "true"), 125, "no option --sise"),
    ):
        ran = fastgpu("run", *words)
        assert (ran.returncode, ran.stderr.count("\n")) == (status, 1)
        assert part in ran.stderr


@pytest.mark.slow
def test_run_passes_streams_and_exit_status(pool: PoolProcess, tmp_path: Path) -> None:
    script = "read line; echo out $line; echo err $line >&2; exit 3"
    ran = subprocess.run(
        [*RUN, "--size", "half", "--", "sh", "-c", script],
        input="text\n", capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (3, "out text\n")
    said, err = ran.stderr.splitlines()
    assert err == "err text"
    assert "(simulated)" in said
    assert not pool.live()
    # As in cron: no terminal, a small environment. What the command leaves behind does not go on.
    environ = {name: value for name, value in os.environ.items() if name not in ("HOME", "TERM", "LANG")}
    ran = subprocess.run(
        [*RUN, "-q", "sh", "-c", "setsid sleep 1000 & kill -USR1 $$"],
        env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 128 + signal.SIGUSR1
    assert "left running" in ran.stderr
    assert not descendants_of_lease(pool.client.leases()[-1]["id"])
    refused = subprocess.run([*RUN, "--size", "9xA100", "true"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (125, 1)


@pytest.mark.slow
def test_run_in_a_terminal_passes_each_signal_once(pool: PoolProcess, tmp_path: Path) -> None:
    script = tmp_path / "counts.py"
    script.write_text(COUNTS)
    shell, terminal = pty.fork()
    if shell == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    try:
        seen = _Reader(terminal)
        os.write(terminal, f"{shlex.join([*RUN, '--size', 'half', '--', sys.executable, str(script)])}\n".encode())
        seen.wait_for("ready")
        pid = next(one.pid for one in processes() if one.parent == shell)
        os.write(terminal, b"\x03")  # to the whole group
        seen.wait_for("got SIGINT 1")
        os.kill(pid, signal.SIGINT)  # to run alone
        seen.wait_for("got SIGINT 2")
        termios.tcsetwinsize(terminal, (40, 100))
        seen.wait_for("got SIGWINCH 3")
        os.killpg(pid, signal.SIGUSR1)
        seen.wait_for("got SIGUSR1 4")
        os.write(terminal, b"\x1a")
        seen.wait_for("Stopped")
        os.write(terminal, b"fg\n")
        seen.wait_for("got SIGCONT 5")
        os.kill(pid, signal.SIGTERM)
        seen.wait_for("got SIGTERM 6")
        os.write(terminal, b"echo status $?\n")
        seen.wait_for("status 7")
    finally:
        os.kill(shell, signal.SIGKILL)
        os.waitpid(shell, 0)
        os.close(terminal)
    assert not pool.live()


class _Reader:
    """What a terminal shows."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.text = ""
        os.set_blocking(descriptor, False)

    def wait_for(self, part: str) -> None:
        """Read until ``part`` was shown."""
        wait_until(lambda: part in self._read(), f"the terminal shows {part!r}: {self.text[-300:]!r}")

    def _read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            self.text += os.read(self._descriptor, 4096).decode(errors="replace")
        return self.text


@pytest.mark.slow
def test_run_that_waits_says_so_and_is_cancelled_by_ctrl_c(pool: PoolProcess) -> None:
    held = pool.client.request("full", token=new_token(), options={"retention": "hold"})
    with running("--size", "half", "--", "echo", "computed") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "position 1 in the queue" in line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (130, "")
    assert "was not started" in err
    assert [view["id"] for view in pool.live()] == [held["id"]]
    with running("--size", "half", "--", "echo", "computed") as process:
        wait_until(lambda: len(pool.live()) == 2, "it waits")
        pool.client.release(held["id"])
        out, _ = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out) == (0, "computed\n")


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["run", "guard"])
def test_run_that_is_killed_ends_its_command_and_its_lease(pool: PoolProcess, killed: str) -> None:
    script = "sleep 1000 & setsid sleep 1000 & sleep 1000"
    with running("-q", "--size", "half", "sh", "-c", script) as process:
        wait_until(lambda: len(pool.live()) == 1, "it has a lease")
        lease_id = pool.live()[0]["id"]
        wait_until(lambda: len(descendants_of_lease(lease_id)) == 4, "the command has started three processes")
        guard = next(one.pid for one in processes() if one.parent == process.pid)
        os.kill(guard if killed == "guard" else process.pid, signal.SIGKILL)
        wait_until(lambda: not descendants_of_lease(lease_id), "nothing computes any more")
        wait_until(lambda: not alive(guard), "the guard has ended")
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == (128 + signal.SIGKILL if killed == "guard" else -signal.SIGKILL)
        assert ("supervises the command was killed" in err) is (killed == "guard")
        pool.wait_state(lease_id, "ended")


def _serves(pool: PoolProcess) -> bool:
    with contextlib.suppress(PoolUnreachable):
        return bool(pool.client.health())
    return False


@pytest.mark.slow
def test_run_keeps_its_lease_over_a_killed_pool_and_says_what_becomes_of_it(pool: PoolProcess) -> None:
    with running("--priority", "low", sys.executable, "-c", COUNTS) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        (lease,) = pool.live()
        pool.kill()
        wait_until(lambda: _serves(pool), "run has started another pool manager")
        pool.wait_state(lease["id"], "active")
        assert "lease" in process.stderr.readline()
        wait_until(lambda: pool.lease(lease["id"])["usage"]["busy"] is True, "it reports that it computes")
        urgent = pool.client.request("full", token=new_token(), options={"priority": "high"})
        while "waits for it at position 1" not in (line := process.stderr.readline()):
            assert "A request of a higher priority" in line
        pool.client.release(urgent["id"])
        assert "has its GPU again" in process.stderr.readline()
        pool.client.release(lease["id"])  # as its user, in another terminal
        assert "The lease of the command ended: It was released." in process.stderr.readline()
        assert process.wait(DEADLINE_S) == 7
        pool.wait_state(lease["id"], "ended")
