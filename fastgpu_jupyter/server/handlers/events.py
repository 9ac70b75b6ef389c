"""``GET {base_url}fastgpu/api/events``: the pool's messages for one browser, as ``text/event-stream``.

Each message is one ``data:`` line of JSON. Beside the pool's own messages there is ``{"type": "unreachable",
"message"}`` while the pool does not answer; the next snapshot ends it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from .base import EVENTS, FastGPUHandler

if TYPE_CHECKING:
    from ..broadcaster import BrowserSubscriber, EventBroadcaster

#: Proxies commonly cut a connection that is silent for a minute.
HEARTBEAT_S = 15.0


class EventsHandler(FastGPUHandler):
    """One open stream."""

    _subscriber: BrowserSubscriber | None = None

    @property
    def broadcaster(self) -> EventBroadcaster:
        """Return the broadcaster of this server."""
        found: EventBroadcaster = self.settings["fastgpu_broadcaster"]
        return found

    @web.authenticated
    @authorized(action="read", resource=EVENTS)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Send messages until the browser leaves, is cut off for not reading, or the server stops."""
        subscriber = self._subscriber = self.broadcaster.subscribe()
        try:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-store")
            self.set_header("X-Accel-Buffering", "no")  # nginx would collect the messages
            self.write(": FastGPU events\n\n")
            await self.flush()
            while True:
                try:
                    message = await subscriber.next(HEARTBEAT_S)
                except TimeoutError:
                    self.write(": still here\n\n")
                else:
                    if message is None:
                        break
                    self.write(f"data: {json.dumps(message)}\n\n")
                await self.flush()
        except StreamClosedError:
            pass  # the browser left
        finally:
            self.broadcaster.unsubscribe(subscriber)
        self.finish(set_content_type="text/event-stream")

    def on_connection_close(self) -> None:
        """Wake the loop above at once, so that the last browser's leaving is noticed."""
        super().on_connection_close()
        if self._subscriber is not None:
            self._subscriber.end()
