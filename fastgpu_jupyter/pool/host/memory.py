"""The host memory that a process may still use. Linux: admin-guide/cgroup-v2, proc(5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

KIB = 1024


def available_bytes(proc: Path = Path("/proc")) -> int | None:
    """Return the memory that is available without swapping, or ``None`` if that cannot be read."""
    return _field(proc / "meminfo", "MemAvailable:", KIB)


def headroom_bytes(pid: int, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what the control groups (version 2) of a process leave it, or ``None`` if none limits memory."""
    found = [left for group in _groups(pid, proc, cgroups) if (left := _left(group)) is not None]
    return min(found, default=None)


def _groups(pid: int, proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the control group of the process and all above it."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return
    name = next((line[3:] for line in lines if line.startswith("0::")), None)
    if name is None or ".." in name.split("/"):  # of another version, or outside this namespace
        return
    group = cgroups / name.lstrip("/")
    yield group
    while group != cgroups:
        group = group.parent
        yield group


def _left(group: Path) -> int | None:
    try:
        most = (group / "memory.max").read_text().strip()
        used_bytes = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    if not most.isdigit():
        return None
    # Inactive file pages are dropped when memory is needed.
    reclaimable = _field(group / "memory.stat", "inactive_file", 1) or 0
    return max(0, int(most) - used_bytes + reclaimable)


def _field(path: Path, name: str, unit: int) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return next((int(words[1]) * unit for words in fields if len(words) > 1 and words[0] == name), None)
