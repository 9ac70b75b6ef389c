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

from ..wire.locate import kernel_file_stem, user_runtime_dir
from ..wire.private_files import write_private
from ..wire.variables import lease_file

_SUFFIX = ".token"
#: A file younger than this may belong to a lease that is being requested at the moment.
_SETTLED_S = 60.0


def token_folder() -> Path:
    """Return the folder of token files; create it so that only its owner can enter it."""
    folder = user_runtime_dir() / "tokens"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def token_path(kernel_id: str) -> Path:
    """Return the path of a kernel's token file, whether or not it exists."""
    return token_folder() / (kernel_file_stem(kernel_id) + _SUFFIX)


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
