"""An open event stream of the pool manager."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

from ... import errors
from ...errors import Message
from .transport import ANSWER_BYTES_MAX


class EventStream:
    """An iterator of the messages of an open event stream, which another thread may :meth:`close`.

    Iteration ends when the pool manager ends the stream, and raises :class:`PoolUnreachable` when the stream breaks, or
    :class:`PoolSilent` when no message comes.
    """

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._sock = connection.sock
        self._closed = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            while line := self._response.readline(ANSWER_BYTES_MAX):
                yield json.loads(line)
        except TimeoutError as error:
            raise errors.PoolSilent(Message.of("pool.no_message")) from error
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if not self._closed:
                raise errors.PoolUnreachable(Message.of("pool.went_away")) from error
        finally:
            self.close()

    def close(self) -> None:
        """End the stream; an iteration that blocks in another thread returns at once."""
        self._closed = True
        try:
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first
        self._connection.close()
