"""``%%fastgpu compare``: a cell as two jobs of different sizes, with their times, costs and the model's prediction.

The model says T_a / T_b = n_b·P_b / (n_a·P_a): a logical GPU is n units that compute P each. Of two logical GPUs of one
model P is the same, and n is as their memory. docs/explanation/jobs.md explains it and its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from IPython.core.getipython import get_ipython

from ..errors import FastGPUError, InvalidRequest, Message
from ..jobs import words as job_words
from ..jobs.handle import STEP_S, Job
from ..jobs.rendering import cost_of, device_of, ran_ms_of, state_name, title_of
from ..messages import joined, say
from ..units import format_duration, parse_memory
from ..wire.job_states import ENDED
from . import render
from .render import Rendered

if TYPE_CHECKING:
    from ..wire.schemas import SizeOptions
    from ..wire.schemas.jobs import JobView
    from .verbs import Context

#: The variable that has the last comparison of the notebook.
VARIABLE = "comparison"
#: Options of a job that a comparison does not have: a result from the cache has no time to compare.
_NOT_HERE = ("size", "out", "cache", "refresh", "key", "numeric", "explain", "after", "retries", "save")


class MeasuredJob(NamedTuple):
    """What is known of one of the jobs."""

    size: str
    ran_ms: int | None
    cost_micro: int | None
    rate_micro: int | None
    capacity: int | None  #: bytes of device memory, which are in proportion to n·P of one model
    model: str | None
    simulated: bool | None


class Comparison:
    """Two jobs of the same cell; its representation is the report, or what it waits for."""

    def __init__(self, jobs: Sequence[Job], sizes: SizeOptions | None) -> None:
        self.jobs = tuple(jobs)
        self._sizes = sizes

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of both jobs; return False where one is not over after ``timeout`` seconds each."""
        return all(job.wait(timeout) for job in self.jobs)

    def report(self) -> Rendered:
        """Return the report as far as it is known."""
        first, second = (job.view for job in self.jobs)
        return report(first, second, self._sizes)

    def _repr_mimebundle_(self, **_more: Any) -> dict[str, str]:
        """Return the report in both forms."""
        return self.report().bundle()


def run(context: Context, line: str, cell: str) -> Rendered:
    """Submit the cell twice, wait for the end of both jobs, and return the report."""
    from .job_verbs import follow, submit_here

    words = job_words.split(line)
    for word in words:
        name = word[2:].partition("=")[0].removeprefix("no-")
        if word.startswith("--") and name in _NOT_HERE:
            raise InvalidRequest(Message.of("compare.no_option", option=name))
    options, sizes = job_words.read(words)
    if len(sizes) != 2:
        raise InvalidRequest(Message.of("compare.two_sizes"))
    options.cache = False
    first, client = submit_here(context, cell, replace(options, size=sizes[0]))
    # One after the other: two jobs on one device would slow each other down.
    second, _ = submit_here(context, cell, replace(options, size=sizes[1], after=[first["id"]]))
    variable = options.variable or VARIABLE
    shell: Any = get_ipython()
    comparison = Comparison([Job(first, client), Job(second, client)], _known_sizes(context))
    shell.user_ns[variable] = comparison
    render.sentence(say("compare.twice", first=sizes[0], second=sizes[1], variable=variable)).show()
    for number, job in enumerate(comparison.jobs):
        job.expression = f"{variable}.jobs[{number}]"
        follow(job)
    context.gate.only_waits()
    while not comparison.wait(STEP_S):
        pass
    return comparison.report()


def _known_sizes(context: Context) -> SizeOptions | None:
    try:
        return context.gate.pool.quick().sizes()
    except (FastGPUError, OSError):
        return None


def report(first: JobView, second: JobView, sizes: SizeOptions | None) -> Rendered:
    """Return the comparison of two jobs as a table with sentences below it."""
    title = say("compare.title", first=first["size"], second=second["size"])
    head = say("label.job"), say("label.size"), say("label.gpu"), say("label.time"), say("label.cost")
    table = render.grid(title, head, [_row(view) for view in (first, second)])
    return render.with_hint(table, _conclusion(first, second, sizes))


def _row(view: JobView) -> tuple[str, ...]:
    ran_ms = ran_ms_of(view)
    time = state_name(view) if ran_ms is None else _seconds(ran_ms)
    return title_of(view), view["size"], device_of(view), time, cost_of(view)


def _seconds(ran_ms: int) -> str:
    """Return a time with three digits below a minute: two runs of one cell may differ by less than a second."""
    return f"{ran_ms / 1000:.3g} s" if ran_ms < 60_000 else format_duration(ran_ms)


def _conclusion(first: JobView, second: JobView, sizes: SizeOptions | None) -> str:
    for view in (first, second):
        if view["state"] in ENDED and view["state"] != "done":
            return say("compare.not_done", job=view["id"], state=state_name(view).lower())
    if not first["state"] == second["state"] == "done":
        return say(
            "compare.waits", first=first["id"], first_state=state_name(first).lower(), second=second["id"],
            second_state=state_name(second).lower(),
        )  # fmt: skip
    one, other = measured(first, sizes), measured(second, sizes)
    prediction = predicted(one, other)
    said = (
        say("compare.no_prediction")
        if prediction is None
        else say("compare.predicted", predicted=_times(prediction[0]), ratio=_times(prediction[1]))
    )
    if one.simulated is not False or other.simulated is not False:
        return joined((say("compare.not_measured"), said))
    return joined((_measured(one, other), said, say("compare.start")))


def _measured(one: MeasuredJob, other: MeasuredJob) -> str:
    if not one.ran_ms or not other.ran_ms:
        return ""
    speed_up = say("compare.speed_up", first=one.size, second=other.size, measured=_times(one.ran_ms / other.ran_ms))
    if not one.cost_micro or other.cost_micro is None:
        return joined((speed_up, say("compare.costs_unknown")))
    return joined((speed_up, say("compare.cost_ratio", ratio=_times(other.cost_micro / one.cost_micro))))


def predicted(one: MeasuredJob, other: MeasuredJob) -> tuple[float, float | None] | None:
    """Return the speed-up of the second over the first by the model, and the ratio of their costs.

    The ratio is None where a rate is not known. Return None where n·P is not known of both: of different models, or of
    a size whose memory is not known.
    """
    if not one.capacity or not other.capacity or one.model is None or one.model != other.model:
        return None
    speed_up = other.capacity / one.capacity
    if not one.rate_micro or other.rate_micro is None:
        return speed_up, None
    return speed_up, other.rate_micro / one.rate_micro / speed_up


def _times(ratio: float | None) -> str:
    return say("value.unknown") if ratio is None else f"{ratio:.3g}"


def measured(view: JobView, sizes: SizeOptions | None) -> MeasuredJob:
    """Return what is known of a job that is done; ``sizes`` are those of the pool."""
    gpu, size = view["gpu"], view["size"]
    option = next((one for one in sizes["options"] if one["size"] == size), None) if sizes else None
    rate_micro = view["rate_micro"]
    if rate_micro is None and option is not None:
        rate_micro = option["rate_micro"]
    capacity = _memory_in(size) if option is None else option["memory_bytes"]
    return MeasuredJob(
        size, ran_ms_of(view), view["cost_micro"], rate_micro, capacity,
        gpu["model"] if gpu else None, gpu["simulated"] if gpu else None,
    )  # fmt: skip


def _memory_in(size: str) -> int | None:
    """Return the device memory that a size names; None where it names none."""
    try:
        return parse_memory(size)
    except InvalidRequest:
        return None
