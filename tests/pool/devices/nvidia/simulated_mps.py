"""A folder with a fake ``nvidia-cuda-mps-control`` in it, and the daemons that it started."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from fastgpu_jupyter.pool.devices.nvidia.mps import daemon as mps_daemon
from tests.helpers import alive
from tests.waiting import wait_until

_SCRIPT = Path(__file__).with_name("mps_control.py")


class Started(NamedTuple):
    """A control daemon that was started, whether it runs or not."""

    pid: int
    uid: int
    device_id: str
    folder: Path

    @property
    def runs(self) -> bool:
        return alive(self.pid)

    def kill(self) -> None:
        """Kill it, as ``kill -9`` does."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.runs, "the daemon is gone")

    def start_server(self) -> int:
        """Have it start a server, as it does for its first client; its process."""
        mps_daemon.ask(str(self.folder), "start_server -uid 0", 20)
        return int(mps_daemon.ask(str(self.folder), "get_server_list", 20).split()[-1])


class FakeMpsControl:
    """``folder`` is to be in ``PATH``; ``python`` is what its program runs with."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        self.plan("serve")
        (folder / "started").touch()
        (folder / "started").chmod(0o666)  # a daemon may run as another user
        program = folder / mps_daemon.PROGRAM
        program.write_text(f"#!{python} -I\n{_SCRIPT.read_text()}")
        program.chmod(0o755)

    def plan(self, what: str) -> None:
        """What daemons do that are started from now on."""
        (self.folder / "plan").write_text(what)

    @property
    def started(self) -> list[Started]:
        """Every daemon that was started, in that order."""
        lines = [line.split(maxsplit=3) for line in (self.folder / "started").read_text().splitlines()]
        return [Started(int(pid), int(uid), device_id, Path(folder)) for pid, uid, device_id, folder in lines]

    @property
    def running(self) -> list[Started]:
        """Those that have not ended."""
        return [one for one in self.started if one.runs]

    def close(self) -> None:
        """End whatever is left."""
        for one in self.started:
            for pid in mps_daemon.family(str(one.folder)):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(one.folder, ignore_errors=True)
            if one.folder.parent.is_dir() and not any(one.folder.parent.iterdir()):
                one.folder.parent.rmdir()
