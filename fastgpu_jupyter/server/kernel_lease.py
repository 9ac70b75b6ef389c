"""The lease of one kernel as its provisioner handles it: request, keep over a restart, resume, release.

All methods of :class:`KernelLease` block and are for threads; :func:`wait_for_grant` is for the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..core.model.lifecycle import OVER, LeaseState
from ..errors import (
    Conflict,
    FastGPUError,
    HostFault,
    LimitReached,
    Message,
    NotFound,
    OutcomeUnknown,
    PoolSilent,
    PoolUnreachable,
)
from ..messages import sentences_of, text_of
from ..text import printable
from ..wire import variables, version
from ..wire.client import LeaseOptions, PoolClient, new_token
from ..wire.client.transport import TIMEOUT_S
from ..wire.lease_view import end_of, explanation_of, position_of, value_of
from ..wire.locate import pool_socket
from ..wire.spawn import ensure_pool
from .repeat import repeat_until_answered
from .threads import in_thread
from .token_files import remove_token_file, token_path, write_token_file

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

T = TypeVar("T")
#: One step of a wait for a grant: a thread cannot be cancelled, and a server that stops must not wait for it.
WAIT_STEP_S = 0.5
#: The longest time of a call without which the kernel is interrupted or ended all the same, in seconds.
QUICK_S = 1.0
#: The longest time of the call that keeps a lease over a restart.
BIND_S = 3.0
#: How long after a call without an answer the pool manager is taken for silent, and the longest time then of a call
#: that is not needed: a restart or a shutdown makes several, and waits for the first one only.
SILENCE_S = 10.0
AGAIN_S = 0.5
#: End reasons after which an automatic restart must not request another lease silently.
_INVOLUNTARY_ENDS = {"device_lost", "over_limit"}


class Wanted(NamedTuple):
    """The request for the lease of a kernel; either ``size`` or ``memory_bytes`` is set."""

    size: str | None
    memory_bytes: int | None
    notebook: str | None
    options: LeaseOptions


class KernelLease:
    """The lease of kernel ``kernel_id``, and the token that proves the right to it."""

    def __init__(self, kernel_id: str, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self.kernel_id = kernel_id
        self.lease_id: str | None = None
        self.token: str | None = None
        #: The lease is, or was, one of a cluster: the next one is another job, which a user must want.
        self.is_of_cluster = False
        self._log = log
        #: The request that was not answered: there may be a lease that this process holds.
        self._unanswered: Callable[[PoolClient], LeaseView] | None = None
        self._silent_at = -SILENCE_S
        # A cancelled launch leaves a thread behind that requests a lease: the release must come after it.
        self.lock = threading.Lock()

    @property
    def is_unanswered(self) -> bool:
        """Return whether the last request was not answered, so that there may be a lease that this process holds."""
        return self._unanswered is not None

    def acquire(self, wanted: Wanted, *, automatic: bool) -> tuple[PoolClient, LeaseView]:
        """Return the lease that the kernel has, or a new one, and the client that knows it.

        Raises :class:`Conflict` if the lease was taken away and the restart is ``automatic``, so that the user learns
        of it before there is another one.
        """
        with self.lock:
            key = secrets.token_hex(16)
            try:
                # In most cases a pool manager serves; to ask for that first would cost each start a round trip.
                timeout_s = QUICK_S if self._was_silent else TIMEOUT_S
                with self._silence_noted():
                    client = PoolClient(pool_socket(), timeout_s)
                    return self._acquire_from(client, wanted, key, automatic=automatic)
            except PoolSilent:
                raise
            except PoolUnreachable:
                return self._acquire_from(ensure_pool(), wanted, key, automatic=automatic)

    def _acquire_from(
        self, client: PoolClient, wanted: Wanted, key: str, *, automatic: bool
    ) -> tuple[PoolClient, LeaseView]:
        if self.lease_id is not None:
            view = self._current(client)
            if view is not None and view["state"] not in OVER:
                self.lease_id = view["id"]
                self.is_of_cluster = _is_of_cluster(view)
                self._rename(client, view, wanted.notebook)
                return client, view
            self.lease_id = None
            end_reason = None if view is None else view["end_reason"]
            if automatic and (self.is_of_cluster or value_of(end_reason) in _INVOLUNTARY_ENDS):
                raise Conflict(lease_ended(view))
        self.token = self.token or new_token()
        # A request without an answer is repeated: another one could be a second lease.
        request = self._unanswered or partial(
            _request, kernel_id=self.kernel_id, wanted=wanted, token=self.token, key=key
        )
        try:
            view = request(client)
        except OutcomeUnknown:
            self._unanswered = request
            raise
        self.lease_id, self._unanswered = view["id"], None
        self.is_of_cluster = _is_of_cluster(view)
        write_token_file(self.kernel_id, self.token)
        return client, view

    def _rename(self, client: PoolClient, view: LeaseView, notebook: str | None) -> None:
        if notebook is None or view["holder"]["notebook"] == notebook:
            return
        try:
            client.rename(view["id"], notebook, self.token)
        except FastGPUError as error:  # only a name: the next restart tries again
            self._log.info("Lease %s keeps the name %r: %s", view["id"], view["holder"]["notebook"], _logged(error))

    def _current(self, client: PoolClient) -> LeaseView | None:
        """Return the lease of the kernel: the known one, or the one that the kernel requested after releasing that."""
        assert self.lease_id is not None
        try:
            view = client.lease(self.lease_id, token=self.token)
        except NotFound:
            view = None
        if view is not None and view["state"] not in OVER:
            return view
        later = self._live_leases(client)
        return later[-1] if later else view

    def _live_leases(self, client: PoolClient) -> list[LeaseView]:
        return [
            view
            for view in client.leases()
            if view["holder"]["kernel_id"] == self.kernel_id and view["state"] not in OVER
        ]

    def environment(self, client: PoolClient, view: LeaseView, own: Mapping[str, str], *, gate: bool) -> dict[str, str]:
        """Return the environment of the kernel's process: ``own`` with what its lease needs, which goes before that.

        A kernel without a ``gate`` would leave the right to its lease to its child processes, and gets none.
        """
        from ..jobs.lease_environment import as_descendant, with_grant

        env = with_grant(view, own, str(client.path))
        if not gate:
            return as_descendant(view, env)
        granted = view["environment"] if view["state"] == LeaseState.ACTIVE else view["hidden_environment"]
        return {
            **env,
            variables.LEASE: view["id"],
            variables.TOKEN_FILE: str(token_path(self.kernel_id)),
            variables.LEASE_STATE: view["state"],
            variables.KERNEL_ID: self.kernel_id,
            variables.VERSION: version.stated(),
            variables.GRANTED: json.dumps({name: env[name] for name in granted if name in env}),
            variables.HIDDEN: json.dumps(view["hidden_environment"]),
        }

    def bind(self, pid: int | None) -> FastGPUError | None:
        """Make process ``pid`` the holder (None: this process); return the error after which it must be tried again."""
        if self.lease_id is None or self.token is None:
            return None
        try:
            try:
                with self._silence_noted():
                    self._client(BIND_S if pid is None else TIMEOUT_S).bind(self.lease_id, self.token, pid)
            except PoolSilent:
                raise
            except PoolUnreachable:
                ensure_pool().bind(self.lease_id, self.token, pid)
        except (PoolUnreachable, LimitReached, HostFault) as error:
            self._log.warning("Lease %s has no new holder yet: %s", self.lease_id, _logged(error))
            return error
        except FastGPUError as error:
            # The lease or the process has ended: the next launch requests another lease.
            self._log.debug("Lease %s was not bound: %s", self.lease_id, _logged(error))
        return None

    def rename(self, notebook: Callable[[], str | None]) -> None:
        """Give the live lease of the kernel the name that ``notebook`` returns then; a failure is logged."""
        with self.lock:
            if self.lease_id is None:
                return
            try:
                client = ensure_pool(timeout_s=5.0)
                view = self._current(client)
            except FastGPUError as error:
                self._log.info("Lease %s could not be renamed: %s", self.lease_id, _logged(error))
                return
            if view is not None and view["state"] not in OVER:
                self._rename(client, view, notebook())

    def view(self) -> LeaseView | None:
        """Return the lease; None without one, or if the pool manager does not answer soon."""
        with contextlib.suppress(FastGPUError, OSError), self._silence_noted():
            if self.lease_id is not None:
                return self._client(QUICK_S).lease(self.lease_id, token=self.token)
        return None

    def has_started(self) -> bool:
        """Return whether the kernel has told the pool manager what it does; False where that is not known."""
        view = self.view()
        return view is not None and view["usage"]["busy"] is not None

    def resume_for_interrupt(self) -> None:
        """Resume the lease if a cell waits for it: its GPU calls return, and can be interrupted, only then."""
        if self.lease_id is None:
            return
        with contextlib.suppress(FastGPUError, OSError), self._silence_noted():
            client = self._client(QUICK_S)
            view = client.lease(self.lease_id, token=self.token)
            if view["state"] == LeaseState.PARKED and view["usage"]["busy"]:
                client.resume(self.lease_id)

    def call(self, function: Callable[[PoolClient, str, str], T], timeout_s: float = TIMEOUT_S) -> T:
        """Return the result of a call about the lease, of a client, the lease's id and its token; start the pool.

        Raises :class:`Conflict` without a lease.
        """
        lease_id, token = self.lease_id, self.token
        if lease_id is None or token is None:
            raise Conflict(Message.of("request.kernel_not_running"))
        try:
            with self._silence_noted():
                return function(self._client(timeout_s), lease_id, token)
        except PoolSilent:
            raise
        except PoolUnreachable:
            return function(ensure_pool(), lease_id, token)

    def release(self) -> None:
        """Release the lease, and the one that the kernel requested itself, or that was requested without an answer.

        Where the pool manager does not answer, that is repeated in the background; other failures are logged.
        """
        with self.lock:
            lease_id, self.lease_id = self.lease_id, None
            request, self._unanswered = self._unanswered, None
            if lease_id is None and request is None:
                return
            release = partial(self._release_all, lease_id, request, self.token)
            try:
                if request is not None or self._was_silent:
                    raise PoolSilent(Message.of("pool.silent", seconds=round(TIMEOUT_S)))
                release(ensure_pool(timeout_s=5.0))
            except PoolUnreachable as error:
                self._log.warning("Lease %s is not released yet: %s It is tried again.", lease_id, _logged(error))
                repeat_until_answered(lambda: release(PoolClient(pool_socket())))
            except FastGPUError as error:
                self._log.warning("Lease %s was not released: %s It ends with its process.", lease_id, _logged(error))
            self.token = None
            remove_token_file(self.kernel_id)

    def _release_all(
        self,
        lease_id: str | None,
        request: Callable[[PoolClient], LeaseView] | None,
        token: str | None,
        client: PoolClient,
    ) -> None:
        if request is not None:
            lease_id = request(client)["id"]
        with contextlib.suppress(NotFound):
            client.release(str(lease_id), token)
        for view in self._live_leases(client):
            client.release(view["id"], token)

    def expect_answers(self) -> None:
        """Wait for the next call as long as for the first one, because the user tries again."""
        self._silent_at = -SILENCE_S

    @property
    def _was_silent(self) -> bool:
        return time.monotonic() - self._silent_at < SILENCE_S

    def _client(self, timeout_s: float) -> PoolClient:
        """Return a client whose calls take ``timeout_s`` at most, and less where the pool manager was just silent."""
        return PoolClient(pool_socket(), min(timeout_s, AGAIN_S) if self._was_silent else timeout_s)

    @contextlib.contextmanager
    def _silence_noted(self) -> Iterator[None]:
        """Remember whether the pool manager answered a call."""
        try:
            yield
        except PoolSilent:
            self._silent_at = time.monotonic()
            raise
        self.expect_answers()

    def adopt(self, lease_id: str | None, *, is_of_cluster: bool = False) -> None:
        """Take over the lease of a kernel, with the token in the kernel's token file."""
        self.lease_id, self.is_of_cluster = lease_id, is_of_cluster
        try:
            self.token = token_path(self.kernel_id).read_text()
        except OSError:
            self.token = None


