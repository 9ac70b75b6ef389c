"""What agents say and are asked, on the wire: checked when it comes in, because nodes are not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

Short = Annotated[str, msgspec.Meta(max_length=256)]
Text = Annotated[str, msgspec.Meta(max_length=4096)]
#: The id of a job gets into commands of the engine: none is an option.
JobId = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?\Z")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
#: Sums of all of a message fit into what the interface can say.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**48)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
ExitCode = Annotated[int, msgspec.Meta(ge=-256, le=2**32)]
DEVICES_MAX = 64
PORT_NAMES = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

KernelPhase = Literal["starting", "running", "ended"]


class KernelState(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The kernel of an agent: the newest one it started."""

    generation: Count  #: 1 for the first kernel of the agent, one more for each restart
    state: KernelPhase
    pid: Count  #: on the node
    exit_code: ExitCode | None  #: negative for a signal, as in :mod:`subprocess`
    age_s: Seconds  #: by the node's own clock
    output: Text = ""  #: the end of its standard output and error, once it has ended


class NodeDevice(msgspec.Struct, frozen=True):
    """A device that the agent's job sees, as its driver says."""

    index: Count
    uuid: Short
    model: Short
    memory_bytes: Count | None


class KernelConnection(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a client reaches the channels of a kernel; the key and the curve keys are secret."""

    transport: Literal["tcp"]
    ip: Short
    key: Short
    signature_scheme: Short
    kernel_name: Short
    shell_port: Port
    iopub_port: Port
    stdin_port: Port
    control_port: Port
    hb_port: Port
    curve_publickey: Short = ""
    curve_secretkey: Short = ""

    def info(self) -> dict[str, Any]:
        """Return it as Jupyter's connection info, without curve keys where the channels are not encrypted."""
        return dict(msgspec.to_builtins(self))


class AgentHello(msgspec.Struct, frozen=True):
    """How an agent introduces itself, after each time that the pool manager does not know it."""

    protocol: int
    instance: Short
    host: Short
    address: Short  #: of the node, as it reaches the pool manager; "" if unknown
    pid: Count
    job_id: JobId
    variables: Annotated[dict[Short, Text], msgspec.Meta(max_length=64)]
    python: Short
    kernel: KernelState | None
    connection: KernelConnection | None
    devices: Annotated[tuple[NodeDevice, ...], msgspec.Meta(max_length=DEVICES_MAX)] | None = None  #: None: unknown


class DeviceUse(msgspec.Struct, frozen=True):
    """What the driver says about a device now; None is unknown."""

    uuid: Short
    utilization_percent: Count | None
    memory_used_bytes: Count | None
    memory_total_bytes: Count | None
    #: Of the kernel and its children, by pid on the node.
    memory_by_process: Annotated[dict[Count, Count], msgspec.Meta(max_length=256)] | None


class AgentBeat(msgspec.Struct, frozen=True):
    """The state of an agent, every 2 s and after each change."""

    instance: Short
    kernel: KernelState | None
    devices: Annotated[tuple[DeviceUse, ...], msgspec.Meta(max_length=DEVICES_MAX)] | None = None


class AgentBye(msgspec.Struct, frozen=True):
    """An agent ends; the job ends with it."""

    instance: Short
    reason: Short


class AgentError(msgspec.Struct, frozen=True):
    """Why a command was not carried out."""

    code: Short
    text: Text = ""


class AgentAnswer(msgspec.Struct, frozen=True):
    """The answer to a command: a result or an error."""

    instance: Short
    id: Short
    result: dict[str, Any] | None = None
    error: AgentError | None = None


class Started(msgspec.Struct, frozen=True):
    """The result of a start on the wire."""

    pid: Count
    generation: Count
    connection: KernelConnection


class RelayMessage(msgspec.Struct, frozen=True):
    """About connection ``c`` of a process on the node: opened, data in the second part, ``n`` bytes read, closed."""

    op: Literal["open", "data", "ack", "close"]
    c: Count
    n: Count = 0


class KernelStart(NamedTuple):
    """What is started.

    In ``argv`` and the values of ``env``, ``{connection_file}``, ``{folder}`` (private, on the node) and ``{relay}``
    (the socket that leads to the pool manager) are replaced on the node. ``files`` are written into that folder before
    each start, readable only by the user. For a restart, ``ports`` and ``curve`` (public and secret key) are those of
    the first start.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    key: str
    kernel_name: str = ""
    encryption: Literal["disabled", "auto", "required"] = "auto"
    files: Mapping[str, str] = MappingProxyType({})
    restart: bool = False
    ports: dict[str, int] | None = None
    curve: tuple[str, str] | None = None
    timeout_s: float = 60.0


class KernelStarted(NamedTuple):
    """A kernel that has its ports: Jupyter's connection info, its process on the node, and which one it is."""

    connection: dict[str, Any]
    pid: int
    generation: int


class Incoming(msgspec.Struct, frozen=True):
    """The part of a message that says what it is."""

    op: Literal["hello", "beat", "bye", "answer", "open", "data", "ack", "close"]
