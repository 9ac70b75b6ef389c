"""The one exception tree of FastGPU, and the messages that errors and leases carry.

    FastGPUError
    ├── CallerError        the request cannot be served as it was made
    │   ├── InvalidRequest     malformed or out of bounds
    │   ├── NotFound           no such lease, device or size
    │   ├── Forbidden          the caller may not do that
    │   ├── Conflict           the lease is in a state that does not allow it
    │   │   └── NeedsRestart       only a new kernel process could have it so
    │   ├── NoSuchDevice       no device of this pool could ever serve it
    │   └── VersionMismatch    the two sides are of versions that do not understand each other
    ├── LimitReached       a limit of the pool; try again later
    ├── PoolUnreachable    no pool manager serves the socket, or the wrong one does
    │   └── PoolSilent         it serves the socket and does not answer in time
    │       └── OutcomeUnknown     a change was sent to it and may have been done
    ├── DispatcherUnreachable  no dispatcher of jobs serves the socket, or the wrong one does
    ├── HostFault          a device, a driver or a process did not do what it should
    │   └── EngineUnavailable  the engine of the cluster does not answer
    ├── StoreFault         the journal cannot be read or written
    └── InternalError      a bug: an invariant does not hold

Each class has a ``code`` (stable, for programs) and an HTTP ``status``. An error that is meant for users is made from a
:class:`Message`: a code with parameters, for which :mod:`fastgpu_jupyter.messages` has the sentence. Errors that only
an administrator or a developer reads may be made from text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Union

#: The value of a parameter: a text, a number or a message, or several texts or messages.
Param = Union[str, int, "Message", tuple[Union[str, "Message"], ...]]


@dataclass(frozen=True, slots=True)
class Message:
    """A statement for users as a code with parameters; :func:`fastgpu_jupyter.messages.render` makes a sentence of it.

    The name of a parameter ends with the unit of its value where it has one, as in ``used_bytes`` or ``grace_ms``.
    """

    code: str
    params: Mapping[str, Param] = field(default_factory=dict)

    @classmethod
    def of(cls, code: str, /, **params: Param) -> Message:
        """Return a message; ``code`` is a literal wherever this is called, so that a test finds every code."""
        return cls(code, params)

    @classmethod
    def of_text(cls, text: str) -> Message:
        """Return a message with a text that a device, a driver or the system said."""
        return cls("host.detail", {"text": text})

    @classmethod
    def of_optional(cls, text: str | None) -> Message | None:
        """Return a message with such a text; ``None`` stays ``None``."""
        return None if text is None else cls.of_text(text)

    def __str__(self) -> str:
        """Return code and parameters, for logs; not for users."""
        params = ", ".join(f"{name}={value!s}" for name, value in self.params.items())
        return f"{self.code} ({params})" if params else self.code


@dataclass(frozen=True, slots=True)
class ReceivedMessage(Message):
    """A message from another process, with the English sentence that came with it."""

    text: str = ""

    @classmethod
    def from_view(cls, view: Mapping[str, Any]) -> ReceivedMessage:
        """Return the message that a view on the wire holds. Raises :class:`KeyError` where it has not all fields."""

        def param(value: Any) -> Any:
            if isinstance(value, Mapping):
                return cls.from_view(value)
            return tuple(map(param, value)) if isinstance(value, list) else value

        return cls(view["code"], {name: param(value) for name, value in view["params"].items()}, str(view["text"]))

    def __str__(self) -> str:
        """Return the English sentence, for logs."""
        return self.text


class FastGPUError(Exception):
    """Base of all errors that FastGPU raises on purpose.

    ``fastgpu_jupyter.messages.text_of`` returns the sentence for the user; ``str`` of an error that was made from a
    message is its code with parameters.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: Message | str | None = None) -> None:
        super().__init__(message or "")

    @property
    def message(self) -> Message:
        """The message that the error was made from, or one that holds its text."""
        (given,) = self.args
        return given if isinstance(given, Message) else Message.of_text(str(given))


class CallerError(FastGPUError):
    """The request cannot be served as it was made."""

    code = "caller_error"
    status = 400


class InvalidRequest(CallerError):
    """The request is malformed or out of bounds."""

    code = "invalid_request"


class NotFound(CallerError):
    """The thing does not exist, or this caller may not know of it."""

    code = "not_found"
    status = 404


class Forbidden(CallerError):
    """The caller may not do that."""

    code = "forbidden"
    status = 403


class Conflict(CallerError):
    """The state of the lease does not allow the request."""

    code = "conflict"
    status = 409


class NeedsRestart(Conflict):
    """The request can only be served after a restart of the kernel."""

    code = "needs_restart"


class NoSuchDevice(CallerError):
    """No device of this pool could ever serve the request, however long it waited."""

    code = "no_such_device"
    status = 422


class VersionMismatch(CallerError):
    """The two sides of an exchange are of versions that do not understand each other."""

    code = "version_mismatch"


class LimitReached(FastGPUError):
    """A limit of the pool is reached; the same request may succeed after ``retry_after_s``."""

    code = "limit_reached"
    status = 429

    def __init__(self, message: Message | str = "", retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PoolUnreachable(FastGPUError):
    """No pool manager serves the socket, or the process that serves it is not to be trusted."""

    code = "pool_unreachable"
    status = 503


class PoolSilent(PoolUnreachable):
    """The pool manager that serves the socket has not answered in time; no other one can be started."""

    code = "pool_silent"
    status = 504


class OutcomeUnknown(PoolSilent):
    """A change was sent to the pool manager, which has not answered in time; the change may have been done."""

    code = "outcome_unknown"


class DispatcherUnreachable(FastGPUError):
    """No dispatcher of jobs answers, and none could be started."""

    code = "dispatcher_unreachable"
    status = 503


class HostFault(FastGPUError):
    """A device, a driver or a process did not do what it should."""

    code = "host_fault"
    status = 502


class EngineUnavailable(HostFault):
    """The engine of the cluster does not answer: nothing is known of its jobs, and nothing changes."""

    code = "engine_unavailable"


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
