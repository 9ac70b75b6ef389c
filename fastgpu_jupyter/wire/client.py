"""The client that the Jupyter server, the kernel and the command line use.

Blocking, safe to call from several threads (each call has a connection of its own), and free of third-party imports.
It talks to a server only after it has seen who that server is: a socket of another user is refused before anything
is sent. Asynchronous callers wrap calls in :func:`asyncio.to_thread`.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pwd
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import quote, urlencode

from .. import errors
from . import unixsocket
from .locate import SYSTEM_SOCKET
from .schemas import (
    DeviceView,
    GroupView,
    HistoryView,
    IsolationName,
    LeaseView,
    PartitionModeView,
    PoolView,
    PriorityName,
    QueueView,
    RateView,
    ReservationView,
    RetentionName,
    StatementView,
    StatusView,
    TenantView,
)

#: An answer larger than this is not one of ours.
ANSWER_BYTES_MAX = 64 * 2**20
#: A statement reads the whole journal.
STATEMENT_TIMEOUT_S = 120.0
_ERRORS = errors.by_code()


def new_token() -> str:
    """A secret for one lease; the pool is only ever told its :func:`token_digest` when the lease is requested."""
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """SHA-256 of a lease token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = unixsocket.connect(self._path, self.timeout)
        _refuse_strangers(self.sock, self._path)


