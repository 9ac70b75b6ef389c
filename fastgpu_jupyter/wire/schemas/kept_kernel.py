"""What a Jupyter server writes down of a kernel that may outlive it, for the server that adopts the kernel.

Fields that later versions add have a default, and fields that are not known are ignored: the server that adopts a
kernel may be an older or a newer version. No field is a secret: the key of the kernel's messages stays in the
connection file, the token of its lease in the token file, and the values of environment variables are not recorded.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec

from .common import one_of

Count = Annotated[int, msgspec.Meta(ge=0)]
#: The number of this format; a record with a higher one is left as it is.
VERSION = 1
#: That of a kernel on another host: servers that know local kernels only would take it for one that has ended.
REMOTE_VERSION = 2


class RecordedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is identified also after its number is used again."""

    boot_id: str
    pid: Count
    start_time: Count  #: in clock ticks since boot


class RecordedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of the Jupyter server: what a browser has open with the kernel."""

    id: str
    path: str | None = None
    name: str | None = None
    type: str | None = None


class RecordedLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """What a later restart of the kernel needs beside the environment of the server that restarts it."""

    cmd: list[str] = []
    cwd: str | None = None
    #: The value of ``JPY_SESSION_NAME``.
    session_name: str | None = None
    #: The arguments of ``KernelManager.start_kernel`` that JSON can hold, but for the environment and the kernel's id.
    arguments: dict[str, Any] = {}


class RecordedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user chose for the kernel, which a later launch requests again."""

    size: str | None = None
    options: dict[str, Any] = {}


class KeptKernel(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one kernel that may outlive its server."""

    version: Count = VERSION
    kernel_id: str
    kernelspec: str
    user: Count  #: the number of the user
    root: str  #: the server's root folder, without symbolic links
    #: The address of the server at its JupyterHub, where a user may have several of the same root folder.
    hub_prefix: str | None = None
    keep: Literal["crash", "always"]
    orphan_after_s: Annotated[float, msgspec.Meta(ge=0)]
    server: RecordedProcess
    #: None while the process is being started; then the kernel's own file says which process it is, if it runs.
    kernel: RecordedProcess | None = None
    pgid: Count | None = None
    connection_file: str
    launch: RecordedLaunch = RecordedLaunch()
    chosen: RecordedRequest = RecordedRequest()
    lease_id: str | None = None
    #: The kernel runs on the host of its lease, which is all that identifies it.
    remote: bool = False
    notebook: str | None = None
    sessions: list[RecordedSession] = []
    #: The kernel ends because it is being restarted: a server that finds no process starts one.
    restarting: bool = False
    #: The server was stopped and left the kernel to the next one, as opposed to a server that was killed.
    detached: bool = False
    created_at: Count  #: in milliseconds since the epoch


KEPT_STATES = ("starting", "running", "waiting", "idle", "unknown")
KeptKernelStateName = Annotated[str, one_of(KEPT_STATES)]


class KeptKernelView(TypedDict):
    """A kernel that runs on without a server, for lists; ``null`` is what is not known."""

    kernel_id: str
    kernelspec: str
    notebook: str | None
    root: str
    #: A cell runs, waits for its GPU, or neither.
    state: KeptKernelStateName
    #: Since when no server is there, and when the kernel ends if none adopts it.
    since: int | None
    ends_at: int | None
    lease_id: str | None
    #: Of its process, in host memory.
    memory_bytes: Count | None


class KeptKernelList(TypedDict):
    """The user's kernels that run on without a server, those first that have done so for the longest time."""

    kernels: list[KeptKernelView]
