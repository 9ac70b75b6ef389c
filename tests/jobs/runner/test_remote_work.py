"""The two ends of a job's work on a host of a cluster; the launcher is a command of this host."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.jobs.host_link import CHANNEL
from fastgpu_jupyter.jobs.places import MARK_VARIABLE
from fastgpu_jupyter.jobs.progress import PROGRESS_VARIABLE
from fastgpu_jupyter.jobs.runner.guard import Channel
from fastgpu_jupyter.jobs.runner.processes import has_variable, processes
from fastgpu_jupyter.jobs.runner.remote_work import command_here, launcher_of
from fastgpu_jupyter.jobs.runner.work import WorkCommand
from fastgpu_jupyter.pool.clusters.bootstrap import WITH_DEVICES
from tests.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[3]
ON_N1 = ("env", "GPU_DEVICE_ORDINAL=3", "SLURMD_NODENAME=n1", *WITH_DEVICES)


def lease(**cluster: Any) -> Any:
    """The view of a lease, with what is read of it here."""
    return {"cluster": {"host": "n1", **cluster} if cluster else None}


class Work:
    """The process that stands for the work process on this host."""

    def __init__(self, folder: Path, *argv: str, launcher: tuple[str, ...] = ON_N1, cwd: str = "") -> None:
        self.mark = f"1@{folder.name}"
        here, there = socket.socketpair()
        here.settimeout(DEADLINE_S)
        self.channel = Channel(here)
        command = WorkCommand(list(argv), has_channel=CHANNEL in argv)
        with there:
            self.process = subprocess.Popen(
                command_here(command, there.fileno(), lease(launcher=list(launcher)), folder, cwd or str(folder)),
                env={**os.environ, "PYTHONPATH": str(ROOT), MARK_VARIABLE: self.mark,
                     PROGRESS_VARIABLE: str(folder / "progress.sock")},
                pass_fds=[there.fileno()] if command.has_channel else [],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def live(self) -> list[int]:
        """Its processes, on either end."""
        return [
            one.pid for one in processes() if not one.is_zombie and has_variable(one.pid, MARK_VARIABLE, [self.mark])
        ]

    def read_line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode()

    def end(self) -> tuple[int, str]:
        """Its status and the rest of its output."""
        output, _ = self.process.communicate(timeout=DEADLINE_S)
        wait_until(lambda: not self.live(), lambda: f"nothing of it is left: {self.live()}")
        return self.process.returncode, output.decode()


@contextmanager
def work(folder: Path, *argv: str, **more: Any) -> Iterator[Work]:
    """Start work, and let nothing of it outlive the test."""
    one = Work(folder, *argv, **more)
    try:
        yield one
    finally:
        for pid in one.live():
            os.kill(pid, signal.SIGKILL)
        one.process.wait()
        one.channel.close()


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.mark.slow
def test_output_status_and_devices_are_those_of_the_host(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), *map(os.environ.get, sys.argv[1:])); print('x' * 10**5); sys.exit(7)"
    names = ("CUDA_VISIBLE_DEVICES", "SLURMD_NODENAME", "FASTGPU_SOCKET")
    with work(tmp_path, *python(code), *names) as one:
        status, output = one.end()
    assert (status, output) == (7, f"{tmp_path} 3 n1 None\n{'x' * 10**5}\n")


@pytest.mark.slow
def test_signals_reach_the_work_and_its_end_by_a_signal_is_the_end_here(tmp_path: Path) -> None:
    code = (
        "import signal, time, os\ngot = []\n"
        "signal.signal(signal.SIGINT, lambda *_: got.append('interrupted'))\n"
        "print('ready', flush=True)\nwhile not got:\n    time.sleep(0.01)\n"
        "print(*got, flush=True)\nos.kill(os.getpid(), signal.SIGTERM)\n"
    )
    with work(tmp_path, *python(code)) as one:
        assert one.read_line() == "ready\n"
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.end() == (-signal.SIGTERM, "interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["here", "launched"])
def test_nothing_computes_on_the_host_once_the_link_is_lost(tmp_path: Path, killed: str) -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print('ready', flush=True); sys.stdin.read()"
    code += "; import time; time.sleep(600)"
    with work(tmp_path, *python(code)) as one:
        assert one.read_line() == "ready\n"
        child = next(each.pid for each in processes() if each.parent == one.process.pid)
        os.kill(one.process.pid if killed == "here" else child, signal.SIGKILL)
        status, _ = one.end()
        assert status != 0


@pytest.mark.slow
def test_messages_go_both_ways_and_progress_is_reported_here(tmp_path: Path) -> None:
    code = (
        "import json, socket, sys, fastgpu_jupyter, os\n"
        "channel = socket.socket(fileno=int(sys.argv[1])); lines = channel.makefile('rw')\n"
        "wanted = json.loads(lines.readline())['run']\n"
        "os.environ['FASTGPU_PROGRESS'] = wanted['progress']\n"
        "fastgpu_jupyter.progress(1, 2, 'steps', 'half')\n"
        "lines.write(json.dumps({'event': 'ended', 'given': wanted['x']}) + '\\n'); lines.flush(); lines.readline()\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as progress:
        progress.bind(str(tmp_path / "run.sock"))
        progress.settimeout(DEADLINE_S)
        with work(tmp_path, *python(code), CHANNEL) as one:
            one.channel.send(run={"x": 5, "progress": str(tmp_path / "run.sock")})
            assert json.loads(progress.recv(4096))["text"] == "half"
            assert one.channel.receive() == [{"event": "ended", "given": 5}]
            one.channel.close()
            one.end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "more", "said"),
    [
        (("true",), {"cwd": "/nowhere"}, "the folder /nowhere does not exist on "),
        (("no-such-program",), {}, "No such file"),
        (("true",), {"launcher": ("sh", "-c", "echo no job >&2; exit 3")}, "no job"),
    ],
)
def test_work_that_did_not_begin_fails_with_the_reason_in_its_log(
    tmp_path: Path, argv: tuple[str, ...], more: dict[str, Any], said: str
) -> None:
    with work(tmp_path, *argv, **more) as one:
        status, output = one.end()
    assert status != 0
    assert said in output


def test_nothing_of_a_cluster_runs_on_this_host_where_its_host_cannot_be_reached(tmp_path: Path) -> None:
    command = WorkCommand(["true", CHANNEL], has_channel=True)
    assert command_here(command, 5, lease(), tmp_path, "/") == ["true", "5"]
    for view in (lease(launcher=None), lease(state="running")):  # an older pool manager does not say it
        with pytest.raises(HostFault):
            command_here(command, 5, view, tmp_path, "/")
        with pytest.raises(HostFault):
            launcher_of(view)