def _refuse_strangers(sock: socket.socket, path: Path) -> None:
    """The pool runs as this user, as root, or as the owner that an administrator gave the system's folder below
    ``/run``; a socket of anybody else could only be a trap.
    """
    uid = unixsocket.peer_of(sock).uid
    if uid in {0, os.getuid()} or (path == SYSTEM_SOCKET and uid == path.parent.stat().st_uid):
        return
    sock.close()
    raise errors.PoolUnreachable(
        f"The socket {path} belongs to another user ({_user_name(uid)}). Nothing was sent to it. "
        "Set FASTGPU_SOCKET to your own pool's socket, or unset it."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class EventStream:
    """An open event stream: an iterator of messages that another thread may :meth:`close`.

    Iteration ends when the pool ends the stream and raises :class:`PoolUnreachable` when it breaks.
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
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if not self._closed:
                raise errors.PoolUnreachable("The pool manager went away; trying again.") from error
        finally:
            self.close()

    def close(self) -> None:
        """End the stream; a thread blocked in iteration returns at once."""
        self._closed = True
        try:
            if self._sock is not None:
                self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was first
        self._connection.close()


class LeaseOptions(TypedDict, total=False):
    """What can be said of a lease beside its size; what is left out is as the pool has it by default."""

    priority: PriorityName
    wait_ms_max: int
    isolation: IsolationName
    parkable: bool
    resizable: bool
    retention: RetentionName
    cpu_milli: int
    host_memory_bytes: int
    rate_micro_per_hour_max: int
    budget_micro: int


class Entitlement(TypedDict, total=False):
    """What a tenant, or a group, is entitled to; amounts in thousandths of devices. ``group`` is for tenants only."""

    weight: int
    guaranteed_milli: int
    limit_milli: int | None
    group: str | None


class PoolClient:
    """Calls to the pool manager that serves ``path``.

    Every method raises the :class:`~fastgpu_jupyter.errors.FastGPUError` that the pool raised, or
    :class:`~fastgpu_jupyter.errors.PoolUnreachable` where nobody answers within ``timeout_s``.
    """

    def __init__(self, path: Path | str, timeout_s: float = 10.0) -> None:
        self.path = Path(path)
        self.timeout_s = timeout_s

    def health(self) -> dict[str, Any]:
        """``{"status": "ok"}`` as soon as the pool serves."""
        return cast("dict[str, Any]", self._call("GET", "/v1/health"))

    def status(self) -> StatusView:
        """Pool, devices, leases and queue at one instant."""
        return cast(StatusView, self._call("GET", "/v1/status"))

    def pool(self) -> PoolView:
        """The pool manager itself."""
        return cast(PoolView, self._call("GET", "/v1/pool"))

    def devices(self) -> list[DeviceView]:
        """All devices and who holds what of them."""
        return cast("list[DeviceView]", self._call("GET", "/v1/devices")["devices"])

    def leases(self) -> list[LeaseView]:
        """The caller's leases, those that ended in the last hour included."""
        return cast("list[LeaseView]", self._call("GET", "/v1/leases")["leases"])

    def lease_history(self, lease_id: str, resolution: str = "1s", since: int | None = None) -> HistoryView:
        """What the lease used, by the second (``1s``) or the minute (``1m``), from ``since`` (wall clock) on."""
        return cast(HistoryView, self._call("GET", _lease_path(lease_id) + _history(resolution, since)))

    def device_history(self, device_id: str, resolution: str = "1s", since: int | None = None) -> HistoryView:
        """The same of a device."""
        path = f"/v1/devices/{quote(device_id, safe='')}"
        return cast(HistoryView, self._call("GET", path + _history(resolution, since)))

    def queue(self) -> list[QueueView]:
        """The queue in order of grant."""
        return cast("list[QueueView]", self._call("GET", "/v1/queue")["queue"])

    def lease(self, lease_id: str, wait_ms: int = 0, after: int = -1) -> LeaseView:
        """One lease; with ``wait_ms`` as soon as its version is beyond ``after``, or after that time."""
        query = f"?{urlencode({'wait_ms': wait_ms, 'after': after})}" if wait_ms else ""
        timeout_s = self.timeout_s + wait_ms / 1000
        return cast(LeaseView, self._call("GET", _lease_path(lease_id) + query, timeout_s=timeout_s))

    def request(
        self,
        profile: str | None = None,
        memory_bytes: int | None = None,
        kernel_id: str | None = None,
        notebook: str | None = None,
        *,
        token: str,
        key: str | None = None,
        options: LeaseOptions | None = None,
    ) -> LeaseView:
        """Ask for a lease, held by the calling process until :meth:`bind`; answers at once, active or waiting."""
        body = {
            "profile": profile,
            "memory_bytes": memory_bytes,
            "kernel_id": kernel_id,
            "notebook": notebook,
            "token_sha256": token_digest(token),
            **(options or {}),
        }
        return cast(LeaseView, self._call("POST", "/v1/leases", body, key=key or secrets.token_hex(16)))

    def bind(self, lease_id: str, token: str, pid: int | None = None) -> LeaseView:
        """Make process ``pid`` the holder of the lease; ``None`` is the calling process itself."""
        path = _lease_path(lease_id) + "/bind"
        return cast(LeaseView, self._call("POST", path, {"pid": pid}, token=token, key=secrets.token_hex(16)))

    def release(self, lease_id: str, token: str | None = None) -> LeaseView:
        """Give the lease back; to release twice is no error."""
        return cast(LeaseView, self._call("DELETE", _lease_path(lease_id), token=token, key=secrets.token_hex(16)))

    def resize(self, lease_id: str, profile: str) -> LeaseView:
        """Give the lease another size; its kernel goes on."""
        path = _lease_path(lease_id) + "/resize"
        return cast(LeaseView, self._call("POST", path, {"profile": profile}, key=secrets.token_hex(16)))

    def park(self, lease_id: str) -> LeaseView:
        """Move the lease's memory to the host's and give its device to others, until it is wanted back."""
        return cast(LeaseView, self._call("POST", _lease_path(lease_id) + "/park", {}, key=secrets.token_hex(16)))

    def resume(self, lease_id: str) -> LeaseView:
        """Let a parked lease wait for a device."""
        return cast(LeaseView, self._call("POST", _lease_path(lease_id) + "/resume", {}, key=secrets.token_hex(16)))

    def pin(self, lease_id: str, *, pinned: bool) -> LeaseView:
        """Hold the lease, or let it be parked for others."""
        path = _lease_path(lease_id) + "/pin"
        return cast(LeaseView, self._call("POST", path, {"pinned": pinned}, key=secrets.token_hex(16)))

    def activity(self, lease_id: str, token: str | None, *, busy: bool) -> LeaseView:
        """Say that a cell begins or ends; one that begins wants a parked lease back."""
        path = _lease_path(lease_id) + "/activity"
        return cast(LeaseView, self._call("POST", path, {"busy": busy}, token=token))

    def move(self, lease_id: str) -> LeaseView:
        """Take the lease off a device that is not well. Raises :class:`~..errors.Conflict` where that cannot be."""
        return cast(LeaseView, self._call("POST", _lease_path(lease_id) + "/move", {}, key=secrets.token_hex(16)))

    def libraries(
        self, lease_id: str, token: str | None, memory_bytes: int | None, needs_restart: Sequence[str]
    ) -> LeaseView:
        """Say what the kernel told its libraries, and which of them cannot follow."""
        path = _lease_path(lease_id) + "/libraries"
        body = {"memory_bytes": memory_bytes, "needs_restart": list(needs_restart)}
        return cast(LeaseView, self._call("POST", path, body, token=token))

    def transfer(self, lease_id: str, tenant: str) -> LeaseView:
        """Let another tenant be billed from now on; for administrators."""
        path = _lease_path(lease_id) + "/transfer"
        return cast(LeaseView, self._call("POST", path, {"tenant": tenant}, key=secrets.token_hex(16)))

    def statements(self, month: str) -> list[StatementView]:
        """The caller's statement of a month such as ``2026-11``; everybody's for an administrator."""
        path = f"/v1/statements/{quote(month, safe='')}"
        found = self._call("GET", path, timeout_s=STATEMENT_TIMEOUT_S)
        return cast("list[StatementView]", found["statements"])

    def rates(self) -> list[RateView]:
        """What each model costs."""
        return cast("list[RateView]", self._call("GET", "/v1/rates")["rates"])

    def tenants(self) -> list[TenantView]:
        """What the caller is entitled to; everybody's for an administrator."""
        return cast("list[TenantView]", self._call("GET", "/v1/tenants")["tenants"])

    def set_tenant(self, tenant: str, entitlement: Entitlement) -> TenantView:
        """Entitle a tenant; for administrators."""
        path = f"/v1/tenants/{quote(tenant, safe='')}"
        return cast(TenantView, self._call("PUT", path, {**entitlement}, key=secrets.token_hex(16)))

    def set_budget(self, tenant: str, budget_micro: int | None, policy: str) -> TenantView:
        """Say what a tenant may spend in a month and what happens after; for administrators."""
        path = f"/v1/tenants/{quote(tenant, safe='')}/budget"
        body = {"budget_micro": budget_micro, "policy": policy}
        return cast(TenantView, self._call("PUT", path, body, key=secrets.token_hex(16)))

    def set_lease_budget(self, lease_id: str, budget_micro: int | None) -> LeaseView:
        """Say what the lease may cost in all."""
        path = _lease_path(lease_id) + "/budget"
        return cast(LeaseView, self._call("POST", path, {"budget_micro": budget_micro}, key=secrets.token_hex(16)))

    def reservations(self) -> list[ReservationView]:
        """The caller's reservations; everybody's for an administrator."""
        return cast("list[ReservationView]", self._call("GET", "/v1/reservations")["reservations"])

    def reserve(self, tenant: str, size: str, plan: str, start: int | None = None) -> ReservationView:
        """Hold capacity for a tenant; for administrators."""
        body = {"tenant": tenant, "size": size, "plan": plan, "start": start}
        return cast(ReservationView, self._call("PUT", f"/v1/reservations/{secrets.token_hex(8)}", body))

    def cancel_reservation(self, reservation_id: str) -> ReservationView:
        """End a reservation now; for administrators."""
        return cast(ReservationView, self._call("DELETE", f"/v1/reservations/{quote(reservation_id, safe='')}"))

    def groups(self) -> list[GroupView]:
        """What the caller's group is entitled to; all groups for an administrator."""
        return cast("list[GroupView]", self._call("GET", "/v1/groups")["groups"])

    def set_group(self, group: str, entitlement: Entitlement) -> GroupView:
        """Entitle a group of tenants; for administrators."""
        path = f"/v1/groups/{quote(group, safe='')}"
        return cast(GroupView, self._call("PUT", path, {**entitlement}, key=secrets.token_hex(16)))

    def drain(self, device_id: str, *, drained: bool) -> DeviceView:
        """Take a device out of service, or put it back; for administrators."""
        path = f"/v1/devices/{quote(device_id, safe='')}"
        return cast(DeviceView, self._call("PUT", path, {"drained": drained}, key=secrets.token_hex(16)))

    def partition_mode(self, device_id: str) -> PartitionModeView:
        """MIG mode of a device, and what switching it would disturb; for administrators."""
        return cast(PartitionModeView, self._call("GET", f"/v1/devices/{quote(device_id, safe='')}/mig"))

    def set_partition_mode(self, device_id: str, *, on: bool) -> PartitionModeView:
        """Switch MIG mode of a device on which nothing is; for administrators."""
        return cast(PartitionModeView, self._call("PUT", f"/v1/devices/{quote(device_id, safe='')}/mig", {"on": on}))

    def events(self, lease_id: str | None = None, since: int | None = None) -> EventStream:
        """The stream of snapshots, changes and usage; only one lease's with ``lease_id``.

        With ``since``, the ``seq`` of the last message that was seen, it begins with what was missed where the pool
        still knows that, and with a snapshot otherwise.
        """
        query = {name: value for name, value in (("lease", lease_id), ("since", since)) if value is not None}
        path = "/v1/events" + (f"?{urlencode(query)}" if query else "")
        # The pool sends a keepalive every few seconds: silence for longer means that it is gone.
        connection, response = self._open("GET", path, None, {}, timeout_s=30.0)
        return EventStream(connection, response)

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
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["Idempotency-Key"] = key
        connection, response = self._open(method, path, body, headers, timeout_s or self.timeout_s)
        try:
            return json.loads(response.read(ANSWER_BYTES_MAX))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], timeout_s: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, timeout_s)
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers = {**headers, "Content-Type": "application/json"}
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            if response.status < 400:
                return connection, response
            problem = json.loads(response.read(ANSWER_BYTES_MAX))
        except errors.FastGPUError:
            connection.close()
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise self._unreachable(error) from error
        connection.close()
        refusal = _ERRORS.get(problem.get("code", ""), errors.FastGPUError)(problem.get("detail", "The pool refused."))
        after = response.getheader("Retry-After") or ""
        if isinstance(refusal, errors.LimitReached) and after.isascii() and after.isdigit():
            refusal.retry_after_s = int(after)
        raise refusal

    def _unreachable(self, error: Exception) -> errors.PoolUnreachable:
        if isinstance(error, PermissionError):
            return errors.PoolUnreachable(
                f"You may not use the pool's socket {self.path}; it belongs to another user. "
                "Unset FASTGPU_SOCKET to use your own pool, or ask its administrator for access."
            )
        return errors.PoolUnreachable(
            f"No pool manager answers at {self.path} ({type(error).__name__}: {error}). "
            "Start one with `jupyter fastgpu pool`; leases already granted are kept."
        )


def _lease_path(lease_id: str) -> str:
    return f"/v1/leases/{quote(lease_id, safe='')}"


def _history(resolution: str, since: int | None) -> str:
    query = {"resolution": resolution, **({} if since is None else {"since": since})}
    return f"/history?{urlencode(query)}"
