"""The protocol of engines: submit a job for a lease, ask for the status of jobs, cancel, list.

All methods block. They are called in one thread of the service, never two at once; each adapter bounds the time of each
of its calls. An engine that does not answer raises :class:`~fastgpu_jupyter.errors.EngineUnavailable`: nothing is known
then, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ...core.model.entities import ClusterRequest
from ...errors import Message


class Want(NamedTuple):
    """What a lease needs of an engine."""

    gpus: int  #: whole GPUs of one host; 1 where ``fraction`` or ``partition_profile`` is set
    models: tuple[str, ...] = ()  #: acceptable models in lower case; empty: any
    fraction: tuple[int, int] | None = None  #: numerator and denominator of a part of one GPU
    memory_bytes_min: int | None = None  #: of each GPU, or of the part of one
    partition_profile: str | None = None  #: of MIG, such as ``1g.10gb``
    cpu_milli: int = 0  #: thousandths of processor cores; 0: the engine's default
    host_memory_bytes: int = 0  #: 0: the engine's default
    time_limit_ms: int | None = None  #: ``None``: the engine's default
    options: ClusterRequest = ClusterRequest()


class AgentSpec(NamedTuple):
    """The agent that a job runs. Its ``spec`` is secret: it must not get into arguments, environments or logs."""

    source: str  #: the source of the module, of Python
    spec: bytes  #: JSON: the name of the job, addresses, keys, the one-time token


class Queued(NamedTuple):
    """The job waits in the queue of the engine."""

    reason: Message
    position: int | None = None  #: from 1 on; ``None``: not known
    starts_at_ms: int | None = None  #: the expected start on the wall clock; ``None``: not known


class Infeasible(NamedTuple):
    """The engine accepted the job and will never start it."""

    reason: Message


class Running(NamedTuple):
    """The engine has started the job."""

    host: str
    ends_at_ms: int | None = None  #: when the engine ends it, on the wall clock; ``None``: it does not, or not known
    model: str | None = None  #: of its GPUs, as the engine names it; ``None``: the engine does not say
    isolated: bool | None = None  #: whether its processes can open no other GPU of the host; ``None``: not known
    suspended: bool = False  #: it has its GPUs, and its processes are stopped


class Ended(NamedTuple):
    """The job is over, or the engine does not know it any more."""

    reason: Message
    at_ms: int | None = None  #: when it ended, on the wall clock of the engine; ``None``: the engine does not know


Status = Queued | Infeasible | Running | Ended


class GPUKind(NamedTuple):
    """GPUs of one model in one partition of the cluster; advisory, for what a user is offered."""

    partition: str
    model: str  #: as the engine names it
    per_node_max: int
    nodes: int
    shards_per_gpu: int | None = None  #: ``None``: the site has no shards of them
    mig: tuple[str, ...] = ()  #: profiles of MIG instances
    time_limit_max_ms: int | None = None
    default_partition: bool = False
    memory_bytes: int | None = None  #: of one GPU; ``None``: the engine does not say


class Engine(Protocol):
    """A cluster engine, with the rights of the user of this pool manager."""

    name: str  #: as in ``FastGPUPool.cluster``

    def version(self) -> str | None:
        """Return the version of the engine; ``None`` where it is not known. Raises :class:`EngineUnavailable`."""

    def controller(self) -> str | None:
        """Return a host of the engine, to which the route from here leads; ``None`` where there is none.

        Raises :class:`EngineUnavailable`.
        """

    def kinds(self) -> list[GPUKind]:
        """Return the GPUs that this user could ask for. Raises :class:`EngineUnavailable`."""

    def check(self, want: Want) -> int | None:
        """Return when such a job is expected to start (wall clock, ms), ``None`` where that is not known.

        Raises :class:`InvalidRequest` for what can never run, with the engine's reason, and
        :class:`EngineUnavailable`.
        """

    def submit(self, want: Want, agent: AgentSpec, name: str) -> str:
        """Submit a job that runs the agent, and return its id at once, without waiting for resources.

        ``name`` is unique for each attempt. Raises :class:`InvalidRequest` where the engine refuses the job, and
        :class:`EngineUnavailable` where it is not known whether the job was submitted.
        """

    def statuses(self, jobs: Sequence[str]) -> dict[str, Status]:
        """Return the status of each of ``jobs``, by one call of the engine; one that it does not know has ended.

        Jobs of which nothing is known are left out.

        Raises :class:`EngineUnavailable`.
        """

    def running(self, job: str) -> Running | None:
        """Return what one job runs with, ``None`` where it does not run as far as the engine knows.

        It is asked once a lease, when the job's agent has reported. Raises :class:`EngineUnavailable`.
        """

    def launcher(self, job: str) -> Sequence[str]:
        """Return the beginning of a command that runs what follows it on the GPUs of a job that runs.

        The program has the standard streams, the environment and the signals of the command, and ends with it. The
        last words are :data:`~.bootstrap.WITH_DEVICES`. The engine is not asked: this is called in the event loop.
        """

    def cancel(self, job: str) -> None:
        """End a job that waits or runs; harmless where it is over. Raises :class:`EngineUnavailable`."""

    def list(self, prefix: str) -> dict[str, str]:
        """Return the ids of the user's jobs that are not over, by name, whose names begin with ``prefix``.

        Raises :class:`EngineUnavailable`.
        """
