"""The schemas of leases on a cluster: the job in the engine, the kernel on its host, and what the cluster offers."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import msgspec

from .common import TEXT_MAX, Count, MessageView, Positive, Text, one_of

ClusterJobStateName = Annotated[str, one_of(("submitting", "queued", "starting", "running", "ending", "over"))]
RemoteKernelStateName = Annotated[str, one_of(("starting", "running", "ended"))]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
#: An argument or the value of a variable of a kernel; Linux itself allows 128 KiB.
ARGUMENT_MAX = 2**17 - 1
_Argument = Annotated[str, msgspec.Meta(max_length=ARGUMENT_MAX, pattern="^[^\\u0000]*$")]
_FileName = Annotated[str, msgspec.Meta(pattern="^[a-z_.]{1,32}$")]
_File = Annotated[str, msgspec.Meta(max_length=2**16)]
#: A signal of a kernel; those of real time are left out.
_Signal = Annotated[int, msgspec.Meta(ge=1, le=31)]


class ClusterBody(TypedDict, total=False):
    """The options of a request in the words of the engine; what is ``null`` or empty is the pool's default."""

    partition: Text | None
    account: Text | None
    qos: Text | None
    constraint: Text | None
    time_limit_ms: Count | None


class RemoteKernelView(TypedDict):
    """The kernel on the host of the lease; ``exit_code`` is negative where a signal ended it.

    ``generation`` says which start it is about, as in the answer to that; it is 1 for the first one, and one more for
    each further one. ``pid`` is on that host.
    """

    state: RemoteKernelStateName
    generation: Positive
    pid: Count | None
    exit_code: int | None
    started_at: Count | None


class LeaseClusterView(TypedDict):
    """The job of a lease in the engine.

    ``state``: it is being submitted; it waits in the engine's queue; the engine started it and its host has not
    reported yet; it runs; it is being ended; it is over. ``reason`` is why it waits or ended, in the engine's words,
    made plain, ``position`` its place in the engine's queue and ``starts_at`` the expected start, ``null`` where the
    engine does not say. ``ends_at``: when the engine ends it. ``message``: what its user should know now, such as
    that it ends soon, or since when the engine does not answer. ``kernel`` is ``null`` before its host has reported.
    ``launcher``: the beginning of a command with which another program runs on the GPU of the lease, while that is
    granted.
    """

    engine: str
    job_id: str | None
    job_name: str
    host: str | None
    partition: str
    account: str
    qos: str
    constraint: str
    time_limit_ms: Count | None
    ends_at: Count | None
    state: ClusterJobStateName
    reason: MessageView | None
    position: Positive | None
    starts_at: Count | None
    message: MessageView | None
    kernel: RemoteKernelView | None
    launcher: list[str] | None


class ClusterKindView(TypedDict):
    """GPUs of one model in one partition; ``memory_bytes`` of one GPU is ``null`` where it is not known."""

    partition: str
    model: str
    per_node_max: Positive
    nodes: Count
    shards_per_gpu: Positive | None
    mig: list[str]
    time_limit_max_ms: Count | None
    default_partition: bool
    memory_bytes: Count | None


class PoolClusterView(TypedDict):
    """The engine that grants the leases of this pool.

    ``unanswered_since``: nothing is known of its jobs since then, because it does not answer; ``null`` while it does.
    ``kinds`` is what it offered when it was last asked, ``null`` where it has not answered yet.
    """

    engine: str
    version: str | None
    simulated: bool
    unanswered_since: Count | None
    message: MessageView | None
    kinds: list[ClusterKindView] | None
    partitions: list[str]
    time_limit_default_ms: Count | None


class _KernelBodyRequired(TypedDict):
    argv: Annotated[list[_Argument], msgspec.Meta(min_length=1, max_length=256)]
    env: Annotated[dict[str, _Argument], msgspec.Meta(max_length=1024)]
    cwd: Annotated[str, msgspec.Meta(max_length=TEXT_MAX)] | None
    restart: bool
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class KernelBody(_KernelBodyRequired, total=False):
    """A kernel to start on the host of the lease: its command, environment, folder, and the key of its messages.

    ``env`` is what is added to the environment of the job. ``files`` are written, private, into a folder of the kernel
    before each start, by name. In ``argv`` and in the values of ``env``, ``{connection_file}`` stands for the path of
    the connection file, ``{folder}`` for that folder and ``{relay}`` for a socket there that leads to this pool
    manager. ``encryption``: of the channels, by default where the kernel can. ``restart``: end the kernel that runs,
    and start this one with its ports and keys.
    """

    files: Annotated[dict[_FileName, _File], msgspec.Meta(max_length=8)] | None
    encryption: Annotated[str, one_of(("auto", "required", "disabled"))] | None


class KernelSignalBody(TypedDict):
    """The number of a signal for all processes of the kernel."""

    signum: _Signal


class KernelConnectionView(TypedDict):
    """How to talk to the kernel, as in a connection file, and its process on that host; secret."""

    transport: Literal["tcp"]
    ip: str
    shell_port: Port
    iopub_port: Port
    stdin_port: Port
    control_port: Port
    hb_port: Port
    key: str
    signature_scheme: str
    curve_publickey: str | None
    curve_secretkey: str | None
    pid: Positive
    generation: Positive
    started_at: Count
