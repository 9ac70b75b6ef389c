"""The ids in the paths of the interfaces, checked before a request is sent and where it is served."""

from __future__ import annotations

import re

from ..errors import InvalidRequest, Message

IDEMPOTENCY_KEY = "^[!-~]{1,128}$"
LEASE_ID = "^[0-9A-Za-z_-]{1,64}$"
DEVICE_ID = "^[0-9A-Za-z_.:-]{1,80}$"
KERNEL_ID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def lease_id_of(text: str) -> str:
    """Return ``text`` if it can be the id of a lease. Raises :class:`InvalidRequest`."""
    return _checked(LEASE_ID, text, Message.of("request.lease_id", text=repr(text[:40])))


def device_id_of(text: str) -> str:
    """Return ``text`` if it can be the id of a device. Raises :class:`InvalidRequest`."""
    return _checked(DEVICE_ID, text, Message.of("request.device_id", text=repr(text[:40])))


def kernel_id_of(text: str) -> str:
    """Return ``text`` if it can be the id that a browser makes for a kernel. Raises :class:`InvalidRequest`."""
    return _checked(KERNEL_ID, text, Message.of("intent.kernel_id"))


def _checked(pattern: str, text: str, refusal: Message) -> str:
    # "." and ".." would be another path.
    if not re.fullmatch(pattern, text) or not text.strip("."):
        raise InvalidRequest(refusal)
    return text
