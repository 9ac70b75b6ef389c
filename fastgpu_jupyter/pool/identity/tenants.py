"""Tenant keys and display names, from the user database of the operating system."""

from __future__ import annotations

import pwd
from collections.abc import Callable

from ...errors import Message

UID_TAG = "uid:"
ACCOUNT_TAG = "account:"


def key_of_uid(uid: int) -> str:
    """Return the key of the tenant that is the user ``uid``."""
    return f"{UID_TAG}{uid}"


class TenantNames:
    """Display names of tenants. Each is looked up once, because a user database may be on another machine."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name_of(self, key: str) -> str:
        """Return the display name of a tenant: the user's login name, or the name in the key."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = _login_name(key) or key.partition(":")[2] or key
        return name

    def key_of(self, tenant: str) -> str:
        """Return the key of a tenant that an administrator names by key or by name.

        A name that is no user of the operating system is that of an account.
        """
        if ":" in tenant:
            return tenant
        try:
            return key_of_uid(pwd.getpwnam(tenant).pw_uid)
        except (KeyError, OSError):
            return f"{ACCOUNT_TAG}{tenant}"


def _login_name(key: str) -> str | None:
    """Return the login name of a user, ``uid-1001`` for an unknown one; None for a key that is not a user's."""
    number = key.removeprefix(UID_TAG)
    if number == key or not number.isdecimal():
        return None
    try:
        return pwd.getpwuid(int(number)).pw_name
    except (KeyError, OverflowError, OSError):
        return f"uid-{number}"


def with_display_name(message: Message, name_of: Callable[[str], str]) -> Message:
    """Return a message whose parameter ``tenant``, a key in messages of the core, is the display name."""
    tenant = message.params.get("tenant")
    if not isinstance(tenant, str):
        return message
    return Message(message.code, {**message.params, "tenant": name_of(tenant)})
