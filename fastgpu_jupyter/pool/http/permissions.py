"""What a caller may do: administer the pool, use a lease, and request with a priority.

A caller is identified by the user id that the system recorded for its connection. Root may do what any tenant may, and
administrators are root and the user of the pool manager.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection

from ...core.lease.lookup import find_lease
from ...core.model.entities import Lease, Priority, State
from ...errors import Forbidden, Message, NotFound
from ...wire.client import token_digest
from ...wire.interfaces.operation import Permission
from ..protocols import StateReader
from .call import Caller, HttpCall
from .views.context import AccessScope


class Permissions:
    """The permissions of callers. ``trusted`` are the keys of tenants that may request with the priority ``high``."""

    def __init__(self, state: StateReader, *, scope: str, trusted: Collection[str]) -> None:
        self._state = state
        self._scope = scope
        self._trusted = trusted

    async def require(self, permission: Permission, call: HttpCall) -> None:
        """Raise :class:`Forbidden` or :class:`NotFound` unless the caller has the permission that the operation needs.

        The permission ``TENANT`` is checked with the state in which the command is decided; see :meth:`visible_lease`.
        """
        if permission is Permission.ADMINISTRATOR:
            self._require_administrator(call.caller)
        elif permission is Permission.LEASE:
            await self._state.read(lambda state, _: self._require_token(state, call.caller, call.lease_id))

    def administers(self, caller: Caller) -> bool:
        """Return whether the caller is an administrator."""
        return caller.holder.uid in {0, os.getuid()}

    def accounting_access(self, caller: Caller) -> AccessScope:
        """Return the tenants whose entitlements and statements the caller sees: all for an administrator."""
        return AccessScope(caller.tenant, all_tenants=self.administers(caller))

    def visible_lease(self, state: State, caller: Caller, lease_id: str) -> Lease:
        """Return a lease of the caller's tenant. Raises :class:`NotFound`, also for a lease of another tenant."""
        lease = find_lease(state, lease_id)
        if not caller.access.includes(lease):
            raise NotFound(Message.of("lease.not_found", lease=repr(lease_id[:40])))
        return lease

    def require_priority(self, caller: Caller, priority: Priority) -> None:
        """Raise :class:`Forbidden` unless the caller may request with ``priority``."""
        if priority is Priority.SYSTEM and caller.holder.uid != 0:
            raise Forbidden(Message.of("forbidden.priority_system"))
        trusted = self._scope == "user" or self.administers(caller) or caller.tenant in self._trusted
        if priority is Priority.HIGH and not trusted:
            raise Forbidden(Message.of("forbidden.priority_high"))

    def _require_administrator(self, caller: Caller) -> None:
        if not self.administers(caller):
            raise Forbidden(Message.of("forbidden.administrators_only"))

    def _require_token(self, state: State, caller: Caller, lease_id: str) -> None:
        lease = self.visible_lease(state, caller, lease_id)
        if not caller.token or not hmac.compare_digest(token_digest(caller.token), lease.token_sha256):
            raise Forbidden(Message.of("forbidden.lease_token"))
