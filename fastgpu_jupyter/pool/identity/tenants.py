"""Tenant keys and display names, from the user database of the operating system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from ...core.model.tenant import Tenant
from ...errors import Conflict, HostFault, InvalidRequest, Message
from ...wire.schemas.common import TENANT
from .known_users import KnownUsers

UID_TAG = "uid:"
ACCOUNT_TAG = "account:"
HUB_TAG = "hub:"
#: The largest number of a user; the next one means "no user" in many system calls.
UID_MAX = 2**32 - 2
#: How long the first request of a user waits for its name.
NAME_S = 0.5
_TENANT = re.compile(TENANT)


def key_of_uid(uid: int) -> str:
    """Return the key of the tenant that is the user ``uid``."""
    return f"{UID_TAG}{uid}"


class TenantNames:
    """Display names of tenants, and the keys of the tenants that administrators name.

    ``tenants`` returns the tenants of the state, which have the names that were recorded when their users last
    requested a lease. Those are used while the user database does not answer, and for users that were removed.
    """

    def __init__(self, users: KnownUsers, tenants: Callable[[], Mapping[str, Tenant]]) -> None:
        self._users = users
        self._tenants = tenants

    def name_of(self, key: str) -> str:
        """Return the display name of a tenant: the user's login name, or the name in the key. Does not wait."""
        uid = _uid_of(key)
        if uid is None:
            return key.partition(":")[2] or key
        return self.current_name_of(key) or self._recorded_name_of(key) or f"uid-{uid}"

    def current_name_of(self, key: str) -> str | None:
        """Return the user's name as the user database last said, None if it never said one. Does not wait."""
        uid = _uid_of(key)
        name = None if uid is None else self._users.remembered(uid)
        return name if isinstance(name, str) else None

    async def learn(self, key: str) -> None:
        """Wait for the name of a tenant of which none is known, but not for long."""
        uid = _uid_of(key)
        if uid is not None and self.current_name_of(key) is None and self._recorded_name_of(key) is None:
            try:
                await self._users.ask(uid, NAME_S)
            except HostFault:
                return  # the number is shown

    async def learn_user(self, uid: int) -> None:
        """Wait for the name of a user who need not be a tenant, but not for long."""
        await self.learn(key_of_uid(uid))

    async def key_of(self, tenant: str) -> str:
        """Return the key of a tenant that an administrator names by key or by name.

        As for ``chown``, digits are the name of a user, or else a user's number. Another name that is no user of the
        operating system is that of an account, unless a user had that name when it last requested a lease.

        Raises :class:`InvalidRequest` for what is neither, :class:`Conflict` for a name of several tenants, and
        :class:`HostFault` if the user database does not answer and the name is not known from earlier.
        """
        if not _TENANT.fullmatch(tenant):
            raise InvalidRequest(Message.of("request.tenant"))
        key = await self._find_key(tenant)
        await self.learn(key)
        return key

    async def _find_key(self, tenant: str) -> str:
        if ":" in tenant:
            return _checked(tenant)
        try:
            uid = await self._users.ask(tenant)
        except HostFault as error:
            if (known := self._recorded_key_of(tenant)) is not None:
                return known
            raise HostFault(Message.of("users.who", name=tenant, reason=error.message)) from error
        if isinstance(uid, int):
            return key_of_uid(uid)
        if tenant.isascii() and tenant.isdecimal():
            return _checked(UID_TAG + tenant)
        return self._recorded_key_of(tenant) or ACCOUNT_TAG + unicodedata.normalize("NFC", tenant)

    def _recorded_name_of(self, key: str) -> str | None:
        tenant = self._tenants().get(key)
        return None if tenant is None else tenant.name

    def _recorded_key_of(self, name: str) -> str | None:
        """Return the key of the user that had that name, None if none had. Raises :class:`Conflict`."""
        keys = [key for key, tenant in self._tenants().items() if tenant.name == name]
        if len(keys) > 1:
            raise Conflict(Message.of("tenant.ambiguous", name=name, keys=tuple(sorted(keys))))
        return keys[0] if keys else None


def _uid_of(key: str) -> int | None:
    """Return the number of the user that a key is of, None for another key."""
    number = key.removeprefix(UID_TAG)
    if number == key or not (number.isascii() and number.isdecimal()) or int(number) > UID_MAX:
        return None
    return int(number)


def _checked(key: str) -> str:
    """Return the one way to write a key. Raises :class:`InvalidRequest` if it is none."""
    if key.startswith(UID_TAG):
        uid = _uid_of(key)
        if uid is None:
            raise InvalidRequest(Message.of("tenant.no_uid", key=key, uid_max=UID_MAX))
        return key_of_uid(uid)
    tag, _, name = key.partition(":")
    if f"{tag}:" not in (ACCOUNT_TAG, HUB_TAG) or not name:
        raise InvalidRequest(Message.of("tenant.unknown_tag", key=key))
    return key


def with_display_name(message: Message, name_of: Callable[[str], str]) -> Message:
    """Return a message whose parameter ``tenant``, a key in messages of the core, is the display name."""
    tenant = message.params.get("tenant")
    if not isinstance(tenant, str):
        return message
    return Message(message.code, {**message.params, "tenant": name_of(tenant)})
