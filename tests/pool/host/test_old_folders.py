"""Socket folders of earlier boots are removed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from fastgpu_jupyter.pool.host.old_folders import OLD_S, remove_old_folders


def make(folder: Path, age_s: float) -> Path:
    folder.mkdir(parents=True)
    lock = folder / ".pool.sock.lock"
    lock.touch()
    os.utime(lock, (time.time() - age_s,) * 2)
    return lock


def test_only_folders_that_are_old_and_not_in_use_are_removed(tmp_path: Path) -> None:
    own, old, young, used, other = (tmp_path / name for name in ("0" * 16, "1" * 16, "2" * 16, "3" * 16, "notes"))
    for folder, age_s in ((own, 2 * OLD_S), (old, 2 * OLD_S), (young, OLD_S / 2), (other, 2 * OLD_S)):
        make(folder, age_s)
    with make(used, 2 * OLD_S).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_old_folders(own / "pool.sock")
    assert sorted(tmp_path.iterdir()) == sorted((own, young, used, other))
