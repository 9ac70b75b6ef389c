"""Control groups (cgroup v2) of processes, as the kernel shows them. Linux: admin-guide/cgroup-v2."""

from __future__ import annotations

from pathlib import Path

from ...errors import HostFault
from .attribution import lease_of

#: Mount points of version 2: alone, or beside version 1.
ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
#: The prefix of the groups that the pool creates for kernels (:mod:`.lease_groups`).
PREFIX = "fastgpu-"


def root() -> Path | None:
    """Return the mount point of control groups of version 2, or ``None`` if there is none."""
    return next((path for path in ROOTS if (path / "cgroup.procs").is_file()), None)


def group_of(pid: int) -> Path:
    """Return the group of a process. Raises :class:`HostFault` if it cannot be read."""
    mounted = root()
    if mounted is None:
        raise HostFault("this machine has no control groups of version 2.")
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as error:
        raise HostFault(f"the control group of process {pid} cannot be read ({error.strerror}).") from error
    named = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if named is None or ".." in named.split("/"):  # a group outside this namespace
        raise HostFault(f"process {pid} is in no control group of version 2 that can be seen here.")
    return mounted / named.lstrip("/")


def own_group(pid: int) -> str:
    """Return the path of the group of a kernel's process, if all processes in it belong to the kernel's lease.

    Raises :class:`HostFault` if others are in it, because their memory would be limited, too.
    """
    group, lease_id = group_of(pid), lease_of(pid)
    if group == root():
        raise HostFault(f"process {pid} is in no control group of its own.")
    if is_made_for(group, pid):
        return str(group)
    try:
        members = [int(number) for number in (group / "cgroup.procs").read_text().split()]
    except (OSError, ValueError) as error:
        raise HostFault(f"the control group of process {pid} cannot be read.") from error
    others = [member for member in members if member != pid and lease_of(member) != lease_id]
    if lease_id is None or others:
        raise HostFault(
            f"process {pid} shares its control group with others"
            f"{f' (process {others[0]}, say)' if others else ''}. Start kernels in control groups of their own, "
            "as containers and systemd scopes do."
        )
    return str(group)


def is_made_for(group: Path, pid: int) -> bool:
    """Return whether the pool created the group for that process: all in it belongs to that process's leases."""
    prefix, _, rest = group.name.removeprefix(PREFIX).partition("-")
    return group.name.startswith(PREFIX) and bool(prefix) and rest.partition("-")[0] == str(pid)


def has_own_group(pid: int) -> bool:
    """Return whether the process is in a group that the pool created for it."""
    try:
        return is_made_for(group_of(pid), pid)
    except HostFault:
        return False


def exists(group: str) -> bool:
    """Return whether the group is still there."""
    return (Path(group) / "cgroup.procs").is_file()
