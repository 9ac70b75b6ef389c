"""The environment variables between a provisioner, its kernel, and the processes that the kernel starts.

This module imports nothing of the package, because the kernel imports it at its start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The id of the kernel's lease, and the path of the file with its token.
LEASE, TOKEN_FILE = "FASTGPU_LEASE", "FASTGPU_TOKEN_FILE"
#: The state of the lease when the kernel was started.
LEASE_STATE = "FASTGPU_LEASE_STATE"
#: The id of the kernel.
KERNEL_ID = "FASTGPU_KERNEL_ID"
#: JSON of the variables of the grant, which the kernel removes when the lease ends, and of those that it sets then.
GRANTED, HIDDEN = "FASTGPU_GRANTED", "FASTGPU_HIDDEN"
#: The version of the Jupyter server.
VERSION = "FASTGPU_VERSION"
#: Whether a kernel may outlive its server (``crash`` or ``always``), for how many seconds it then waits for the next
#: one, and the path of its record (:mod:`.kept_kernels`), beside which it writes which process it is.
KEEP, ORPHAN_AFTER_S, KEPT = "FASTGPU_KEEP", "FASTGPU_ORPHAN_AFTER_S", "FASTGPU_KEPT"
#: The kernel runs on a host of a cluster, where neither its server nor its pool manager is: ``keep`` if it outlives its
#: server, else ``end``.
CLUSTER = "FASTGPU_CLUSTER"
#: A process on a host of a cluster: its pool manager and its dispatcher are on another one, and it starts neither.
REMOTE = "FASTGPU_REMOTE"
#: The descriptor on which a standby kernel waits until it becomes a kernel (:mod:`.standby_link`); it removes it.
STANDBY = "FASTGPU_STANDBY"
#: JSON of the modules that a standby kernel imports ahead, and of the variables that they must not read; it removes it.
STANDBY_PRELOAD = "FASTGPU_STANDBY_PRELOAD"
#: What a kernel reads at its start and removes: the processes that it starts do not hold the lease.
KERNEL_ONLY = (LEASE, TOKEN_FILE, LEASE_STATE, KERNEL_ID, GRANTED, HIDDEN, VERSION, KEEP, ORPHAN_AFTER_S, KEPT, CLUSTER)
#: The leases with which the kernels were started from which a process descends, outermost first. It says whose devices
#: the process uses, and gives no right to a lease. A kernel without a gate has this variable only.
ANCESTOR_LEASES = "FASTGPU_ANCESTOR_LEASES"
#: JSON of the values that variables of the grant had before: ``null`` where there was none.
REPLACED = "FASTGPU_REPLACED"
#: What a process that belongs to no lease must not have.
OF_A_LEASE = (*KERNEL_ONLY, ANCESTOR_LEASES, REPLACED)
#: The size that a kernel requests which a program without a server starts, such as papermill; users set it.
SIZE = "FASTGPU_SIZE"
#: The interpreter that starts a pool manager on demand.
PYTHON = "FASTGPU_PYTHON"


def lease_file(token_file: Path) -> Path:
    """Return the file in which a kernel without a lease finds the id of one that its server requested for it."""
    return token_file.with_suffix(".lease")


def with_lease(ancestors: str, lease_id: str) -> str:
    """Return the value of :data:`ANCESTOR_LEASES` for the children of a kernel that was started with ``lease_id``."""
    return f"{ancestors} {lease_id}".strip()


def replaced(environ: Mapping[str, str], names: Iterable[str]) -> str:
    """Return :data:`REPLACED` for a process in whose environment ``names`` are set from here on."""
    earlier = json.loads(environ.get(REPLACED, "{}"))
    return json.dumps({name: environ.get(name) for name in names} | earlier)


def without_lease(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a kernel, or a process that it started, would have without any lease.

    A pool manager that a kernel starts must have it: what the lease lets the kernel see does not restrict the pool.
    """
    earlier = json.loads(environ.get(REPLACED, "{}"))
    kept = {name: value for name, value in environ.items() if name not in OF_A_LEASE and name not in earlier}
    return kept | {name: value for name, value in earlier.items() if value is not None}
