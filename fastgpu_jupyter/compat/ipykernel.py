"""Private parts of ``ipykernel``."""

from __future__ import annotations

from typing import Any


def iopub_topic(kernel: Any, message_type: str) -> bytes:
    """Return the topic under which ``kernel`` publishes messages of ``message_type`` on IOPub.

    Subscribers filter by it. ``Kernel._topic`` is the only place where it is defined.
    """
    topic: bytes = kernel._topic(message_type)  # noqa: SLF001 (no public name)
    return topic
