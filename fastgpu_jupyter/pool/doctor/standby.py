"""What ``jupyter fastgpu doctor`` says of standby kernels: how many there are, and why starts were cold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import FastGPUError, Message
from ...wire import standby_status
from ...wire.client import PoolClient
from ...wire.locate import pool_socket
from ...wire.pressure import SYSTEM, read_pressure
from ...wire.schemas import StandbyList
from ...wire.standby_status import ColdStarts, StandbyStatus, refused_sentence
from ..devices.diagnosis import DoctorFinding, FindingState

#: How long the pool manager may take to answer.
ANSWER_S = 2.0
#: The bounds because of which there was none, beside those that are reasons themselves.
BOUNDS = (
    "cpu_busy",
    "launching",
    "low_memory",
    "not_seen",
    "own_limit",
    "pressure",
    "server_idle",
    "too_many_servers",
    "unknown_memory",
)
#: The reasons of cold starts that are shown, the most frequent first.
REASONS_MAX = 6


@dataclass(frozen=True, slots=True)
class StandbyFacts:
    """The standby kernels of this user."""

    kernels: StandbyList | None  #: what the pool manager counts; ``None``: it does not answer, or is older
    servers: Sequence[StandbyStatus] = ()  #: what this user's Jupyter servers say
    pressure_known: bool = True  #: whether the system tells how long processes wait for memory


def gather() -> StandbyFacts:
    """Return the facts. Starts no pool manager, and waits for one at most ``ANSWER_S``."""
    try:
        kernels = PoolClient(pool_socket(), timeout_s=ANSWER_S).standby_kernels()
    except FastGPUError:
        kernels = None
    pressure = read_pressure(SYSTEM / "memory")
    return StandbyFacts(kernels, tuple(standby_status.read()), pressure is not None)


def findings(facts: StandbyFacts) -> Iterator[DoctorFinding]:
    """Yield the findings; none where no Jupyter server runs and no standby kernel is known."""
    if not facts.servers and not (facts.kernels and facts.kernels["host"]["count"]):
        return
    yield _kernels(facts)
    if not facts.pressure_known:
        subject = Message.of("standby.doctor_pressure")
        yield DoctorFinding(subject, FindingState.OFF, Message.of("standby.doctor_pressure_unknown"))
    for server in facts.servers:
        yield from _starts(server)


def _kernels(facts: StandbyFacts) -> DoctorFinding:
    subject = Message.of("standby.doctor_kernels")
    if facts.kernels is None:
        count = sum(server.waiting for server in facts.servers)
        return DoctorFinding(subject, FindingState.OFF, Message.of("standby.doctor_unbounded", count=count))
    own, host = facts.kernels["kernels"], facts.kernels["host"]
    if host["budget_bytes"] == 0:
        return DoctorFinding(subject, FindingState.OFF, Message.of("standby.off"))
    return DoctorFinding(
        subject,
        FindingState.OK,
        Message.of(
            "standby.doctor_count",
            count=len(own),
            own_bytes=sum(kernel["memory_bytes"] for kernel in own),
            host_count=host["count"],
            host_bytes=host["memory_bytes"],
            budget=_budget(host["budget_bytes"]),
        ),
    )


def _budget(limit_bytes: int | None) -> Message:
    if limit_bytes is None:
        return Message.of("standby.unknown_memory")
    return Message.of("standby.doctor_budget", limit_bytes=limit_bytes)


def _starts(server: StandbyStatus) -> Iterator[DoctorFinding]:
    cold = sorted(server.cold, key=lambda one: -one.times)
    starts = server.hits + sum(one.times for one in cold)
    subject = Message.of("standby.doctor_starts", pid=str(server.pid))
    if cold:
        reasons = tuple(map(_reason, cold[:REASONS_MAX]))
        used = Message.of("standby.doctor_used", hits=server.hits, starts=starts, reasons=reasons)
        yield DoctorFinding(subject, FindingState.OK, used)
    elif starts:
        yield DoctorFinding(subject, FindingState.OK, Message.of("standby.doctor_all_used", starts=starts))
    for kernelspec, refusal in server.refused:
        subject = Message.of("standby.doctor_preload", pid=str(server.pid))
        yield DoctorFinding(subject, FindingState.OFF, refused_sentence(kernelspec, refusal))


def _reason(cold: ColdStarts) -> Message:
    bound = cold.what.removeprefix("standby.")
    is_bound = bound in BOUNDS and bound != cold.what
    return Message.of(
        "standby.doctor_reason",
        times=cold.times,
        kernelspec=cold.kernelspec,
        reason=Message(f"cold.{bound if is_bound else cold.reason}"),
        what="" if is_bound or not cold.what else f"({cold.what})",
    )
