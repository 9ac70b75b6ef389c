"""The schemas of jobs: what a client submits, what it sees of a job, and what a runner reports."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec

from ..job_states import CacheOutcome, JobKind, JobState
from .common import Count, Integer, LeaseStateName, MessageView, Positive, PriorityName, RetentionName, Text, one_of
from .requests import LeaseOptionsBody

#: A name of a file in a draft or a job's payload: no path.
FILE_NAME = r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}$"
NAMES_MAX = 256
#: The most characters of a program's source, an argument or the value of a variable.
SOURCE_MAX = 512 * 1024
FOLLOWED_JOBS_MAX = 64

JobKindName = Annotated[str, one_of(JobKind)]
JobStateName = Annotated[str, one_of(JobState)]
CacheOutcomeName = Annotated[str, one_of(CacheOutcome)]
FileName = Annotated[str, msgspec.Meta(pattern=FILE_NAME)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Source = Annotated[str, msgspec.Meta(max_length=SOURCE_MAX)]
Names = Annotated[list[Text], msgspec.Meta(max_length=NAMES_MAX)]
JobId = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class JobGPUView(TypedDict):
    """The devices that a job runs on, or ran on."""

    model: str | None
    device_ids: list[str]
    simulated: bool


class JobProgressView(TypedDict):
    """How far a job is; ``total`` is ``null`` where that is not known."""

    done: Integer
    total: Integer | None
    unit: str | None
    text: str | None


class JobEnvironmentView(TypedDict):
    """The environment that a job runs in; of its variables the names."""

    interpreter: str
    cwd: str
    variables: list[str]


class JobErrorView(TypedDict):
    """Why a job failed: the name of an exception or of a refusal, and its text."""

    name: str
    text: str


class JobResultView(TypedDict):
    """What a job left: the digest of its manifest, the bytes of all its parts, and the names of its parts."""

    digest: str
    bytes: Count
    values: list[str]
    files: list[str]
    outputs: Count
    notebook: bool


class JobCacheView(TypedDict):
    """What the cache did for a job, and the sentence about it.

    ``computed_at`` and ``saved_micro`` are of the job that computed the result of a hit.
    """

    outcome: CacheOutcomeName | None
    message: MessageView | None
    computed_at: Integer | None
    saved_micro: Count | None


class JobView(TypedDict):
    """One job, as its user sees it.

    ``version`` grows with each change, except of ``jobs_before``. ``after``: the jobs that must be done before it
    starts. ``attempt`` counts its starts. ``lease_state``, ``position`` and ``estimate_ms`` are those of its lease, or
    of its request in the pool's queue. ``jobs_before`` counts the queued jobs of this user that come first. ``reason``
    says why it waits; ``notes`` what else its user should know. Times are in wall-clock milliseconds; money is in
    millionths of ``currency``, ``rate_micro`` by the hour.
    """

    id: int
    version: Count
    kind: JobKindName
    name: str
    state: JobStateName
    cancelling: bool
    size: str
    priority: PriorityName
    retention: RetentionName
    after: list[int]
    timeout_ms: Count | None
    retries: Count
    attempt: Count
    submitted_at: Integer
    started_at: Integer | None
    ended_at: Integer | None
    lease_id: str | None
    lease_state: LeaseStateName | None
    position: Count | None
    jobs_before: Count | None
    estimate_ms: Count | None
    reason: MessageView | None
    notes: list[MessageView]
    gpu: JobGPUView | None
    cost_micro: Count | None
    rate_micro: Count | None
    currency: str | None
    progress: JobProgressView | None
    log_tail: list[str]
    log_bytes: Count
    notebook: str | None
    kernel_id: str | None
    environment: JobEnvironmentView
    exit_status: Integer | None
    error: JobErrorView | None
    result: JobResultView | None
    cache: JobCacheView | None


class CommandProgram(TypedDict):
    """A command and its arguments."""

    argv: Annotated[list[Source], msgspec.Meta(min_length=1, max_length=1024)]


class _FunctionProgramRequired(TypedDict):
    call: FileName
    sha256: Digest
    worker: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class FunctionProgram(_FunctionProgramRequired, total=False):
    """A call, pickled in the file ``call`` of the draft with that checksum.

    Calls with the same ``worker`` may run in one kept worker process, one after the other. Of the calls of one
    ``executor`` at most ``workers_max`` run or request a lease at a time.
    """

    executor: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None
    workers_max: Positive | None


class CellProgram(TypedDict):
    """A cell, the file of the draft with its named inputs, and the names of the variables that it returns."""

    code: Source
    inputs: FileName | None
    sha256: Digest | None
    outputs: Names


class NotebookProgram(TypedDict):
    """The file of the draft with the notebook, its parameters, and its kernel: ``null`` for the notebook's own."""

    notebook: FileName
    parameters: dict[str, Any]
    kernel: Text | None


class JobEnvironmentBody(TypedDict):
    """The environment to run in."""

    interpreter: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    cwd: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    variables: Annotated[dict[Text, Source], msgspec.Meta(max_length=1024)]


