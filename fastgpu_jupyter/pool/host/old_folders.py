"""Removal of the socket folders of earlier boots: each boot has one of its own."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

#: A folder that was not used for so long. Another machine with the same home directory may be up for less.
OLD_S = 30 * 86_400
_NAME = re.compile(r"[0-9a-f]{16}")


def remove_old_folders(socket_path: Path) -> None:
    """Remove the folders beside that of ``socket_path`` that no pool manager has used for :data:`OLD_S`."""
    with suppress(OSError):
        for folder in socket_path.parent.parent.iterdir():
            if folder != socket_path.parent and _NAME.fullmatch(folder.name) and not folder.is_symlink():
                _remove_if_old(folder, folder / f".{socket_path.name}.lock")


def _remove_if_old(folder: Path, lock: Path) -> None:
    with suppress(OSError):
        if time.time() - lock.stat().st_mtime < OLD_S:
            return
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a pool manager serves there
            shutil.rmtree(folder)
        finally:
            os.close(descriptor)
