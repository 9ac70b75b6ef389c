"""What a caller may do: administer the pool, use a lease, and request with a priority.

A caller is identified by the user id that the system recorded for its connection. Root may do what any tenant may, and
administrators are root and the user of the pool manager.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection
from contextlib import suppress

from ...core.lease.lookup import find_lease
from ...core.model.entities import Lease, Priority, State
from ...errors import Conflict, Forbidden, HostFault, InvalidRequest, Message, NotFound
from ...wire.client import token_digest
from ...wire.interfaces.operation import Operation, Permission
from ..identity import TenantNames
from ..protocols import StateReader
from .call import Caller, HttpCall
from .views.context import AccessScope

#: Operations on a lease that a process on the host of an engine's job cannot have: they are about processes of this
#: host, or start and end that process itself.
NOT_RELAYED = frozenset(f"/v1/leases/{{lease_id}}/{name}" for name in ("bind", "kernel", "kernel/signal", "transfer"))


class Permissions:
    """The permissions of callers. ``trusted`` are the tenants that may request with the priority ``high``."""

    def __init__(self, state: StateReader, names: TenantNames, *, scope: str, trusted: Collection[str]) -> None:
        self._state = state
        self._names = names
        self._scope = scope
        self._trusted = trusted

    async def require(self, operation: Operation, call: HttpCall) -> None:
        """Raise :class:`Forbidden` or :class:`NotFound` unless the caller has the permission that the operation needs.

        The permission ``TENANT`` is checked with the state in which the command is decided; see :meth:`visible_lease`.
        """
        if call.caller.lease_id is not None:
            await self._require_of_lease(call.caller, call.path.get("lease_id"), operation)
        if operation.permission is Permission.ADMINISTRATOR:
            self._require_administrator(call.caller)
        elif operation.permission is Permission.LEASE:
            await self._state.read(lambda state, _: self._require_token(state, call.caller, call.lease_id))

    def administers(self, caller: Caller) -> bool:
        """Return whether the caller is an administrator."""
        return caller.lease_id is None and caller.holder.uid in {0, os.getuid()}

    def accounting_access(self, caller: Caller) -> AccessScope:
        """Return the tenants whose entitlements and statements the caller sees: all for an administrator."""
        if caller.lease_id is not None:
            return caller.access
        return AccessScope(caller.tenant, caller.holder.uid, all_tenants=self.administers(caller))

    def visible_lease(self, state: State, caller: Caller, lease_id: str) -> Lease:
        """Return a lease of the caller. Raises :class:`NotFound`, also for a lease of another user.

        A caller with the token of such a lease gets :class:`Forbidden`, because the lease lives on: the kernel must not
        take it for ended where the system shows its user under another number, as between two user namespaces.
        """
        lease = find_lease(state, lease_id)
        if caller.access.includes(lease):
            return lease
        if _has_token(caller, lease):
            raise Forbidden(Message.of("forbidden.another_user", lease=lease_id, uid=str(caller.holder.uid)))
        raise NotFound(Message.of("lease.not_found", lease=repr(lease_id[:40])))

    async def require_priority(self, caller: Caller, priority: Priority) -> None:
        """Raise :class:`Forbidden` unless the caller may request with ``priority``."""
        if priority is Priority.SYSTEM and caller.holder.uid != 0:
            raise Forbidden(Message.of("forbidden.priority_system"))
        if priority is Priority.HIGH and not (
            self._scope == "user" or self.administers(caller) or await self._trusts(caller.tenant)
        ):
            raise Forbidden(Message.of("forbidden.priority_high"))

    async def _trusts(self, tenant: str) -> bool:
        """Return whether a tenant is trusted; the keys of names are asked for now, because users come and go."""
        for name in self._trusted:
            with suppress(HostFault, Conflict, InvalidRequest):  # a name that is not known now
                if await self._names.key_of(name) == tenant:
                    return True
        return False

    async def _require_of_lease(self, caller: Caller, lease_id: str | None, operation: Operation) -> None:
        """Raise :class:`Forbidden` unless a relayed caller has the token of its lease, and the operation is for it.

        It may read, and change its own lease; a lease has its kernel and its holder on this host.
        """
        own = caller.lease_id or ""
        await self._state.read(lambda state, _: self._require_token(state, caller, own))
        changes = operation.method != "GET"
        if lease_id not in (None, own) or operation.path in NOT_RELAYED or (lease_id is None and changes):
            raise Forbidden(Message.of("forbidden.relayed"))

    def _require_administrator(self, caller: Caller) -> None:
        if not self.administers(caller):
            raise Forbidden(Message.of("forbidden.administrators_only"))

    def _require_token(self, state: State, caller: Caller, lease_id: str) -> None:
        lease = self.visible_lease(state, caller, lease_id)
        if not _has_token(caller, lease):
            raise Forbidden(Message.of("forbidden.lease_token"))


def _has_token(caller: Caller, lease: Lease) -> bool:
    return bool(caller.token) and hmac.compare_digest(token_digest(caller.token or ""), lease.token_sha256)
