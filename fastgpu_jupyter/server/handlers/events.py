"""``GET {base_url}fastgpu/api/events``: the pool's messages for one browser, as ``text/event-stream``.

Each message is one ``data:`` line of JSON: the messages of the pool manager, and ``{"type": "unreachable", "message"}``
while it does not answer; the next snapshot ends that.
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

#: Often enough for a page to notice within seconds that the server has stopped; proxies cut a silent connection later.
HEARTBEAT_S = 2.0


class EventsHandler(FastGPUHandler):
    """One open event stream of a browser."""

    _subscriber: BrowserSubscriber | None = None

    @property
    def broadcaster(self) -> EventBroadcaster:
        """Return the broadcaster of this server."""
        found: EventBroadcaster = self.settings["fastgpu_broadcaster"]
        return found

    @web.authenticated
    @authorized(action="read", resource=EVENTS)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Send messages until the browser disconnects, does not read, or the server stops."""
        subscriber = self._subscriber = self.broadcaster.subscribe()
        try:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-store")
            self.set_header("X-Accel-Buffering", "no")  # else nginx buffers the messages
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
            pass  # the browser disconnected
        finally:
            self.broadcaster.unsubscribe(subscriber)
        self.finish(set_content_type="text/event-stream")

    def on_connection_close(self) -> None:
        """End :meth:`get` at once, so that the broadcaster learns that the browser disconnected."""
        super().on_connection_close()
        if self._subscriber is not None:
            self._subscriber.end()
