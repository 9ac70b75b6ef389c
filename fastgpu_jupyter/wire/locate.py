"""Where the pool manager's socket and files are.

A system-wide pool is used if it exists, but not in a job of Slurm, which has GPUs of its own.

The folders of a user have a name of the system (:mod:`.host_identity`), so that with a shared home directory the pool
manager of one machine neither answers nor writes for another.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from jupyter_core.paths import jupyter_data_dir, jupyter_runtime_dir

from .host_identity import installation, running_system, slurm_job

SYSTEM_SOCKET = Path("/run/fastgpu/pool.sock")
SOCKET_VARIABLE = "FASTGPU_SOCKET"


def user_runtime_dir() -> Path:
    """Return the folder of this user's socket and lease tokens, which only the user may enter."""
    return Path(jupyter_runtime_dir()) / "fastgpu" / running_system()


def kernel_file_stem(kernel_id: str) -> str:
    """Return the name of a kernel's files. Clients may choose kernel ids, so the id itself is no name of a file."""
    return hashlib.sha256(kernel_id.encode()).hexdigest()[:32]


def token_folder() -> Path:
    """Return the folder of the files with the tokens of leases; create it so that only its owner can enter it."""
    folder = user_runtime_dir() / "tokens"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def token_path(kernel_id: str) -> Path:
    """Return the path of the file with the token of a kernel's lease, whether or not it exists."""
    return token_folder() / f"{kernel_file_stem(kernel_id)}.token"


def user_state_dir() -> Path:
    """Return the folder of this user's journal and log; in a job of Slurm it is removed with that of the socket."""
    if slurm_job() is not None:
        return user_runtime_dir() / "state"
    return Path(jupyter_data_dir()) / "fastgpu" / installation()


def user_socket() -> Path:
    """Return the path of the socket of this user's own pool, whether or not it exists."""
    return user_runtime_dir() / "pool.sock"


def pool_socket() -> Path:
    """Return the socket to use: that in ``FASTGPU_SOCKET``, the system's if it exists, or the user's own."""
    named = os.environ.get(SOCKET_VARIABLE)
    if named:
        return Path(named)
    return user_socket() if slurm_job() is not None else _chosen_socket(SYSTEM_SOCKET, user_socket())


@cache
def _chosen_socket(system: Path, own: Path) -> Path:
    """Return the socket that this process uses from its first call on: its leases are known there only."""
    return system if system.exists() else own
