"""The websocket of a kernel, as a browser opens it: on the kernel's id, with a session id that a reconnection keeps."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.helpers import ServerProcess
from tests.waiting import DEADLINE_S, wait_until


class KernelSocket:
    """An open websocket; its messages are collected in a thread."""

    def __init__(self, server: ServerProcess, kernel_id: str, session_id: str) -> None:
        self.session_id = session_id
        self.messages: list[dict[str, Any]] = []
        url = server.url.replace("http", "ws", 1)
        self._request = HTTPRequest(
            f"{url}api/kernels/{kernel_id}/channels?session_id={session_id}",
            headers={"Authorization": f"token {server.token}"},
            request_timeout=DEADLINE_S,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._socket: WebSocketClientConnection = self._run(self._open())
        self._reader = asyncio.run_coroutine_threadsafe(self._read(), self._loop)

    async def _open(self) -> WebSocketClientConnection:
        return await websocket_connect(self._request)

    async def _read(self) -> None:
        while (text := await self._socket.read_message()) is not None:
            self.messages.append(json.loads(text))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def send(self, code: str) -> str:
        """Send a cell and return the id of its message."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": self.session_id,
                  "username": "", "version": "5.3", "date": "2026-01-01T00:00:00Z"}  # fmt: skip
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True,
                   "user_expressions": {}}  # fmt: skip
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content,
                   "buffers": []}  # fmt: skip

        async def write() -> None:
            await self._socket.write_message(json.dumps(message))

        self._run(write())
        return header["msg_id"]

    def of(self, cell: str, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind that belong to a cell, so far."""
        return [
            one
            for one in list(self.messages)
            if one["parent_header"].get("msg_id") == cell and one["header"]["msg_type"] == kind
        ]

    def wait(self, cell: str, kind: str, is_it: Callable[[dict[str, Any]], bool] = lambda content: True) -> Any:
        """Return the content of the first message of a kind that belongs to a cell and that ``is_it``."""
        found = wait_until(
            lambda: [one["content"] for one in self.of(cell, kind) if is_it(one["content"])],
            f"the {kind} of the cell arrives",
        )
        return found[0]

    def run(self, code: str) -> str:
        """Run a cell to its end and return what it printed."""
        cell = self.send(code)
        self.wait(cell, "execute_reply")
        self.wait(cell, "status", lambda content: content["execution_state"] == "idle")
        return self.text(cell)

    def text(self, cell: str) -> str:
        """Return what a cell has printed so far."""
        return "".join(one["content"]["text"] for one in self.of(cell, "stream"))

    def close(self) -> None:
        """Close the socket and end the thread."""

        async def close() -> None:
            self._socket.close()

        self._run(close())
        self._reader.result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def kernel_socket(server: ServerProcess, kernel_id: str, session_id: str) -> Iterator[KernelSocket]:
    """Open a websocket for the block."""
    socket = KernelSocket(server, kernel_id, session_id)
    try:
        yield socket
    finally:
        socket.close()
