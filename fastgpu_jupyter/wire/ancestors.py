"""Whether the GPU that a kernel waits for is held by a kernel from which it descends.

A notebook that is run from a cell, by papermill for example, waits for the GPU that the cell's own kernel holds, and
the cell waits for the notebook: both would wait for ever, and only the user can choose which one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.model.lifecycle import HOLDING_CAPACITY
from ..errors import Message, NotFound

if TYPE_CHECKING:
    from .client import PoolClient


def held_by_ancestor(client: PoolClient, lease_ids: Sequence[str]) -> Message | None:
    """Return a sentence if one of the leases, outermost first, holds capacity. Raises the client's errors."""
    for lease_id in reversed(lease_ids):
        try:
            view = client.lease(lease_id)
        except NotFound:
            continue
        if view["state"] in HOLDING_CAPACITY:
            notebook = view["holder"]["notebook"]
            return Message.of("nested.held_by_notebook", notebook=notebook) if notebook else Message.of("nested.held")
    return None