def _request(client: PoolClient, *, kernel_id: str, wanted: Wanted, token: str, key: str) -> LeaseView:
    """Request a lease; repeated with the same key that returns the same lease."""
    return client.request(
        wanted.size, wanted.memory_bytes, kernel_id, wanted.notebook, token=token, key=key, options=wanted.options
    )


async def wait_for_grant(
    client: PoolClient,
    view: LeaseView,
    timeout_s: float,
    is_abandoned: Callable[[], bool],
    in_vain: Callable[[LeaseView, float], LimitReached] | None = None,
) -> LeaseView:
    """Return the granted lease of a kernel whose start waits for it.

    Raises what ``in_vain`` returns, by default an error with the position, after ``timeout_s``, :class:`LimitReached`
    when the server stops, and :class:`Conflict` if the lease ends.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while view["state"] not in ({LeaseState.ACTIVE} | OVER):
        left_s = deadline - loop.time()
        if is_abandoned():
            raise LimitReached(Message.of("launch.server_stopping"))
        if left_s <= 0:
            raise (in_vain or _waited_in_vain)(view, timeout_s)
        wait_ms = int(min(left_s, WAIT_STEP_S) * 1000) + 1
        view = await in_thread(client.lease, view["id"], wait_ms, view["version"])
    if view["state"] in OVER:
        raise Conflict(Message.of("launch.ended_before_start", reason=_why_ended(view)))
    return view


def _waited_in_vain(view: LeaseView, waited_s: float) -> LimitReached:
    position, explanation = position_of(view), sentences_of(explanation_of(view)) or ""
    seconds = f"{waited_s:g}"
    if position is None:
        return LimitReached(Message.of("launch.not_prepared_in_time", seconds=seconds, explanation=explanation))
    return LimitReached(
        Message.of("launch.not_granted_in_time", seconds=seconds, position=position, explanation=explanation)
    )


def lease_ended(view: LeaseView | None) -> Message:
    """Return the sentence that the lease of a kernel has ended, and why."""
    return Message.of("launch.lease_ended", reason="" if view is None else _why_ended(view))


def _why_ended(view: LeaseView) -> str:
    """Return the reason of a lease's end, and what is known of it beside that."""
    return sentences_of(end_of(view)) or ""


def _is_of_cluster(view: LeaseView) -> bool:
    return view.get("cluster") is not None  # older pool managers do not have the field


def _logged(error: FastGPUError) -> str:
    """Return an error for a line of the server's log."""
    return printable(text_of(error))
