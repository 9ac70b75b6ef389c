"""What ``jupyter fastgpu doctor`` has of each device driver: facts about the machine and the findings that follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ...errors import Message


class FindingState(StrEnum):
    """The state of one part of the machine."""

    OK = "ok"
    OFF = "off"  #: not available here, and nothing is wrong with that
    BROKEN = "broken"  #: it should work


class DoctorFinding(NamedTuple):
    """One finding: its subject, the state of that, the reason, and a command or advice that changes it."""

    subject: Message
    state: FindingState
    detail: Message
    remedy: Message | None = None


class DoctorVerdict(Enum):
    """Whether GPUs can be leased; the value is the exit status, as of ``jupyter fastgpu probe``."""

    SERVES = 0
    NO_DRIVER = 3
    BROKEN = 4


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What does not depend on the kind of GPU. ``None`` means that it could not be found out."""

    system: str  #: like ``Linux``
    kernel: str
    root: bool
    cgroup: int | None = None  #: version of the control groups, 1 or 2; ``None``: none is mounted
    dmem: bool = False  #: whether the kernel accounts device memory by control group
    pid_namespace: bool | None = None  #: whether this process sees only some of the machine's processes
    memory_bytes: int = 0
    device_access_refusal: Message | None = None  #: why access to device files cannot be restricted; ``None``: it can


class DriverDoctor(Protocol):
    """The diagnosis of one kind of GPU. ``facts`` are a dataclass of its own."""

    def gather(self, root: Path) -> Any:
        """Return the facts about the machine whose files are below ``root``. Reads only and never waits for long."""

    def verdict(self, facts: Any) -> DoctorVerdict:
        """Return whether GPUs of this kind can be leased."""

    def findings(self, host: HostFacts, facts: Any) -> Iterator[DoctorFinding]:
        """Yield all findings, those first on which others depend."""


def command(line: str) -> Message:
    """Return a remedy that is a command, or an address, which are the same in all languages."""
    return Message.of_text(line)
