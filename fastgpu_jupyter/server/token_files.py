"""The files with lease tokens, one for each kernel, that only their owner can read.

A kernel gets the token of its lease by a file, because child processes inherit the environment and tools print it.
The file belongs to the kernel, not to the lease: a kernel that releases its lease and requests another one keeps the
token. A server that starts removes the files of kernels without a lease.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from ..wire.locate import token_folder as token_folder  # noqa: PLC0414 (the server has them from here)
from ..wire.locate import token_path as token_path  # noqa: PLC0414
from ..wire.private_files import write_private
from ..wire.variables import lease_file

#: A file younger than this may belong to a lease that is being requested at the moment.
_SETTLED_S = 60.0


def write_token_file(kernel_id: str, token: str) -> Path:
    """Store ``token`` and return the path; the file never has wider permissions, whatever the umask is."""
    path = token_path(kernel_id)
    write_private(path, token.encode())
    return path


def write_lease_file(kernel_id: str, lease_id: str) -> None:
    """Tell a running kernel without a lease the id of the lease that was requested for it; the kernel removes it."""
    path = lease_file(token_path(kernel_id))
    whole = path.with_suffix(".new")
    whole.write_text(lease_id)
    whole.replace(path)  # the kernel reads all of it or nothing


def remove_token_file(kernel_id: str) -> None:
    """Remove the files of a kernel that has ended."""
    path = token_path(kernel_id)
    for one in (path, lease_file(path)):
        with contextlib.suppress(OSError):
            one.unlink()


def remove_stale_tokens(live_kernel_ids: Iterable[str]) -> None:
    """Remove the files of kernels without a lease, which a killed server has left."""
    keep = {token_path(kernel_id).stem for kernel_id in live_kernel_ids}
    oldest = time.time() - _SETTLED_S
    for path in token_folder().iterdir():
        with contextlib.suppress(OSError):
            if path.stem not in keep and path.stat().st_mtime < oldest:
                path.unlink()
