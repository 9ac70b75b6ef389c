"""Start the user's own pool manager when nobody serves yet.

The pool is started detached: its starter returns as soon as it answers, and the pool itself lives on in a session of
its own, adopted by init, so that it outlives the server or kernel that started it, is ended by no terminal, and
counts as nobody's child. Several callers may do so at once; the pool's own lock lets one through.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from ..errors import PoolUnreachable
from .client import PoolClient
from .locate import SOCKET_VARIABLE, pool_socket, user_socket, user_state_dir

#: Exit status of a pool that found another one already serving or about to.
ALREADY_RUNNING = 75

#: Variables of a kernel that must not reach a pool which that kernel happens to start.
_KERNEL_ONLY = (
    "FASTGPU_LEASE",
    "FASTGPU_TOKEN_FILE",
    "FASTGPU_LEASE_STATE",
    "FASTGPU_KERNEL_ID",
    "FASTGPU_GRANTED",
    "FASTGPU_HIDDEN",
    "JPY_PARENT_PID",
)
_POLL_S = 0.02


def ensure_pool(timeout_s: float = 15.0) -> PoolClient:
    """A client of a pool that answers; starts the user's own pool where that is the one to use and nobody serves it.

    Raises :class:`PoolUnreachable` with the reason where none answers within ``timeout_s``. Blocks; not for an event
    loop's thread.
    """
    client = PoolClient(pool_socket())
    try:
        client.health()
        return client
    except PoolUnreachable:
        if client.path != user_socket():
            raise  # a pool that was named, or the system's, is for its owner to start
    deadline = time.monotonic() + timeout_s
    _start(timeout_s)
    while True:
        try:
            client.health()
            return client
        except PoolUnreachable:
            # Another caller's pool has the lock and is about to listen.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _start(timeout_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in (*_KERNEL_ONLY, SOCKET_VARIABLE)}
    python = os.environ.get("FASTGPU_PYTHON") or sys.executable
    command = [python, "-m", "fastgpu_jupyter", "pool", "--on-demand"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PoolUnreachable(f"The pool manager did not start: {error}. {_where_to_look()}") from error
    if done.returncode not in (0, ALREADY_RUNNING):
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1][-400:] if said else f"it ended with status {done.returncode}"
        raise PoolUnreachable(f"The pool manager did not start: {reason} {_where_to_look()}")


def _where_to_look() -> str:
    return f"Its log is {user_state_dir() / 'pool.log'}; `jupyter fastgpu pool` shows it in a terminal."
