"""One HTTP call over the pool manager's Unix socket, and the translation of its errors."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ... import errors
from ...errors import Message, ReceivedMessage
from .. import unixsocket, version
from ..locate import SYSTEM_SOCKET

#: A longer answer is not an answer of a pool manager.
ANSWER_BYTES_MAX = 64 * 2**20
#: The longest time of one call in all: to connect, send and receive.
TIMEOUT_S = 5.0
_ERRORS = errors.by_code()
#: The error of a refusal whose code this version does not know, by HTTP status.
_BY_STATUS: dict[int, type[errors.FastGPUError]] = {
    error.status: error for error in (errors.Forbidden, errors.NotFound, errors.Conflict, errors.LimitReached)
}


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over the Unix socket at ``path``, for one exchange that takes ``timeout_s`` at most."""

    sock: unixsocket.TimedSocket | None

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path, self.timeout_s = path, timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        #: The pool manager may have the request, or a part of it.
        self.may_have_sent = False

    def connect(self) -> None:
        """Connect, and raise :class:`PoolUnreachable` if the socket belongs to an unknown user."""
        self.sock = unixsocket.connect(self._path, self.timeout)
        _require_trusted_peer(self.sock, self._path)
        self.sock.set_deadline(self._deadline_s)
        self.may_have_sent = True

    def lift_deadline(self, silence_max_s: float) -> None:
        """Let the rest of the answer take any time, with pauses of at most ``silence_max_s``."""
        assert self.sock is not None
        self.sock.set_deadline(None)
        self.sock.settimeout(silence_max_s)


def _require_trusted_peer(sock: socket.socket, path: Path) -> None:
    """Raise unless the pool manager runs as this user, as root, or as the owner of the system's folder below ``/run``.

    A socket of any other user may be a trap.
    """
    uid = unixsocket.peer_of(sock).uid
    if uid in {0, os.getuid()} or (path == SYSTEM_SOCKET and uid == path.parent.stat().st_uid):
        return
    sock.close()
    raise errors.PoolUnreachable(Message.of("pool.socket_of_another_user", path=str(path), uid=uid))


class Transport:
    """Calls to the pool manager that serves ``path``; the base of the classes that have a method for each operation."""

    def __init__(
        self, path: Path | str, timeout_s: float = TIMEOUT_S, *, key: str | None = None, token: str | None = None
    ) -> None:
        """``timeout_s``: the longest time of one call in all; ``key``: the idempotency key of the one change made.

        ``token``: the lease token of calls that bring none, for a process on the host of an engine's job.
        """
        self.path = Path(path)
        self.timeout_s = timeout_s
        self._key = key
        #: As described above.
        self.token = token

    def _change(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Call an operation that changes something, with the client's idempotency key or one of its own.

        Raises :class:`OutcomeUnknown` if there is no answer in time: then the change may have been done.
        """
        return self._call(method, path, body, token=token, key=self._key or secrets.token_hex(16), timeout_s=timeout_s)

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        headers = bearer(token)
        if key:
            headers["Idempotency-Key"] = key
        connection, response = self._open(method, path, body, headers, timeout_s or self.timeout_s)
        try:
            return json.loads(response.read(ANSWER_BYTES_MAX))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error, connection, method) from error
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], timeout_s: float
    ) -> tuple[UnixConnection, http.client.HTTPResponse]:
        connection = UnixConnection(self.path, timeout_s)
        headers = {**bearer(self.token), **headers, version.HEADER: version.stated()}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            with suppress(BrokenPipeError):  # it refused before it had read all, and the answer says why
                connection.request(method, path, payload, headers)
            response = connection.getresponse()
            self._require_same_interface(response)
            if response.status < 400:
                return connection, response
            problem = json.loads(response.read(ANSWER_BYTES_MAX))
        except errors.FastGPUError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise self._unreachable(error, connection, method) from error
        connection.close()
        raise _refusal(response.status, problem, response.getheader("Retry-After") or "")

    def _require_same_interface(self, response: http.client.HTTPResponse) -> None:
        theirs = version.read(response.getheader(version.HEADER))
        if not theirs.fits:
            response.close()
            known = theirs if theirs.version else theirs._replace(version=self._older_version())
            raise errors.VersionMismatch(version.difference_from_pool(str(self.path), known))

    def _older_version(self) -> str | None:
        """Return the version of a pool manager that does not state it in a header, None if it says none."""
        with closing(UnixConnection(self.path, self.timeout_s)) as connection:
            try:
                connection.request("GET", "/v1/pool")
                stated = json.loads(connection.getresponse().read(ANSWER_BYTES_MAX)).get("version")
            except (OSError, http.client.HTTPException, ValueError, AttributeError):
                return None
        return stated if isinstance(stated, str) else None

    def _unreachable(self, error: Exception, connection: UnixConnection, method: str) -> errors.PoolUnreachable:
        # BlockingIOError: it does not accept connections, and as many wait already as the system allows.
        if isinstance(error, TimeoutError | BlockingIOError):
            seconds = max(1, round(connection.timeout_s))
            if method != "GET" and connection.may_have_sent:
                return errors.OutcomeUnknown(Message.of("pool.outcome_unknown", seconds=seconds))
            return errors.PoolSilent(Message.of("pool.silent", seconds=seconds))
        if isinstance(error, PermissionError):
            return errors.PoolUnreachable(Message.of("pool.socket_forbidden", path=str(self.path)))
        return errors.PoolUnreachable(
            Message.of("pool.no_answer", path=str(self.path), reason=f"{type(error).__name__}: {error}")
        )


def bearer(token: str | None) -> dict[str, str]:
    """Return the headers that prove the right to a lease, none without a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def _message_of(problem: dict[str, Any]) -> Message | str:
    """Return the message of a refusal; the text of one that has none, such as a proxy's."""
    try:
        return ReceivedMessage.from_view(problem["message"])
    except (KeyError, TypeError, AttributeError):
        return str(problem.get("detail", "The pool refused."))


def _refusal(status: int, problem: Any, retry_after: str) -> errors.FastGPUError:
    content = problem if isinstance(problem, dict) else {}
    unknown = errors.CallerError if status < 500 else errors.FastGPUError
    error = _ERRORS.get(str(content.get("code"))) or _BY_STATUS.get(status, unknown)
    refusal = error(_message_of(content))
    if isinstance(refusal, errors.LimitReached) and retry_after.isascii() and retry_after.isdigit():
        refusal.retry_after_s = int(retry_after)
    return refusal
