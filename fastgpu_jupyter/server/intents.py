"""Intents: what a user chose for a kernel that the browser will start next, by the id of that kernel.

A request to start a kernel has no place for a size. The browser therefore makes up the id of the kernel, registers the
choice here, and starts the kernel under that id. The provisioner takes the intent at the first launch of the kernel.

A choice is never replaced by another one silently, because that would be another GPU at another cost: where an intent
is expired, used or of another user, the kernel does not start and the error says why. An intent of another user stays
for that user.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import Conflict, Forbidden, LimitReached, Message
from ..wire.ids import kernel_id_of
from ..wire.options import ParsedRequest

#: A browser starts the kernel with its next request; this is enough for a slow network.
LIFETIME_S = 120.0
INTENTS_MAX = 256
INTENTS_OF_USER_MAX = 16


class Intent(NamedTuple):
    """The choice of one user for one kernel; ``request`` is None once it was used."""

    user: str
    request: ParsedRequest | None
    expires_at_s: float


class IntentStore:
    """The intents of a server, in memory: after a restart of the server there is no kernel to start with them."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._intents: dict[str, Intent] = {}

    def put(self, kernel_id: str, user: str, parameters: Mapping[str, Any]) -> None:
        """Register the choice of ``user`` for the kernel ``kernel_id``; a second one replaces it.

        Raises :class:`~fastgpu_jupyter.errors.InvalidRequest`, :class:`LimitReached`, and :class:`Conflict` if the id
        was used or is that of another user's intent.
        """
        # Programs without a server import this module, and never need the schemas.
        from ..wire.schemas.parameters import read_parameters

        kernel_id, request = kernel_id_of(kernel_id), read_parameters(parameters)
        self._remove_expired()
        known = self._intents.get(kernel_id)
        if known is not None and (known.user != user or known.request is None):
            raise Conflict(Message.of("intent.id_taken"))
        if known is None:
            of_user = sum(intent.user == user for intent in self._intents.values())
            if of_user >= INTENTS_OF_USER_MAX or len(self._intents) >= INTENTS_MAX:
                raise LimitReached(Message.of("intent.too_many", seconds=round(LIFETIME_S)), round(LIFETIME_S))
        self._intents[kernel_id] = Intent(user, request, self._clock_s() + LIFETIME_S)

    def take(self, kernel_id: str, user: str | None) -> ParsedRequest | None:
        """Return the choice for a kernel that ``user`` starts, and mark it as used; None if there is no choice.

        Raises :class:`Forbidden` if another user chose, and :class:`Conflict` if the intent is expired or was used.
        """
        intent = self._intents.get(kernel_id)
        if intent is None:
            return None
        if intent.user != user:
            raise Forbidden(Message.of("intent.another_user"))
        if intent.request is None:
            raise Conflict(Message.of("intent.used"))
        if intent.expires_at_s <= self._clock_s():
            del self._intents[kernel_id]
            raise Conflict(Message.of("intent.expired", seconds=round(LIFETIME_S)))
        self._intents[kernel_id] = Intent(intent.user, None, self._clock_s() + LIFETIME_S)
        return intent.request

    def _remove_expired(self) -> None:
        # Kept for as long again, so that a start that comes too late is refused and not served with other values.
        before_s = self._clock_s() - LIFETIME_S
        self._intents = {name: intent for name, intent in self._intents.items() if intent.expires_at_s > before_s}


#: Those of this process: a provisioner knows the kernel and not the extension. A process has one Jupyter server.
intents = IntentStore()
