"""One standby kernel as the server sees it: start, hand-over, end. Methods that are no coroutines block."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_client.launcher import launch_kernel
from jupyter_core.paths import jupyter_runtime_dir

from ..wire.observed import Observed
from ..wire.preload import Refusal, RefusalReason
from ..wire.schemas.observed import read_observed
from ..wire.standby_link import Link
from ..wire.variables import STANDBY, STANDBY_PRELOAD
from .preload_refusals import PreloadRefused, read_refusal
from .start_match import (
    CONNECTION_FILE,
    LAUNCH_VARIABLES,
    Miss,
    MissReason,
    Start,
    changed_variable,
    difference,
    never_matches,
    standby_environment,
    start_of,
)
from .threads import in_thread

#: The beginning of the connection file in the command of a standby kernel. There is none, and none can be created: a
#: version of the package that does not know standby kernels fails, instead of being a kernel without a manager.
PLACEHOLDER = "/dev/null/standby-"
#: Where a standby kernel waits: not in a folder that a user might remove, or whose modules it would import.
FOLDER = "/"
#: How long a process may take to import everything, or one module that users name, also on a network disk.
READY_S = 60.0
#: How long the answer to a hand-over may take. One that is stopped, or must be read back from disk first, is given up.
ACCEPT_S = 0.5
#: How long a launch waits until clients can connect. They try again by themselves, but only after 0.1 seconds.
BOUND_S = 0.25
#: How long the end of a process may take that got SIGKILL.
END_S = 2.0
#: Lines of /proc/self/status with attributes that a process hands on to its children.
_INHERITED = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
              "NoNewPrivs", "Seccomp", "Seccomp_filters", "Cpus_allowed", "Mems_allowed")  # fmt: skip


class LaunchDetails(NamedTuple):
    """What differs from launch to launch of one start, beside the environment."""

    connection_file: str
    folder: str
    #: Arguments of the launch that only a cold start has, such as another standard output.
    others: tuple[str, ...] = ()


def details_of(
    kernelspec: str, connection_file: str, launch: Mapping[str, Any], preload: Sequence[str]
) -> tuple[Start, LaunchDetails]:
    """Return the start and the details of what a provisioner's ``pre_launch`` has returned."""
    connection_file = os.path.realpath(connection_file)  # as it is in the command
    others = [name for name in launch if name not in ("cmd", "env", "cwd", "kernel_id", "extra_arguments")]
    details = LaunchDetails(connection_file, str(launch.get("cwd") or Path.cwd()), tuple(others))
    return start_of(kernelspec, launch["cmd"], connection_file, launch["env"], preload), details


class NotTaken(Exception):
    """The standby kernel cannot become the kernel."""

    def __init__(self, miss: Miss) -> None:
        super().__init__(miss)
        self.miss = miss


