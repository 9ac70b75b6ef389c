"""Requests of a server to one of its kernels on the control channel, which answers also while a cell runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

#: A kernel that is stopped, or whose machine is busy, answers later or never.
ANSWER_S = 5.0


async def ask(manager: Any, message_type: str, content: Mapping[str, Any], timeout_s: float = ANSWER_S) -> Any:
    """Return the content of the kernel's reply to a request; None if it does not answer in time."""
    stream = manager.connect_control()
    session = manager.session
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def receive(frames: list[Any]) -> None:
        try:
            message = session.deserialize(session.feed_identities(frames)[1])
        except Exception:  # noqa: BLE001 (not signed with the key of this kernel)
            return
        if not answered.done() and message["parent_header"].get("msg_id") == request["header"]["msg_id"]:
            answered.set_result(message["content"])

    stream.on_recv(receive)
    try:
        request = session.send(stream, message_type, dict(content))
        async with asyncio.timeout(timeout_s):
            return await answered
    except TimeoutError:
        return None
    finally:
        stream.on_recv(None)
        stream.close(linger=0)
