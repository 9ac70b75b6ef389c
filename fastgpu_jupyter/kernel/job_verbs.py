"""The verbs of jobs: ``%%fastgpu job``, ``%%fastgpu compare`` and ``%fastgpu jobs``.

They run in any IPython kernel. None waits for the gate, and none counts as use of this kernel's GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython

from ..errors import FastGPUError, InvalidRequest, Message
from ..jobs import words as job_words
from ..jobs.client import ensure_dispatcher
from ..jobs.handle import Job
from ..jobs.origin import Origin
from ..jobs.rendering import bundle, head, rows
from ..jobs.submission import submit_cell
from ..messages import say, text_of
from . import render
from .cell_kinds import CELL_VERBS
from .render import Rendered
from .verbs import VERBS as LINE_VERBS

if TYPE_CHECKING:
    from ..jobs.words import JobOptions
    from ..wire.schemas.jobs import JobView
    from .verbs import Context

#: The variable that has the last job of the notebook.
VARIABLE = "job"
#: Jobs that ``%fastgpu jobs`` lists.
LISTED_MAX = 50


class JobAnswer(Rendered):
    """The live view of a job. It follows the job where the front end does, or while a cell waits for the job."""

    job: Job

    @classmethod
    def of(cls, job: Job) -> JobAnswer:
        """Return the answer for a job, as its handle has seen it last."""
        found = bundle(job.last_view, job.expression)
        answer = cls(found["text/plain"], found["text/html"])
        answer.job = job
        return answer

    def show(self) -> None:
        """Display the view, and update it whenever this process learns of a change."""
        follow(self.job)


def follow(job: Job) -> None:
    """Display the live view of a job, and update it whenever this process learns of a change."""
    from IPython.display import display

    shown = bundle(job.last_view, job.expression)
    handle: Any = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    if handle is not None:
        job.on_change = lambda view: handle.update(bundle(view, job.expression), raw=True)


def run_cell(context: Context, line: str, cell: str) -> None:
    """Run the verb in the first line of a cell on the lines below it, and display the answer."""
    name, _, rest = line.strip().partition(" ")
    verb = VERBS.get(name.lower())
    if verb is None:
        raise UsageError(_unknown(name.lower()))
    try:
        verb(context, rest, cell).show()
    except FastGPUError as error:
        # As in a line of %fastgpu: a traceback of this package would not help the user.
        raise UsageError(text_of(error)) from None


def _unknown(name: str) -> str:
    """Return the sentence about a verb of a cell that there is not, or that runs elsewhere only."""
    if name in CELL_VERBS:
        return say("magic.cell_verb_first", name=name)
    if name in LINE_VERBS:
        return say("magic.cell_verbs")
    near = get_close_matches(name, (*CELL_VERBS, *VERBS), n=1)
    if near:
        return say("magic.unknown_cell_verb_near", name=repr(name), near=near[0])
    return say("magic.unknown_cell_verb", name=repr(name))


def submit(context: Context, line: str, cell: str) -> Rendered:
    """Submit the cell as a job and return its live view."""
    options, plain = job_words.read(job_words.split(line))
    _add_size(options, plain)
    shell: Any = get_ipython()
    view, client = submit_here(context, cell, options)
    job = Job(view, client, shell.user_ns)
    job.expression = options.variable or VARIABLE
    shell.user_ns[job.expression] = job
    answer = JobAnswer.of(job)
    if options.explain and (why := job.explain()):
        return _Explained.with_text(answer, why)
    return answer


class _Explained(JobAnswer):
    """The live view of a job with the explanation of its cache key below it."""

    why: str

    @classmethod
    def with_text(cls, answer: JobAnswer, why: str) -> _Explained:
        found = cls(answer.text, answer.html)
        found.job, found.why = answer.job, why
        return found

    def show(self) -> None:
        """Display the view and the explanation."""
        super().show()
        render.sentence(self.why).show()


def submit_here(context: Context, cell: str, options: JobOptions) -> tuple[JobView, Any]:
    """Submit a cell of this notebook; return the job and the client that submitted it."""
    shell: Any = get_ipython()
    client = ensure_dispatcher()
    transform: Callable[[str], str] = shell.transform_cell
    view = submit_cell(client, cell, options, shell.user_ns, origin=_origin(context), transform=transform)
    return view, client


def _add_size(options: JobOptions, plain: list[str]) -> None:
    """Take words that are no options for the size, as in ``%fastgpu request half``."""
    if not plain:
        return
    size = " ".join(plain)
    if options.size is not None:
        raise InvalidRequest(Message.of("job_words.two_sizes", first=options.size, second=size))
    options.size = size


def _origin(context: Context) -> Origin:
    """Return the notebook and the kernel of this process, as far as they are known."""
    gate, here = context.gate, Origin.of_process()
    named = gate.view["holder"]["notebook"] if gate.view is not None else None
    return Origin(named or here.notebook, gate.kernel_id or here.kernel_id)


def compare(context: Context, line: str, cell: str) -> Rendered:
    """Run the cell as two jobs and return the report."""
    from . import comparison

    return comparison.run(context, line, cell)


def jobs(_context: Context, words: list[str]) -> Rendered:
    """Return a table of the user's jobs, or the live view of the one whose number is in ``words``."""
    client = ensure_dispatcher()
    if words:
        if len(words) > 1:
            raise InvalidRequest(Message.of("job_words.no_job", text=repr(" ".join(words)[:40])))
        view = client.job(job_words.job_id(words[0]))
        shell: Any = get_ipython()
        job = Job(view, client, shell.user_ns if shell else None)
        job.expression = f"fastgpu_jupyter.job({job.id})"
        return JobAnswer.of(job)
    views = client.jobs(limit=LISTED_MAX)
    return render.grid(say("title.jobs"), head(), rows(views)) if views else render.sentence(say("job_view.none"))


#: The verbs of ``%%fastgpu`` that this module has.
VERBS: Mapping[str, Callable[[Context, str, str], Rendered]] = {"job": submit, "compare": compare}
