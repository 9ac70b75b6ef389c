"""The schemas of the messages of the event streams: the pool's, and the Jupyter server's for the browser."""

from __future__ import annotations

from typing import Literal, TypedDict

from .common import Count, Integer
from .device import DeviceReading, DeviceView
from .jobs import JobsEvent
from .lease import LeaseReading, LeaseView
from .pool import PoolView, QueueEntryView, StatusView


class SnapshotMessage(StatusView):
    """The whole status: the first message of a stream, and the message after a change of the pool manager itself."""

    type: Literal["snapshot"]
    seq: Count


class _ChangedMessageRequired(TypedDict):
    type: Literal["changed"]
    seq: Count
    devices: list[DeviceView]
    leases: list[LeaseView]
    queue: list[QueueEntryView]


class ChangedMessage(_ChangedMessageRequired, total=False):
    """The changed devices and leases, and the whole queue; ``pool`` in the stream of one lease.

    A waiting lease whose position alone has changed is in the queue only.
    """

    pool: PoolView


class UsageMessage(TypedDict):
    """The last reading of devices and leases, once a second."""

    type: Literal["usage"]
    devices: list[DeviceReading]
    leases: list[LeaseReading]


class KeepaliveMessage(TypedDict):
    """A message without content, sent when there has been no other for a while."""

    type: Literal["keepalive"]


class UnreachableMessage(TypedDict):
    """The Jupyter server gets no answer from the pool manager; the next snapshot ends this.

    ``since`` is when the last message of the pool manager came, in wall-clock milliseconds of the server.
    """

    type: Literal["unreachable"]
    message: str
    since: Integer | None


class JobsMessage(JobsEvent):
    """The jobs that have changed; the first message of a stream has all, and ``reset``."""

    type: Literal["jobs"]


class JobsUnreachableMessage(TypedDict):
    """The Jupyter server gets no answer from the dispatcher of jobs; the next message about jobs ends this.

    ``since`` is when its last message came, in wall-clock milliseconds of the server.
    """

    type: Literal["jobs_unreachable"]
    message: str
    since: Integer | None


class ErrorView(TypedDict):
    """An error of the Jupyter server's interface: ``message`` is a sentence for the user."""

    message: str
    code: str
    detail: str
