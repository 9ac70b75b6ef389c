"""Kernels on hosts of a cluster that an earlier server left: whether they can be adopted is known to the pool manager.

The functions block.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import OVER
from ..errors import NotFound
from ..wire import kept_kernels
from .kernel_lease import KernelLease

if TYPE_CHECKING:
    from ..wire.kept_kernels import Found
    from ..wire.schemas import LeaseView

#: A server's log.
Log = logging.Logger | logging.LoggerAdapter[Any]


def live_lease(found: Found, log: Log) -> LeaseView | None:
    """Return the lease in whose job the kernel runs; None if it has ended. Starts the pool manager where none serves.

    Raises the errors of the client where that is not known.
    """
    lease = _lease_of(found, log)
    if lease.token is None:
        return None  # the right to it is lost, with the runtime folder of the user
    try:
        view = lease.call(lambda client, lease_id, token: client.lease(lease_id, token=token))
    except NotFound:
        return None
    return None if view["state"] in OVER else view


def was_started(found: Found) -> bool:
    """Return whether the server has known how to connect to the kernel, before it ended."""
    return Path(found.record.connection_file).exists()


def end_unfinished(found: Found, log: Log) -> bool:
    """Release the lease of a kernel that was never started; return False if another server has claimed it."""
    claimed = kept_kernels.claim(found)
    if claimed is None:
        return False
    _lease_of(found, log).release()
    kept_kernels.remove_with_connection(claimed)
    return True


def _lease_of(found: Found, log: Log) -> KernelLease:
    lease = KernelLease(found.record.kernel_id, log)
    lease.adopt(found.record.lease_id, is_of_cluster=True)
    return lease
