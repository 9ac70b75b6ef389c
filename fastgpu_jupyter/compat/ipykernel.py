"""Private parts of ``ipykernel``."""

from __future__ import annotations

from typing import Any


def iopub_topic(kernel: Any, message_type: str) -> bytes:
    """Return the topic under which ``kernel`` publishes messages of ``message_type`` on IOPub.

    Subscribers filter by it. ``Kernel._topic`` is the only place where it is defined.
    """
    topic: bytes = kernel._topic(message_type)  # noqa: SLF001 (no public name)
    return topic


def comm_message_of(kernel: Any, frames: list[Any]) -> dict[str, Any] | None:
    """Return the content of a ``comm_msg`` of the shell channel; None for any other message, or one that is not valid.

    ``Kernel.shell_channel_thread_main`` gets the frames; they are not changed, and may be read again by the kernel.
    """
    session = kernel.session
    try:
        _, rest = session.feed_identities(frames, copy=False)
        message = session.deserialize(rest, content=False, copy=False)
        if message["header"]["msg_type"] != "comm_msg":
            return None
        content: dict[str, Any] = session.unpack(message["content"])
    except Exception:  # noqa: BLE001 (ipykernel logs what is wrong with a message)
        return None
    return content
