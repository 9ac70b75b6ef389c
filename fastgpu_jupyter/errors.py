"""The one exception tree of FastGPU.

    FastGPUError
    ├── CallerError        the request cannot be served as it was made
    │   ├── InvalidRequest     malformed or out of bounds
    │   ├── NotFound           no such lease, device or profile
    │   ├── Forbidden          the caller may not do that
    │   ├── Conflict           the lease is in a state that does not allow it
    │   │   └── NeedsRestart       only a new kernel process could have it so
    │   └── NoSuchDevice       no device of this pool could ever serve it
    ├── LimitReached       a limit of the pool; try again later
    ├── PoolUnreachable    nobody serves the socket, or somebody who should not
    ├── HostFault          a device, a driver or a process did not do what it should
    ├── StoreFault         the journal cannot be read or written
    └── InternalError      a bug: an invariant does not hold

Each class has a ``code`` (stable, for programs), an HTTP ``status`` and, as its text, one or two sentences that say
what happened and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class FastGPUError(Exception):
    """Base of all errors that FastGPU raises on purpose; ``str(error)`` is a sentence for the user."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500


class CallerError(FastGPUError):
    """The request cannot be served as it was made."""

    code = "caller_error"
    status = 400


class InvalidRequest(CallerError):
    """Malformed or out of bounds."""

    code = "invalid_request"


class NotFound(CallerError):
    """There is no such thing, or none that this caller may know of."""

    code = "not_found"
    status = 404


class Forbidden(CallerError):
    """The caller may not do that."""

    code = "forbidden"
    status = 403


class Conflict(CallerError):
    """The state of the lease does not allow it."""

    code = "conflict"
    status = 409


class NeedsRestart(Conflict):
    """What was asked for can be had, but only by a kernel that is started anew."""

    code = "needs_restart"


class NoSuchDevice(CallerError):
    """No device of this pool could ever serve the request, however long it waited."""

    code = "no_such_device"
    status = 422


class LimitReached(FastGPUError):
    """A limit of the pool is reached; the same request may succeed after ``retry_after_s``."""

    code = "limit_reached"
    status = 429

    def __init__(self, sentence: str, retry_after_s: int = 5) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class PoolUnreachable(FastGPUError):
    """Nobody serves the socket, or somebody who should not."""

    code = "pool_unreachable"
    status = 503


class HostFault(FastGPUError):
    """A device, a driver or a process did not do what it should."""

    code = "host_fault"
    status = 502


class StoreFault(FastGPUError):
    """The journal cannot be read or written."""

    code = "store_fault"
    status = 507


class InternalError(FastGPUError):
    """A bug: an invariant does not hold, or an event does not fit the state."""

    code = "internal_error"
    status = 500


def by_code() -> dict[str, type[FastGPUError]]:
    """Every class of the tree by its code, so that a client raises what the pool raised."""
    found: dict[str, type[FastGPUError]] = {}
    pending: list[type[FastGPUError]] = [FastGPUError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
