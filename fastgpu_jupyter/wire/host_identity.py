"""Names of this system that do not change with its host name, for the folders of a user's own pool.

A home directory may be on several machines at once, and a host name may change at any time. The folder of the socket
has the name of the running system: its machine id, its boot id, and its PID namespace, because a pool manager can only
serve processes that it can see. The folder of the journal lasts longer than a boot and has the name of the
installation: the machine id. In a container, which often has no machine id or that of its image, the container's host
name is a part of it.

A job of Slurm has folders of its own: its GPUs are the user's in that job only, and another job of the user may be on
the same host.

A pool manager keeps its folders while it runs, and a successor finds the journal of one that was killed by the lock of
its socket, so that no lease depends on a host name.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

#: Where systemd and D-Bus keep the machine id. A damaged or unfinished file is taken for none.
MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE_FILE = Path("/proc/self/ns/pid")
#: The inode of the PID namespace of a system that is no container (``PROC_PID_INIT_INO`` of Linux).
FIRST_PID_NAMESPACE = 0xEFFFFFFC
#: The variables in which Slurm names the GPUs of a job, and those of which it has shards.
_GPUS_OF_JOB = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


def slurm_job() -> str | None:
    """Return the id of the Slurm job in which this process runs, ``None`` outside of one."""
    return os.environ.get("SLURM_JOB_ID") or None


def slurm_job_has_gpus() -> bool:
    """Return whether this process runs in a Slurm job that has GPUs, or shards of one, on this host."""
    return slurm_job() is not None and any(os.environ.get(name) for name in _GPUS_OF_JOB)


@cache
def running_system() -> str:
    """Return the name of the system whose processes see one another, until it is booted again."""
    boot_id = _read(BOOT_ID_FILE)
    # Without these two, on a kernel that does not tell them, only the host name tells systems apart.
    other = "" if boot_id and _pid_namespace() else socket.gethostname()
    job = slurm_job()
    in_job = () if job is None else ("slurm", os.environ.get("SLURM_CLUSTER_NAME", ""), job)
    return _name("running", _machine_id(), boot_id, str(_pid_namespace()), other, *in_job)


@cache
def installation() -> str:
    """Return the name of the system that stays when it is booted again."""
    machine_id = _machine_id()
    if machine_id and _pid_namespace() == FIRST_PID_NAMESPACE:
        return _name("installation", machine_id)
    return _name("installation", machine_id, socket.gethostname())


def _machine_id() -> str:
    found = (text for text in map(_read, MACHINE_ID_FILES) if _MACHINE_ID.fullmatch(text) and int(text, 16))
    return next(found, "")


def _pid_namespace() -> int:
    with suppress(OSError):
        return os.stat(PID_NAMESPACE_FILE).st_ino  # noqa: PTH116 (Path.stat is the same)
    return 0


def _read(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""


def _name(*parts: str) -> str:
    """Return a short name; the machine id is confidential, and must not be seen in it."""
    return hashlib.sha256("\0".join(("fastgpu-jupyter", *parts)).encode()).hexdigest()[:16]
