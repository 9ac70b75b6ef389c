"""The memory of processes, and what bounds it: host and control groups. Linux: admin-guide/cgroup-v2, proc(5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..units import KIB
from .pressure import Pressure, read_pressure

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: The name of the host among the domains of memory; a control group has its path.
HOST = ""


class MemoryDomain(NamedTuple):
    """The host, or a control group that limits memory."""

    name: str
    limit_bytes: int
    available_bytes: int | None  #: without swapping; ``None`` where it is not known
    pressure: Pressure | None  #: ``None`` where it is not known


def domains_of(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> tuple[MemoryDomain, ...]:
    """Return what bounds the memory of a process: the host, then its control groups (version 2) that have a limit.

    The host is left out where its memory cannot be read.
    """
    return tuple(_domains(pid, proc, cgroups))


def _domains(pid: int, proc: Path, cgroups: Path) -> Iterator[MemoryDomain]:
    total_bytes = _field(proc / "meminfo", "MemTotal:", KIB)
    if total_bytes is not None:
        yield MemoryDomain(HOST, total_bytes, available_bytes(proc), read_pressure(proc / "pressure/memory"))
    for group in _groups(pid, proc, cgroups):
        if (limit_bytes := _limit(group, "memory.max", "memory.high")) is not None:
            pressure = read_pressure(group / "memory.pressure")
            yield MemoryDomain(str(group), limit_bytes, _left(group, limit_bytes), pressure)


def available_bytes(proc: Path = PROC) -> int | None:
    """Return the memory that is available without swapping, or ``None`` if that cannot be read."""
    return _field(proc / "meminfo", "MemAvailable:", KIB)


def headroom_bytes(pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return what the control groups (version 2) of a process leave it, or ``None`` if none limits memory."""
    groups = ((group, _limit(group, "memory.max")) for group in _groups(pid, proc, cgroups))
    found = [_left(group, limit_bytes) for group, limit_bytes in groups if limit_bytes is not None]
    return min((left for left in found if left is not None), default=None)


def proportional_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return the memory of a process, each shared page counted by its part (PSS), or ``None`` where that is not known.

    Only the user of the process and root may read it.
    """
    return _field(proc / str(pid) / "smaps_rollup", "Pss:", KIB)


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


def _limit(group: Path, *files: str) -> int | None:
    """Return the smallest limit of the group in its files, or ``None`` without one."""
    return min((int(text) for text in map(_text, (group / name for name in files)) if text.isdigit()), default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _left(group: Path, limit_bytes: int) -> int | None:
    used = _text(group / "memory.current")
    if not used.isdigit():
        return None
    # Inactive file pages are dropped when memory is needed.
    reclaimable = _field(group / "memory.stat", "inactive_file", 1) or 0
    return max(0, limit_bytes - int(used) + reclaimable)


def _field(path: Path, name: str, unit: int) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return next((int(words[1]) * unit for words in fields if len(words) > 1 and words[0] == name), None)
