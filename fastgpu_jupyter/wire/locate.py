"""Where the pool manager's socket and files are.

A system-wide pool wins where it exists. The per-user folders carry the host's name: a home directory shared by
several machines must not make one machine's pool answer, or write, for another.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir, jupyter_runtime_dir

SYSTEM_SOCKET = Path("/run/fastgpu/pool.sock")
SOCKET_VARIABLE = "FASTGPU_SOCKET"


def user_runtime_dir() -> Path:
    """The folder of this user's socket and lease tokens; only its owner may enter it."""
    return Path(jupyter_runtime_dir()) / "fastgpu" / socket.gethostname()


def user_state_dir() -> Path:
    """The folder of this user's journal and log."""
    return Path(jupyter_data_dir()) / "fastgpu" / socket.gethostname()


def user_socket() -> Path:
    """The socket of this user's own pool, whether or not it exists."""
    return user_runtime_dir() / "pool.sock"


def pool_socket() -> Path:
    """The socket to talk to: the one in ``FASTGPU_SOCKET``, the system's where it exists, else the user's own."""
    named = os.environ.get(SOCKET_VARIABLE)
    if named:
        return Path(named)
    return SYSTEM_SOCKET if SYSTEM_SOCKET.exists() else user_socket()
