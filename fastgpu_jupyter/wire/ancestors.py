"""Whether the GPU that a kernel waits for is held by a kernel from which it descends.

A notebook that is run from a cell, by papermill for example, waits for the GPU that the cell's own kernel holds, and
the cell waits for the notebook: both would wait for ever, and only the user can choose which one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.model.lifecycle import HOLDING_CAPACITY
from ..errors import Message

if TYPE_CHECKING:
    from .client import PoolClient


def held_by_ancestor(client: PoolClient, lease_ids: Sequence[str]) -> Message | None:
    """Return a sentence if one of the kernels that were started with ``lease_ids`` holds a GPU by any lease.

    Raises the client's errors.
    """
    views = client.leases()
    kernels = {view["holder"]["kernel_id"] for view in views if view["id"] in lease_ids}
    for view in views:
        if view["holder"]["kernel_id"] in kernels and view["state"] in HOLDING_CAPACITY:
            notebook = view["holder"]["notebook"]
            return Message.of("nested.held_by_notebook", notebook=notebook) if notebook else Message.of("nested.held")
    return None