class StandbyProcess:
    """A process that was started to become a kernel of ``start``."""

    def __init__(self, start: Start) -> None:
        self.start = start
        #: What it saw at its start; None before :meth:`wait_until_ready`.
        self.observed: Observed | None = None
        self.server_attributes: tuple[object, ...] = ()
        self.since = time.monotonic()
        # As long as that of a kernel, so that the command line which other processes see can be corrected in place.
        usual = f"{os.path.realpath(jupyter_runtime_dir())}/kernel-{uuid.uuid4()}.json"
        self._placeholder = f"{PLACEHOLDER.ljust(len(usual) - len('.json'), '0')}.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None

    def begin(self) -> None:
        """Start the process. Raises :class:`OSError` if that fails."""
        self.server_attributes = server_attributes()
        ours, theirs = socket.socketpair()
        self._link = Link(ours)
        with theirs:
            command = [word.replace(CONNECTION_FILE, self._placeholder) for word in self.start.command]
            env = {**standby_environment(self.start), **self._preload(), STANDBY: str(theirs.fileno())}
            self._process = launch_kernel(command, env=env, cwd=FOLDER, pass_fds=(theirs.fileno(),))

    def _preload(self) -> dict[str, str]:
        if not self.start.preload:
            return {}
        late = sorted({*LAUNCH_VARIABLES, *(self.start.hidden or ())})
        return {STANDBY_PRELOAD: json.dumps({"modules": self.start.preload, "variables": late})}

    def wait_until_ready(self) -> None:
        """Wait until it has imported everything.

        Raises the errors of :meth:`Link.receive`, :class:`NotTaken` if no launch could ever take it, and
        :class:`PreloadRefused` if a module must not be imported ahead.
        """
        self.observed = read_observed(self._when_ready())
        miss = Miss(MissReason.UNKNOWN) if self.observed is None else never_matches(self.start, self.observed)
        if miss is not None:
            raise NotTaken(miss)

    def _when_ready(self) -> Any:
        """Return the report of the kernel, which says before that which module it imports."""
        assert self._link is not None
        module = None
        try:
            while "ready" not in (message := self._link.receive(READY_S)):
                module = message.get("preload", module)
                if (refusal := read_refusal(message.get("refused_preload"))) is not None:
                    raise PreloadRefused(refusal)
        except TimeoutError:
            if module is None:
                raise
            raise PreloadRefused(Refusal(module, RefusalReason.HANGS)) from None
        except (OSError, EOFError):
            if module is None:
                raise
            raise PreloadRefused(Refusal(module, RefusalReason.ENDS_PROCESS)) from None
        return message["ready"]

    @property
    def pid(self) -> int:
        """Return the number of the process, once it was started."""
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process is None or self._process.poll() is not None

    def difference(self, wanted: Start, folder: str) -> Miss | None:
        """Return why a cold start of ``wanted`` in ``folder`` would be another process than this; None if it is not."""
        if self.observed is None:
            return Miss(MissReason.UNKNOWN)
        found = difference(self.start, self.observed, wanted, folder)
        if found is None and self.server_attributes != server_attributes():
            found = Miss(MissReason.PROCESS)
        return found

    def hand_over(self, wanted: Start, details: LaunchDetails) -> None:
        """Let the process begin to be a kernel, as far as that needs no lease, unless a cold start would differ.

        Raises :class:`NotTaken`; then the process must be ended.
        """
        assert self._link is not None
        message = {"placeholder": self._placeholder, **details._asdict()}
        with _failures():
            self._link.send({"hand_over": message}, ACCEPT_S)
            refused = self._link.receive(ACCEPT_S).get("refused")
            if refused is not None:
                raise NotTaken(Miss(MissReason(refused["reason"]), refused["what"]))
        # Meanwhile: it hardly ever differs, and what the process does first is of no consequence where it does.
        miss = self.difference(wanted, details.folder)
        if miss is not None:
            raise NotTaken(miss)

    def go(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Return the process, which is the kernel from here on, in this environment. Raises :class:`NotTaken`."""
        assert self._link is not None
        assert self._process is not None
        assert self.observed is not None
        miss = changed_variable(self.start, self.observed, environment)
        if miss is not None:
            raise NotTaken(miss)
        with _failures():
            self._link.send({"go": {**environment, "JPY_PARENT_PID": str(os.getpid())}}, ACCEPT_S)
        return self._process

    async def when_bound(self) -> None:
        """Return when clients can connect, or after a while: they try again by themselves."""
        assert self._link is not None
        with contextlib.suppress(OSError, EOFError, ValueError):
            if self._link.has_message():
                self._link.receive(BOUND_S)
            else:
                await in_thread(self._link.receive, BOUND_S)
        self._link.close()

    def end(self) -> None:
        """End the process, and all that it or a program in front of it has started."""
        if self._link is not None:
            self._link.close()
        if self._process is None:
            return
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Raise :class:`NotTaken` for what may fail on the connection to a standby kernel."""
    try:
        yield
    except TimeoutError:
        raise NotTaken(Miss(MissReason.NOT_ANSWERING)) from None
    except (OSError, EOFError):
        raise NotTaken(Miss(MissReason.DIED)) from None
    except (ValueError, LookupError, TypeError):
        raise NotTaken(Miss(MissReason.UNKNOWN)) from None


def server_attributes() -> tuple[object, ...]:
    """Return what a process that this one starts gets from it, beside environment, folder and command."""
    status = Path("/proc/self/status").read_text(errors="replace").splitlines()
    return (
        *(line for line in status if line.partition(":")[0] in _INHERITED),
        Path("/proc/self/limits").read_text(),
        Path("/proc/self/cgroup").read_text(),
        Path("/proc/self/oom_score_adj").read_text(),
        os.getpriority(os.PRIO_PROCESS, os.getpid()),
        os.sched_getscheduler(os.getpid()),
        *(_file_of(descriptor) for descriptor in (1, 2)),
    )


def _file_of(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
