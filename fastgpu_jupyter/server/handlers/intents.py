"""The handler of intents: what a user chose for the kernel that the browser starts next."""

from __future__ import annotations

from jupyter_server import version_info
from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import Conflict, Message
from ..caller import caller_of
from ..intents import LIFETIME_S, intents
from .base import LEASES, FastGPUHandler

#: ``POST /api/sessions`` of older servers ignores the id of a kernel that does not run yet.
SESSIONS_START_IDS = version_info[:2] >= (2, 21)


class IntentHandler(FastGPUHandler):
    """The intent for one kernel that does not run yet."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def put(self, kernel_id: str) -> None:
        """Register the choice, and answer how to start the kernel under its id."""
        parameters = self.json_object()
        if kernel_id in self.kernel_manager:
            raise Conflict(Message.of("intent.id_taken"))
        intents.put(kernel_id, caller_of(self), parameters)
        self.answer(
            {
                "kernel_id": kernel_id,
                "expires_in_ms": round(LIFETIME_S * 1000),
                "start": "sessions" if SESSIONS_START_IDS else "kernels",
            }
        )
