"""The schemas of standby kernels, whose memory the pool manager limits for the whole host."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from .common import Count, MessageView
from .requests import Pid

#: The standby kernels that one Jupyter server may have.
KERNELS_MAX = 32


class StandbyKernelBody(TypedDict):
    """A standby kernel: a child of the calling server, identified by number and start time in clock ticks since boot.

    ``memory_bytes`` is its memory with each shared page counted by its part; ``null`` where the server cannot read it.
    """

    pid: Pid
    start_time: Count
    memory_bytes: Count | None


class StandbyBody(TypedDict):
    """All standby kernels of the calling server, those first that it would rather keep.

    ``wanted_bytes`` is the memory that one more would take, which it starts next or starts now; ``null`` for none.
    """

    kernels: Annotated[list[StandbyKernelBody], msgspec.Meta(max_length=KERNELS_MAX)]
    wanted_bytes: Count | None


class StandbyKernelAnswer(TypedDict):
    """What holds for one reported standby kernel: its memory as the pool manager counts it, and why it must end.

    ``memory_bytes`` is ``null`` for a process that is no child of the caller, or has ended.
    """

    pid: Pid
    memory_bytes: Count | None
    refusal: MessageView | None


class StandbyTotals(TypedDict):
    """The standby kernels of the whole host; ``budget_bytes`` is ``null`` where the host's memory is not known."""

    count: Count
    memory_bytes: Count
    budget_bytes: Count | None


class StandbyAnswer(TypedDict):
    """Which standby kernels of the caller may stay, and why it may not start the one that it wants."""

    kernels: list[StandbyKernelAnswer]
    refusal: MessageView | None
    host: StandbyTotals


class StandbyKernelView(TypedDict):
    """A standby kernel of the caller's user."""

    pid: Pid
    server_pid: Pid
    memory_bytes: Count


class StandbyList(TypedDict):
    """The standby kernels of the caller's user, and those of the whole host together."""

    kernels: list[StandbyKernelView]
    host: StandbyTotals
