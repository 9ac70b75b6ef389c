"""What ``jupyter fastgpu doctor`` says of a cluster: whether the pool leases its GPUs, and whether it answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import FastGPUError, Message, ReceivedMessage
from ...wire.client import PoolClient
from ...wire.locate import pool_socket
from ...wire.schemas import PoolClusterView
from ..devices.diagnosis import DoctorFinding, FindingState

#: How long the pool manager may take to answer.
ANSWER_S = 2.0
#: The commands that are needed to use Slurm.
SLURM_COMMANDS = ("sbatch", "squeue", "scancel", "sinfo")


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """The engine of the user's pool manager, and the commands of one that are here."""

    view: PoolClusterView | None  #: ``None``: no pool manager serves, or it leases local devices
    missing_commands: tuple[str, ...] = SLURM_COMMANDS

    @property
    def serves(self) -> bool:
        """Return whether GPUs of the cluster can be leased, as far as that is known."""
        return self.view is not None and self.view["unanswered_since"] is None and self.view["message"] is None


def gather() -> ClusterFacts:
    """Return the facts. Starts no pool manager, and waits for one at most ``ANSWER_S``."""
    missing = tuple(name for name in SLURM_COMMANDS if shutil.which(name) is None)
    try:
        view = PoolClient(pool_socket(), timeout_s=ANSWER_S).pool().get("cluster")
    except FastGPUError:
        view = None
    return ClusterFacts(view, missing)


def findings(facts: ClusterFacts) -> Iterator[DoctorFinding]:
    """Yield the finding; none where there is neither a cluster in use nor one that could be."""
    what, view = Message.of("doctor.cluster"), facts.view
    if view is None:
        if not facts.missing_commands:
            yield DoctorFinding(
                what, FindingState.OFF, Message.of("doctor.cluster_not_used"), Message.of("doctor.cluster_use")
            )
        return
    engine = f"{view['engine']} {view['version'] or ''}".strip()
    if (said := view["message"]) is not None:
        reason = ReceivedMessage.from_view(said)
        yield DoctorFinding(
            what, FindingState.BROKEN, Message.of("doctor.cluster_silent", engine=engine, reason=reason)
        )
        return
    kinds = view["kinds"] or []
    models = tuple(dict.fromkeys(kind["model"] for kind in kinds))
    if view["kinds"] is None:
        detail = Message.of("doctor.cluster_unknown", engine=engine)
    elif not models:
        detail = Message.of("doctor.cluster_empty", engine=engine)
    else:
        detail = Message.of(
            "doctor.cluster_answers", engine=engine, models=models, partitions=tuple(view["partitions"])
        )
    yield DoctorFinding(what, FindingState.OK if models else FindingState.BROKEN, detail)
