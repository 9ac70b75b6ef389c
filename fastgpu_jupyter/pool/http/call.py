"""One request of a caller, independent of HTTP: who calls, and the values in path, query and body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ...core.model.entities import Holder
from ...errors import InvalidRequest, Message
from ..journal.answers import FirstAnswer
from .views.context import AccessScope


@dataclass(frozen=True, slots=True)
class Caller:
    """The process at the other end of a connection, and its tenant."""

    holder: Holder
    tenant: str  #: the key of the tenant
    token: str | None  #: the token of a lease, if the caller sent one
    #: The only lease that it knows of, if its connection is relayed from the host of an engine's job: it is no process
    #: of this host, and what the user of the pool manager may do is not for it.
    lease_id: str | None = None

    @property
    def access(self) -> AccessScope:
        """Return the tenants whose leases the caller sees by name: all for root, else its own."""
        if self.lease_id is not None:
            return AccessScope(self.tenant, self.holder.uid, lease_id=self.lease_id)
        return AccessScope(self.tenant, self.holder.uid, all_tenants=self.holder.uid == 0)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request: its caller, and its values, which are not validated yet."""

    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]
    key: str | None  #: of the caller and the operation, so that a repeated call finds the first one's answer
    status: int  #: of the answer if it is no error

    @property
    def lease_id(self) -> str:
        """Return the id of the lease in the path."""
        return self.path["lease_id"]

    def answer(self, value: object) -> FirstAnswer:
        """Return the answer that has ``value`` as its body."""
        return FirstAnswer(self.status, msgspec.json.encode(value))

    def number(self, name: str) -> int | None:
        """Return a whole number of the query, None without it. Raises :class:`InvalidRequest`."""
        text = self.query.get(name)
        try:
            return None if text is None else int(text)
        except ValueError:
            raise InvalidRequest(Message.of("request.not_integer", field=name)) from None
