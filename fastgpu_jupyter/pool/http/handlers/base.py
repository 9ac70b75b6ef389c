"""The services that handlers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from ...identity import TenantNames
from ..backend import Backend
from ..call import HttpCall
from ..permissions import Permissions
from ..publisher import EventPublisher
from ..reader import PoolFacts, PoolReader

#: A handler returns the answer of an operation as a JSON value, as bytes, or as an iterator of the pieces of its JSON.
Handler = Callable[[HttpCall], Awaitable[Any]]
#: By the name of the operation, such as ``GET /v1/leases``.
HandlerTable = dict[str, Handler]


class HandlerContext(NamedTuple):
    """The services that handlers share."""

    backend: Backend
    facts: PoolFacts
    reader: PoolReader
    permissions: Permissions
    publisher: EventPublisher
    names: TenantNames
    discounts: Mapping[str, int]  #: in percent, by plan
