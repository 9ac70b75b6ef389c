"""Start the user's own pool manager if none serves yet.

The pool manager is started detached: the process that is started returns as soon as the pool manager answers, and the
pool manager runs on in a session of its own as a child of init. It outlives the server or kernel that started it, and
no terminal ends it. Several callers may start it at once; its lock lets one of them succeed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from ..errors import Message, PoolSilent, PoolUnreachable
from . import variables
from .client import PoolClient
from .locate import SOCKET_VARIABLE, pool_socket, user_socket, user_state_dir

#: The exit status of a pool manager that found another one running or starting.
ALREADY_RUNNING = 75

#: The variable by which a kernel ends with its server; a pool manager does not.
PARENT_VARIABLE = "JPY_PARENT_PID"
#: The descriptors of locks that a starter holds for the pool manager that it starts, so that no other one begins to
#: serve meanwhile.
LOCKS_VARIABLE = "FASTGPU_LOCKS"
_POLL_S = 0.02
#: Characters of the reason that are shown; its beginning says what is wrong.
REASON_CHARS_MAX = 600


def ensure_pool(timeout_s: float = 15.0) -> PoolClient:
    """Return a client of a pool manager that answers; start the user's own one if that is to be used and does not run.

    Raises :class:`PoolUnreachable` with the reason if none answers within ``timeout_s``. Blocks, so that it is not for
    the thread of an event loop.
    """
    client = PoolClient(pool_socket())
    try:
        client.health()
        return client
    except PoolSilent:
        raise  # it serves: another one could not take its place
    except PoolUnreachable:
        if client.path != user_socket():
            raise  # a named pool manager, or the system's, is started by its owner
    deadline = time.monotonic() + timeout_s
    _start(timeout_s)
    while True:
        try:
            client.health()
            return client
        except PoolSilent:
            raise
        except PoolUnreachable:
            # The pool manager of another caller has the lock and is about to serve.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _start(timeout_s: float) -> None:
    if variables.REMOTE in os.environ:
        raise PoolUnreachable(Message.of("pool.elsewhere"))
    environment = variables.without_lease(os.environ)
    for name in (PARENT_VARIABLE, SOCKET_VARIABLE):
        environment.pop(name, None)
    python = os.environ.get(variables.PYTHON) or sys.executable
    start_detached((), environment, "/", timeout_s, python=python)


def start_detached(
    options: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    timeout_s: float,
    *,
    python: str = sys.executable,
    locks: Sequence[int] = (),
) -> int:
    """Start a pool manager in the background, and return when it serves, or when it found another one.

    ``locks`` are descriptors of locks that are passed to it. Returns 0 or :data:`ALREADY_RUNNING`. Raises
    :class:`PoolUnreachable` with the reason if it does not start.
    """
    command = [python, "-P", "-m", "fastgpu_jupyter", "pool", *options, "--on-demand"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**environment, LOCKS_VARIABLE: " ".join(map(str, locks))},
            pass_fds=locks,
            start_new_session=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PoolUnreachable(Message.of("pool.not_started", reason=f"{error}.", log=_log())) from error
    if done.returncode not in (0, ALREADY_RUNNING):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if not said:
            raise PoolUnreachable(Message.of("pool.ended_at_start", status=done.returncode, log=_log()))
        raise PoolUnreachable(Message.of("pool.not_started", reason=said[-1][:REASON_CHARS_MAX], log=_log()))
    return done.returncode


def _log() -> str:
    return str(user_state_dir() / "pool.log")
