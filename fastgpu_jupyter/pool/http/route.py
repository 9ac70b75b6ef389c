"""One entry of the table of routes: an operation of the interface, and its handler."""

from __future__ import annotations

from typing import NamedTuple

from ...wire.interfaces.operation import WAIT, Operation
from .handlers.base import Handler


class Route(NamedTuple):
    """An operation, and the handler that answers it."""

    operation: Operation
    handler: Handler | None  #: None if the path has an endpoint of its own

    @property
    def waits(self) -> bool:
        """Return whether the handler may wait for a change, and is cancelled when the client disconnects."""
        return WAIT in self.operation.parameters
