"""Files that hold lease tokens: one a kernel, readable by their owner only.

A token file is how a kernel gets the right to its own lease without the token being in an environment that child
processes inherit and other tools print. The file is the kernel's, not the lease's: a kernel that gives its lease back
and asks for another one goes on using the same token. Files that nobody needs are swept when a server starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from ..wire.locate import user_runtime_dir

_SUFFIX = ".token"
#: A file younger than this may belong to a lease that is being asked for at this moment.
_SETTLED_S = 60.0


def token_folder() -> Path:
    """The folder of token files; created so that only its owner may enter."""
    folder = user_runtime_dir() / "tokens"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def token_path(kernel_id: str) -> Path:
    """The token file of a kernel. Clients may choose kernel ids, so the id itself is no file name."""
    return token_folder() / (hashlib.sha256(kernel_id.encode()).hexdigest()[:32] + _SUFFIX)


def write_token_file(kernel_id: str, token: str) -> Path:
    """Store ``token``; the file never exists with wider rights, whatever the umask is."""
    path = token_path(kernel_id)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)  # a umask may take rights away that the owner needs
        file.write(token)
    return path


def remove_token_file(kernel_id: str) -> None:
    """Forget the token of a kernel that has ended."""
    with contextlib.suppress(OSError):
        token_path(kernel_id).unlink()


def remove_stale_tokens(live_kernel_ids: Iterable[str]) -> None:
    """Remove the files of kernels that hold no lease, which a killed server left behind."""
    keep = {token_path(kernel_id).name for kernel_id in live_kernel_ids}
    oldest = time.time() - _SETTLED_S
    for path in token_folder().glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.name not in keep and path.stat().st_mtime < oldest:
                path.unlink()
