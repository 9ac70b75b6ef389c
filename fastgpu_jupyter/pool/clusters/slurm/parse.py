"""Reads the text that Slurm's commands print."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MINUTE_MS = 60_000
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
#: A generic resource of a node, such as ``gpu:a100:2(S:0-1)``; the sockets, or the indices, are of no interest.
_GRES = re.compile(r"(?:gres[:/])?(?P<name>[\w.-]+)(?::(?P<type>[^:(),=]+))?[:=](?P<count>\d+)(?:\([^)]*\))?")
#: The separator of columns. The reason may have one in it, and is the last column.
BAR = "|"
#: The columns of ``squeue`` that :class:`JobRow` has.
JOB_FORMAT = BAR.join(("%i", "%j", "%T", "%B", "%S", "%e", "%l", "%P", "%r"))
#: The columns of ``squeue`` that :class:`PendingRow` has.
PENDING_FORMAT = BAR.join(("%i", "%P", "%Q"))
#: The columns of ``sinfo`` that :class:`NodeRow` has.
NODE_FORMAT = BAR.join(("%P", "%a", "%l", "%D", "%G"))
_UNKNOWN = frozenset({"", "N/A", "n/a", "NONE", "None", "Unknown", "(null)", "NOT_SET"})


class JobRow(NamedTuple):
    """A line of ``squeue``."""

    job_id: str
    name: str
    state: str
    host: str | None
    starts_at_ms: int | None
    ends_at_ms: int | None
    time_limit_ms: int | None
    partition: str
    reason: str


class PendingRow(NamedTuple):
    """A waiting job of whichever user."""

    job_id: str
    partition: str
    priority: int


class Gres(NamedTuple):
    """Generic resources of one kind and type on a node."""

    name: str
    type: str
    number: int


class NodeRow(NamedTuple):
    """A line of ``sinfo``: nodes of one partition that have the same resources."""

    partition: str
    is_default: bool
    is_up: bool
    time_limit_max_ms: int | None
    nodes: int
    gres: tuple[Gres, ...]


def job_rows(text: str) -> Iterator[JobRow]:
    """Yield the jobs in what ``squeue`` printed with :data:`JOB_FORMAT`."""
    for line in text.splitlines():
        columns = [column.strip() for column in line.split(BAR, 8)]
        if len(columns) == 9 and columns[0]:
            job_id, name, state, host, start, end, limit, partition, reason = columns
            known_host = None if host in _UNKNOWN else host
            times = (moment_ms(start), moment_ms(end), duration_ms(limit))
            yield JobRow(job_id, name, state, known_host, *times, partition, reason)


def pending_rows(text: str) -> Iterator[PendingRow]:
    """Yield the waiting jobs in what ``squeue`` printed with :data:`PENDING_FORMAT`."""
    for line in text.splitlines():
        columns = line.split(BAR)
        if len(columns) == 3 and columns[2].strip().isdigit():
            yield PendingRow(columns[0].strip(), columns[1].strip(), int(columns[2]))


def positions_of(rows: Iterable[PendingRow]) -> dict[str, int]:
    """Return the place of each job among those of its partition, from 1 on, by priority; equal ones share a place."""
    jobs = list(rows)
    priorities: dict[str, list[int]] = {}
    for job in jobs:
        priorities.setdefault(job.partition, []).append(job.priority)
    for each in priorities.values():
        each.sort()
    behind = {job.job_id: bisect_right(priorities[job.partition], job.priority) for job in jobs}
    return {job.job_id: 1 + len(priorities[job.partition]) - behind[job.job_id] for job in jobs}


def node_rows(text: str) -> Iterator[NodeRow]:
    """Yield the nodes in what ``sinfo`` printed with :data:`NODE_FORMAT`."""
    for line in text.splitlines():
        columns = line.split(BAR, 4)
        if len(columns) == 5 and columns[3].strip().isdigit():
            partition, available, limit, nodes, gres = map(str.strip, columns)
            yield NodeRow(
                partition.removesuffix("*"),
                partition.endswith("*"),
                available == "up",
                duration_ms(limit),
                int(nodes),
                gres_of(gres),
            )


def gres_of(text: str) -> tuple[Gres, ...]:
    """Return the generic resources in a list such as ``gpu:a100:2(S:0-1),shard:8``."""
    return tuple(Gres(one["name"], one["type"] or "", int(one["count"])) for one in _GRES.finditer(text))


def duration_ms(text: str) -> int | None:
    """Return a time limit such as ``1-00:00:00``, ``8:00:00``, ``10:00`` or ``30``; ``None`` where there is none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, *given = match.groups()
    parts = [int(part) for part in given if part is not None]
    if days is None and len(parts) == 1:
        return parts[0] * MINUTE_MS
    if days is None and len(parts) == 2:
        parts = [0, *parts]
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return (((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000


def submitted_job(text: str) -> str | None:
    """Return the id in what ``sbatch --parsable`` printed; a site may print more before and after it."""
    found = re.findall(r"^(\d+)(?:;\S*)?[ \t]*$", text, re.ASCII | re.MULTILINE)  # a cluster's name may follow
    return str(found[-1]) if found else None


def expected_start_ms(text: str) -> int | None:
    """Return the start in what ``sbatch --test-only`` printed, ``None`` where it names none."""
    match = re.search(r"\bto start at (\d+)\b", text)
    return int(match[1]) * 1000 if match else None


def fields_of(line: str) -> dict[str, str]:
    """Return the fields of an object in what ``scontrol -o show`` printed."""
    return {name: value for name, equals, value in (word.partition("=") for word in line.split()) if equals}


def settings_of(text: str) -> dict[str, str]:
    """Return the settings in what ``scontrol show config`` printed."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


def moment_ms(text: str) -> int | None:
    """Return seconds since 1970 in milliseconds; ``None`` for a word in their place."""
    return int(text) * 1000 if text.isdigit() else None
