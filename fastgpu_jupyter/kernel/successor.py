"""Request a lease of a cluster from a kernel of this machine, for the kernel that takes its place in the notebook.

A kernel cannot move to another host. The request has the id of a kernel that does not run yet, as one of a browser has:
the page offers the move when the lease is granted. Until then this process holds it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..wire.client import LeaseOptions, PoolClient
    from ..wire.schemas import LeaseView


def is_needed(client: PoolClient) -> bool:
    """Return whether a cluster grants the leases of the pool."""
    return client.pool().get("cluster") is not None


def request(client: PoolClient, size: str, notebook: str | None, options: LeaseOptions | None) -> LeaseView:
    """Return the lease that was requested for the next kernel of ``notebook``."""
    from ..wire.client import new_token
    from ..wire.locate import token_path
    from ..wire.private_files import write_private

    kernel_id, token = str(uuid.uuid4()), new_token()
    path = token_path(kernel_id)
    write_private(path, token.encode())
    try:
        return client.request(size, None, kernel_id, notebook, token=token, options=options)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
