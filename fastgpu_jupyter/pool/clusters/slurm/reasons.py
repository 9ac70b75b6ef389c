"""What Slurm says of a job, as messages: why it waits, why it ended, and why a request is refused.

The tables have Slurm's own words, which are the same in 20.11, 22.05, 24.11 and 26.05 but for additions. What is in no
table is shown as Slurm says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ....errors import InvalidRequest, Message
from ..bootstrap import NO_INTERPRETER, NO_PYZMQ, SCRIPT_CHANGED
from ..engine import Ended, Infeasible, Queued, Running, Status, Want
from .parse import JobRow


class Subject(NamedTuple):
    """What a message about a job or a request may name."""

    text: str  #: Slurm's own words
    job: str = ""
    host: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    python: str = ""  #: the interpreter of the job


class ScriptExit(NamedTuple):
    """How the script of a job ended."""

    status: int
    signum: int  #: of the signal that ended it; 0: none did


Sentence = Callable[[Subject], Message]

#: States in which a job does not run yet, or again.
WAITS = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
#: States in which a job has its allocation. COMPLETING is one: the allocation is free when it is over.
RUNS = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT", "EXPEDITING"})
#: Those of a job whose processes are stopped.
_SUSPENDED = frozenset({"SUSPENDED", "STOPPED"})


def _nodes_unavailable(facts: Subject) -> Message:
    return Message.of("slurm.nodes_unavailable", text=facts.text)


def _partition_closed(facts: Subject) -> Message:
    return Message.of("slurm.partition_closed", partition=facts.partition)


def _launch_failed(facts: Subject) -> Message:
    return Message.of("slurm.launch_failed", job=facts.job)


def _over_partition(facts: Subject) -> Message:
    return Message.of("slurm.over_partition", partition=facts.partition, text=facts.text)


def _bad_constraints(facts: Subject) -> Message:
    return Message.of("slurm.bad_constraints", text=facts.text)


def _account_not_allowed(facts: Subject) -> Message:
    return Message.of("slurm.account_not_allowed", partition=facts.partition, text=facts.text)


def _qos_not_allowed(facts: Subject) -> Message:
    return Message.of("slurm.qos_not_allowed", partition=facts.partition, text=facts.text)


def _cancelled(_: Subject) -> Message:
    return Message.of("slurm.cancelled")


def _timeout(_: Subject) -> Message:
    return Message.of("slurm.timeout")


def _node_failed(facts: Subject) -> Message:
    return Message.of("slurm.node_failed", host=facts.host)


def _not_launched(facts: Subject) -> Message:
    return Message.of("slurm.not_launched", host=facts.host)


def _no_interpreter(facts: Subject) -> Message:
    return Message.of("slurm.no_interpreter", host=facts.host, python=facts.python)


def _account_refused(facts: Subject) -> Message:
    return Message.of("slurm.account_refused", account=facts.account, text=facts.text)


def _no_nodes(facts: Subject) -> Message:
    return Message.of("slurm.no_nodes", gres=facts.gres, text=facts.text)


def _partition_inactive(facts: Subject) -> Message:
    return Message.of("slurm.partition_inactive", text=facts.text)


def _not_stored(facts: Subject) -> Message:
    return Message.of("slurm.not_stored", text=facts.text)


#: Why a job waits, by the first words of Slurm's reason.
_QUEUED: Mapping[str, Sentence] = {
    "None": lambda _: Message.of("slurm.not_considered"),
    "Resources": lambda _: Message.of("slurm.resources"),
    "Priority": lambda _: Message.of("slurm.priority"),
    "JobHeldUser": lambda facts: Message.of("slurm.held_by_user", job=facts.job),
    "JobHeldAdmin": lambda facts: Message.of("slurm.held_by_admin", job=facts.job),
    "BeginTime": lambda _: Message.of("slurm.begin_time"),
    "Dependency": lambda _: Message.of("slurm.dependency"),
    "Licenses": lambda _: Message.of("slurm.licenses"),
    "Reservation": lambda _: Message.of("slurm.reservation"),
    "ReqNodeNotAvail": _nodes_unavailable,
    "Nodes required for job are DOWN": _nodes_unavailable,
    "NodeDown": _nodes_unavailable,
    "PartitionDown": _partition_closed,
    "PartitionInactive": _partition_closed,
    "Prolog": lambda _: Message.of("slurm.starting"),
    "JobLaunchFailure": _launch_failed,
    "launch failed requeued held": _launch_failed,
    "SystemFailure": _launch_failed,
}
#: Limits that the job alone exceeds.
_LIMIT_EXCEEDED = re.compile(
    r"(Assoc|QOS)(Max\w*(PerJob|MaxWall|WallDuration)\w*|Min\w*)|(Association|QOS)TimeLimit|MaxMemPerLimit"
)
#: Limits that other jobs of the user, the account or the QOS use up at present.
_LIMIT_REACHED = re.compile(
    r"(Assoc|QOS)(Max|Grp)\w+|(Association|QOS)(Job|Resource)Limit|QOSUsageThreshold|MaxGRESPer\w+"
)
#: Reasons for which a job never starts as it was submitted, by their first words.
_INFEASIBLE: Mapping[str, Sentence] = {
    "PartitionTimeLimit": _over_partition,
    "PartitionNodeLimit": _over_partition,
    "PartitionConfig": _over_partition,
    "BadConstraints": _bad_constraints,
    "DependencyNeverSatisfied": _bad_constraints,
    "DeadLine": _bad_constraints,
    "InvalidAccount": _account_not_allowed,
    "AccountNotAllowed": _account_not_allowed,
    "Job's account not": _account_not_allowed,
    "InvalidQOS": _qos_not_allowed,
    "QOSNotAllowed": _qos_not_allowed,
    "Job's QOS not": _qos_not_allowed,
}
#: How a job ended, by its state.
_ENDED: Mapping[str, Sentence] = {
    "CANCELLED": _cancelled,
    "REVOKED": _cancelled,
    "COMPLETED": lambda _: Message.of("slurm.completed"),
    "TIMEOUT": _timeout,
    "DEADLINE": _timeout,
    "NODE_FAIL": _node_failed,
    "BOOT_FAIL": _node_failed,
    "LAUNCH_FAILED": _not_launched,
    "PREEMPTED": lambda _: Message.of("slurm.preempted"),
    "OUT_OF_MEMORY": lambda _: Message.of("slurm.out_of_memory"),
}
#: States in which a job is over. Of a state that is in none of these sets nothing is known: ``squeue`` prints ``?`` for
#: one that its version does not have.
ENDS = frozenset({*_ENDED, "FAILED"})
#: What an exit status of the job's script means.
_STATUSES: Mapping[int, Sentence] = {
    SCRIPT_CHANGED: lambda facts: Message.of("slurm.script_changed", host=facts.host),
    NO_PYZMQ: lambda facts: Message.of("slurm.no_pyzmq", host=facts.host, python=facts.python),
    **dict.fromkeys(NO_INTERPRETER, _no_interpreter),
}
#: Why ``sbatch`` refuses a job, by words in what it prints, in lower case; the first one counts.
_REFUSALS: Mapping[str, Sentence] = {
    "invalid partition": lambda facts: Message.of("slurm.no_partition", partition=facts.partition),
    "invalid account": _account_refused,
    "not permitted to use this account": _account_refused,
    "invalid qos": lambda facts: Message.of("slurm.qos_refused", qos=facts.qos, text=facts.text),
    "invalid feature": lambda facts: Message.of("slurm.no_constraint", constraint=facts.constraint),
    "invalid generic resource": _no_nodes,
    "node configuration is not available": _no_nodes,
    "memory specification can not be satisfied": _no_nodes,
    "more processors requested than permitted": _no_nodes,
    "time limit is invalid": lambda facts: Message.of("slurm.time_refused", text=facts.text),
    "not permitted to use this partition": lambda facts: Message.of(
        "slurm.partition_refused", partition=facts.partition, text=facts.text
    ),
    "partition not available": _partition_inactive,
    "partition configuration not available": _partition_inactive,
    "accounting/qos policy": lambda facts: Message.of("slurm.policy", text=facts.text),
    "error writing script/environment": _not_stored,
    "no space left on device": _not_stored,
    "disk quota exceeded": _not_stored,
}
#: What is said of a job that Slurm does not know any more.
FORGOTTEN = Ended(Message.of("slurm.forgotten"))
#: A job that is cancelled so early, and not by a signal, may be one that its node could not start.
LAUNCH_MS = 1_000
#: How long before its time limit a job may get a signal: the time in its options, and up to a minute.
WARNED_MS = 90_000
#: What stands for an option that a request leaves to Slurm.
_DEFAULT = "-"


def refusal(said: str, want: Want, gres: str) -> InvalidRequest:
    """Return the refusal of a request for which ``sbatch`` printed ``said``."""
    options = want.options
    facts = Subject(
        said or _DEFAULT,
        partition=options.partition or _DEFAULT,
        account=options.account or _DEFAULT,
        qos=options.qos or _DEFAULT,
        constraint=options.constraint or _DEFAULT,
        gres=gres,
    )
    found = (sentence for words, sentence in _REFUSALS.items() if words in said.lower())
    sentence = next(found, None)
    return InvalidRequest(sentence(facts) if sentence else Message.of("slurm.refused", text=facts.text))


def pending_status(row: JobRow, position: int | None, now_ms: int) -> Status:
    """Return why a job waits, its position, and its start where Slurm expects one."""
    if row.state == "CONFIGURING":
        return Queued(Message.of("slurm.configuring"))
    facts = _facts(row)
    never = _sentence_of(row.reason, _INFEASIBLE)
    if never is not None:
        return Infeasible(never(facts))
    if _LIMIT_EXCEEDED.match(row.reason):
        return Infeasible(Message.of("slurm.limit_exceeded", text=row.reason))
    start = row.starts_at_ms if row.starts_at_ms is not None and row.starts_at_ms > now_ms else None
    sentence = _sentence_of(row.reason, _QUEUED)
    if sentence is not None:
        return Queued(sentence(facts), position, start)
    if _LIMIT_REACHED.match(row.reason):
        return Queued(Message.of("slurm.limit_reached", text=row.reason), position, start)
    return Queued(Message.of("slurm.other_reason", text=row.reason), position, start)


def needs_exit(row: JobRow) -> bool:
    """Return whether why a job ended depends on how its script did."""
    return row.state == "FAILED" or (row.state == "CANCELLED" and _ran_ms(row) <= LAUNCH_MS)


def end_message(row: JobRow, script: ScriptExit | None, python: str = "") -> Message:
    """Return why a job ended. ``script``: how its script did, ``None`` where that is not known."""
    facts = _facts(row, python)
    if row.state == "FAILED" and row.host is None:  # it was accepted and then found to be impossible
        return _bad_constraints(facts)
    if script is not None and row.state == "FAILED":
        sentence = _STATUSES.get(script.status)
        return sentence(facts) if sentence else Message.of("slurm.failed", host=facts.host, status=script.status)
    if script is not None and row.state == "CANCELLED" and not script.signum:
        return _not_launched(facts)
    if row.state == "COMPLETED" and row.host is not None and row.starts_at_ms == row.ends_at_ms is not None:
        return _not_launched(facts)  # 20.11 says so of a job that its node could not start; no agent ends so early
    if row.state == "COMPLETED" and row.time_limit_ms and _ran_ms(row) >= row.time_limit_ms - WARNED_MS:
        return _timeout(facts)  # the agent heeded the signal before it
    sentence = _ENDED.get(row.state)
    return sentence(facts) if sentence else Message.of("slurm.ended", state=row.state)


def _ran_ms(row: JobRow) -> int:
    return row.ends_at_ms - row.starts_at_ms if row.starts_at_ms is not None and row.ends_at_ms is not None else 0


def running_status(row: JobRow) -> Running:
    """Return where a job runs, and until when, which is not known of one that is being ended."""
    # The end of such a job is the present, which is no time limit to warn of.
    ends_at_ms = None if row.state == "COMPLETING" else row.ends_at_ms
    return Running(row.host or "", ends_at_ms, suspended=row.state in _SUSPENDED)


def _facts(row: JobRow, python: str = "") -> Subject:
    return Subject(row.reason, row.job_id, row.host or _DEFAULT, row.partition, python=python)


def _sentence_of(reason: str, table: Mapping[str, Sentence]) -> Sentence | None:
    return next((sentence for words, sentence in table.items() if _begins(reason, words)), None)


def _begins(reason: str, words: str) -> bool:
    rest = reason[len(words) :]
    return reason.startswith(words) and (not rest or not rest[0].isalnum())
