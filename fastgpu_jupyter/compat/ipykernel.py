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
        message = _without_content(session, frames)
        if message["header"]["msg_type"] != "comm_msg":
            return None
        content: dict[str, Any] = session.unpack(message["content"])
    except Exception:  # noqa: BLE001 (ipykernel logs what is wrong with a message)
        return None
    return content


def message_id_of(kernel: Any, frames: list[Any]) -> str | None:
    """Return the id of a message of the shell channel, as above; None for one that is not valid."""
    try:
        return str(_without_content(kernel.session, frames)["header"]["msg_id"])
    except Exception:  # noqa: BLE001 (as above)
        return None


def message_of(kernel: Any, frames: list[bytes]) -> tuple[list[bytes], dict[str, Any]] | None:
    """Return the identities and the message that frames of this kernel's own session make; None for others."""
    try:
        identities, rest = kernel.session.feed_identities(frames)
        return identities, kernel.session.deserialize(rest)
    except Exception:  # noqa: BLE001 (as above)
        return None


def _without_content(session: Any, frames: list[Any]) -> Any:
    _, rest = session.feed_identities(frames, copy=False)
    return session.deserialize(rest, content=False, copy=False)


def is_iopub(kernel: Any, stream: Any) -> bool:
    """Return whether ``stream``, the first argument of ``Session.send``, is the kernel's IOPub channel.

    Output streams name the thread, everything else its socket.
    """
    return stream is kernel.iopub_thread or stream is kernel.iopub_socket