class IngredientView(TypedDict):
    """One of the things that a cache key is made of; ``shown`` is its value in short."""

    category: Text
    name: Text
    digest: Text
    shown: Text | None


class JobCacheBody(TypedDict):
    """The cache key of a job and what it is made of.

    ``key`` is ``null`` where something cannot be hashed; ``reason`` says what. With ``refresh`` a result that is in the
    cache is computed again.
    """

    key: Digest | None
    ingredients: Annotated[list[IngredientView], msgspec.Meta(max_length=10_000)]
    refresh: bool
    reason: MessageView | None


class _JobBodyRequired(TypedDict):
    kind: JobKindName
    name: Text
    program: dict[str, Any]
    environment: JobEnvironmentBody


class JobBody(_JobBodyRequired, total=False):
    """A job to submit.

    ``draft`` is the name of a folder that the client has filled. ``submission`` is a number drawn by the client: a
    second submission with it is the same job. ``program`` is one of the ``…Program`` objects, by ``kind``. A size,
    priority or retention that is not given is that of the settings for its kind. ``save`` are patterns of files, below
    the working folder, that become a part of the result.
    """

    submission: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16,64}$")] | None
    draft: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16,64}$")] | None
    size: Text | None
    options: LeaseOptionsBody
    timeout_ms: Positive | None
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)]
    after: Annotated[list[JobId], msgspec.Meta(max_length=FOLLOWED_JOBS_MAX)]
    notebook: Text | None
    kernel_id: Text | None
    save: Annotated[list[Text], msgspec.Meta(max_length=64)]
    cache: JobCacheBody | None


class JobFailure(TypedDict):
    """Why a job failed, with the traceback of its process."""

    name: str
    text: str
    traceback: list[str]


class OpenedFile(TypedDict):
    """A file that a job opened without its being declared, and why that matters."""

    path: str
    why: str


class _JobOutcomeRequired(TypedDict):
    state: JobStateName
    attempt: Count


class JobOutcome(_JobOutcomeRequired, total=False):
    """How an attempt of a job ended: the file ``outcome.json`` that a runner writes.

    ``opened``: what the job read that its key does not cover; ``null`` where nothing was watched. ``notes`` are
    sentences for the user.
    """

    exit_status: Integer | None
    error: JobFailure | None
    result: Digest | None
    opened: list[OpenedFile] | None
    started_at: Integer | None
    ended_at: Integer | None
    cost_micro: Count | None
    lease_id: str | None
    notes: list[MessageView]


class RunnerLease(TypedDict, total=False):
    """What a runner knows of its lease, as in :class:`JobView`; what it costs, the pool manager says."""

    state: LeaseStateName | None
    position: Count | None
    estimate_ms: Count | None
    reason: MessageView | None


class RunnerReport(TypedDict, total=False):
    """What a runner reports of its job while it runs; a field that is absent is unchanged."""

    lease: RunnerLease
    progress: JobProgressView | None
    log_tail: list[str]
    log_bytes: Count
    notes: list[MessageView]


class RunnerLimits(TypedDict):
    """The limits of a runner, from the settings."""

    log_bytes_max: Count
    result_bytes_max: Count
    worker_idle_ms: Count


class LeaseHandOver(TypedDict):
    """The lease of a job and its token; no token for a kept worker, which has it."""

    id: str
    token: str | None


class HandOver(TypedDict):
    """What a runner is to do: the file ``start.json``, and ``run`` for the next call of a kept worker.

    ``store`` names the user's store of jobs, ``mark`` is the value of ``FASTGPU_JOB`` for every process of the job, and
    ``socket`` is that of the pool manager.
    """

    version: int
    id: int
    attempt: Count
    store: str
    mark: str
    body: JobBody
    lease: LeaseHandOver
    socket: str
    limits: RunnerLimits


class JobLog(TypedDict):
    """A part of a job's log: ``text`` begins at byte ``offset`` and the next part at ``end`` of ``size`` bytes."""

    text: Annotated[str, msgspec.Meta(max_length=2**20)]
    offset: Count
    end: Count
    size: Count


class JobExplanation(TypedDict):
    """Why a job was, or was not, computed: sentences, and what its key is made of."""

    outcome: CacheOutcomeName | None
    messages: list[MessageView]
    key: str | None
    ingredients: list[IngredientView]


class JobsUsage(TypedDict):
    """How much disk the jobs of a user take, in bytes; ``null`` where that cannot be counted."""

    jobs: Count
    queued: Count
    running: Count
    job_bytes: Count | None
    result_bytes: Count | None
    results: Count | None
    cached: Count


class PruneReport(TypedDict):
    """What a prune removed."""

    jobs: Count
    results: Count
    freed_bytes: Count


class JobsEvent(TypedDict):
    """The jobs that have changed, the jobs that were removed, and the queued jobs in their order if that has changed.

    With ``reset``, what the follower had before is replaced.
    """

    jobs: list[JobView]
    gone: list[int]
    queue: list[int] | None
    reset: bool
