"""Start the user's dispatcher, detached, if none runs.

The process that is started returns as soon as the dispatcher serves, or found another one; the dispatcher runs on in a
session of its own as a child of init. It outlives the kernel, server or terminal that started it.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ..errors import DispatcherUnreachable, FastGPUError, Message
from ..wire import variables
from ..wire.spawn import ALREADY_RUNNING, PARENT_VARIABLE, REASON_CHARS_MAX
from . import places
from .environment import is_secret
from .frames import decode, error_of

MODULE = "fastgpu_jupyter.jobs.dispatcher"


def start_dispatcher(timeout_s: float) -> None:
    """Start a dispatcher in the background and return when one serves.

    Raises the error for which it does not start, such as a store of a newer version.
    """
    if variables.REMOTE in os.environ:
        raise DispatcherUnreachable(Message.of("jobs.dispatcher_elsewhere"))
    python = os.environ.get(variables.PYTHON) or sys.executable
    try:
        done = subprocess.run(
            [python, "-P", "-m", MODULE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _not_started(f"{error}.") from error
    if done.returncode not in (0, ALREADY_RUNNING):
        raise _reason(done.stderr, done.returncode)


def _environment() -> dict[str, str]:
    """Return the environment of this process without secrets and what belongs to a lease or the process's parent.

    The dispatcher, and the runners that it starts, outlive this process, and need none of its secrets.
    """
    environment = variables.without_lease(os.environ)
    left_out = (PARENT_VARIABLE, places.MARK_VARIABLE)
    return {name: value for name, value in environment.items() if name not in left_out and not is_secret(name, value)}


def _reason(said: bytes, status: int) -> FastGPUError:
    lines = said.strip().splitlines()
    if not lines:
        return _not_started(f"Its exit status was {status}.")
    try:
        return error_of(decode(lines[-1]))
    except ValueError:
        return _not_started(lines[-1].decode(errors="replace")[:REASON_CHARS_MAX])


def _not_started(reason: str) -> DispatcherUnreachable:
    log = str(places.jobs_dir() / places.LOG_OF_DISPATCHER)
    return DispatcherUnreachable(Message.of("jobs.dispatcher_not_started", reason=reason, log=log))
