"""What ends together with a Jupyter server, so that no kernel can outlive it: its container, or its systemd service."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from ..errors import Message
from .host_identity import FIRST_PID_NAMESPACE

#: First processes that go on when one of their children has ended.
_GO_ON = {"systemd", "init", "s6-svscan", "supervisord", "runsvdir", "runit"}
#: The scopes of container runtimes, which kill what is left in them.
_CONTAINER_SCOPE = re.compile(r"(docker|libpod|crio|cri-containerd)-.*\.scope")
#: What systemd kills when the main process of a service ends (systemd.kill(5)): all but these leave its children.
_LEAVES_CHILDREN = {"process", "none"}
SERVERS_MAX = 8
SYSTEMCTL_S = 2.0


def end_with_server(
    pid: int, proc: Path = Path("/proc"), kill_mode: Callable[[str, bool], str | None] | None = None
) -> Message | None:
    """Return what ends all kernels with the server of process ``pid``; None where nothing is known to.

    ``kill_mode`` returns the ``KillMode`` of a systemd unit, of the user's manager if so said, None if it is not known.
    """
    if pid == 1:
        return Message.of("kept.ends_with_container")
    try:
        units = _units(pid, proc)
        parent = _parent(pid, proc)
        in_container = os.stat(proc / str(pid) / "ns/pid").st_ino != FIRST_PID_NAMESPACE  # noqa: PTH116
        first = (proc / "1/comm").read_text().strip()
    except (OSError, ValueError):
        return None
    if (parent == 1 and in_container and first not in _GO_ON) or (units and _CONTAINER_SCOPE.fullmatch(units[-1])):
        return Message.of("kept.ends_with_container")
    if not units or not units[-1].endswith(".service"):
        return None
    of_user = any(unit.startswith("user@") for unit in units[:-1])
    mode = (kill_mode or _kill_mode)(units[-1], of_user)
    if mode is None:
        return Message.of("kept.may_end_with_service", unit=units[-1])
    return None if mode in _LEAVES_CHILDREN else Message.of("kept.ends_with_service", unit=units[-1], mode=mode)


def running_servers() -> Iterator[tuple[int, str]]:
    """Yield the process and the root folder of this user's Jupyter servers."""
    for path in sorted(Path(jupyter_runtime_dir()).glob("jpserver-*.json"))[:SERVERS_MAX]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(path.read_bytes())
            pid, root = int(found["pid"]), str(found["root_dir"])
            os.kill(pid, 0)
            yield pid, root


def _units(pid: int, proc: Path) -> list[str]:
    """Return the systemd units in whose control groups a process is, the innermost last."""
    for line in (proc / str(pid) / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controllers == "name=systemd":
            return [part for part in path.split("/") if part.endswith((".service", ".scope"))]
    return []


def _parent(pid: int, proc: Path) -> int:
    return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def _kill_mode(unit: str, of_user: bool) -> str | None:
    command = ["systemctl", *(["--user"] if of_user else []), "show", "--property=KillMode", "--value", "--", unit]
    with suppress(OSError, subprocess.SubprocessError):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SYSTEMCTL_S, check=True)
        return ran.stdout.strip() or None
    return None
