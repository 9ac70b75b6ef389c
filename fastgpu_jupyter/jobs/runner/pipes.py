"""The pipes between a runner and its work process."""

from __future__ import annotations

import os
import socket
from typing import NamedTuple


class Pipes(NamedTuple):
    """What the guard inherits for the work process, and this process's ends of it; made before the guard is forked."""

    nothing: int
    output: int
    output_writer: int
    channel: socket.socket
    channel_of_work: socket.socket

    @classmethod
    def make(cls) -> Pipes:
        """Return new pipes and socket pairs."""
        output, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        return cls(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), output, writer, *socket.socketpair())
