"""The socket at which the pool manager listens, also while it has no file descriptor left.

A connection that cannot be accepted stays in the queue of the socket, and the event loop would try again at once, and
again. So one descriptor is kept in reserve: it is given up to accept the connection, which gets the reason and is
closed. Where even that fails, the socket is left alone for a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tornado.ioloop import IOLoop

from ..host.process import OUT_OF_RESOURCES

log = logging.getLogger("fastgpu.pool")
#: How long the socket is left alone where not even a refusal is possible.
PAUSE_S = 0.5


class Listener(socket.socket):
    """A listening socket that refuses connections while there is no descriptor for them."""

    _refuse: Callable[[socket.socket], object]
    _spare: int | None = None

    @classmethod
    def of(cls, sock: socket.socket, refuse: Callable[[socket.socket], object]) -> Listener:
        """Return a listener in place of ``sock``; ``refuse`` sends the reason to a connection that is closed then."""
        listener = cls(fileno=sock.detach())
        listener.settimeout(0)
        listener._refuse = refuse
        listener._reserve()
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection. Raises :class:`BlockingIOError` where there is none, or none can be accepted."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            log.warning("A connection cannot be accepted and is refused: %s.", error.strerror)
            if not self._refuse_next():
                self._pause()
            raise BlockingIOError from error

    def close(self) -> None:
        """Close the socket and give the descriptor in reserve up."""
        super().close()
        self._give_up_reserve()

    def _refuse_next(self) -> bool:
        """Accept the next connection with the descriptor in reserve and refuse it; return whether that was done."""
        if self._spare is None:
            self._reserve()
        self._give_up_reserve()
        try:
            connection, _ = super().accept()
        except OSError:
            return False
        with connection:
            connection.settimeout(0)
            self._refuse(connection)
        self._reserve()
        return True

    def _reserve(self) -> None:
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _give_up_reserve(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _pause(self) -> None:
        """Do not look for connections for a while; else the event loop would do nothing else."""
        loop = IOLoop.current()
        loop.update_handler(self, 0)
        asyncio.get_running_loop().call_later(PAUSE_S, self._resume, loop)

    def _resume(self, loop: IOLoop) -> None:
        if self.fileno() >= 0:
            with suppress(KeyError):  # it serves no more
                loop.update_handler(self, IOLoop.READ)
