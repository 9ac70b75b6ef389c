"""``jupyter fastgpu job``: submit notebooks and commands as jobs, and look after jobs of every kind."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Unicode

from .. import __version__
from ..errors import InvalidRequest, Message
from ..messages import say, sentences_of
from ..messages.help import CommandApp
from ..units import format_memory, parse_duration, parse_memory
from ..wire.client import PoolClient
from ..wire.job_states import ENDED
from .command import ClientApp, table
from .output import write, write_text

if TYPE_CHECKING:
    from ..jobs.client import JobsClient
    from ..wire.schemas.jobs import JobView

#: Jobs that ``job list`` prints.
LISTED_MAX = 1000
#: Seconds of one wait for the end of a job, and between two looks at a log that is followed.
STEP_S, FOLLOW_S = 10.0, 0.5
#: The exit status of a job that has none of its own and was not done.
NOT_DONE = 1


class JobsClientApp(ClientApp):
    """A command that talks to the dispatcher of this user's jobs, and starts it where none runs."""

    def run(self, client: PoolClient) -> None:  # noqa: ARG002 (the pool is not asked)
        """Run the command with a client of the dispatcher."""
        from ..jobs.client import ensure_dispatcher

        self.work(ensure_dispatcher())

    def work(self, client: JobsClient) -> None:
        """Run the command with a client of the dispatcher."""
        raise NotImplementedError

    def one_job(self) -> int:
        """Return the number of the one job that was named."""
        if len(self.extra_args) != 1:
            raise InvalidRequest(Message.of("cli.name_job"))
        return _number(self.extra_args[0])


def _number(text: str) -> int:
    from ..jobs.words import job_id

    return job_id(text)


class JobRunApp(JobsClientApp):
    """The command that submits a notebook or a command as a job."""

    name = "jupyter-fastgpu-job-run"
    description = (
        "Submit a job: jupyter fastgpu job run notebook.ipynb -p lr 0.1, or job run -- python train.py. "
        "Options are those of %%fastgpu job, such as --size, --priority, --cache, --timeout, --after and "
        "--save; -k names the kernel of a notebook, -f prints the log until the end and has the exit status "
        "of the job."
    )

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Keep the words for :meth:`work`: the options of a job have values of their own."""
        words = list(sys.argv[1:] if argv is None else argv)
        own = words[: words.index("--")] if "--" in words else words
        if {"--help", "-h", "--help-all"} & set(own):
            self.print_help()
            self.exit(0)
        self.as_json = "--json" in own
        self.words = words

    def print_help(self, classes: bool = False) -> None:
        """Print what the command does, and the options of a job."""
        from ..jobs.words import usage

        super().print_help(classes)
        write("", say("cli.job_run_usage"), "", say("magic.job_options", options=usage("notebook")))

    def work(self, client: JobsClient) -> None:
        """Submit the job, print it, and follow it to its end where that was asked for."""
        from ..jobs import submission, words
        from .job_words import split

        given = split(self.words)
        options, plain = words.read(given.options, "command" if given.command else "notebook")
        if given.command:
            if plain or given.parameters or given.kernel:
                raise InvalidRequest(Message.of("cli.job_run_both"))
            view = submission.submit_command(client, given.command, options)
        else:
            if len(plain) != 1:
                raise InvalidRequest(Message.of("cli.job_run_what"))
            path = Path(plain[0])
            view = submission.submit_notebook(client, path, given.parameters, options, kernel=given.kernel)
        if not given.follow:
            why = sentences_of(client.explain(view["id"])["messages"]) if options.explain else None
            self.show(view, *_lines(view), *filter(None, [why]))
            return
        if not self.as_json:
            write(*_lines(view))
            write_log(client, view["id"], follows=True)
        while view["state"] not in ENDED:
            view = client.wait(view["id"], STEP_S)
        self.show(view, *_lines(view))
        if view["state"] != "done":
            sys.exit(view["exit_status"] or NOT_DONE)


def write_log(client: JobsClient, job_id: int, *, follows: bool) -> None:
    """Print the log of a job, and what is added to it until the end of the job."""
    from ..jobs.handle import log_parts

    offset = 0
    while True:
        over = client.job(job_id)["state"] in ENDED  # asked before the log, so that nothing of it is missed
        parts = log_parts(client, job_id, offset)
        while True:
            try:
                write_text(next(parts))
            except StopIteration as end:
                offset = end.value
                break
        if over or not follows:
            return
        client.wait(job_id, FOLLOW_S)


def _lines(view: JobView) -> list[str]:
    from ..jobs.rendering import as_text, shown

    return as_text(shown(view), view).split("\n")


class JobListApp(JobsClientApp):
    """The command that lists jobs."""

    name = "jupyter-fastgpu-job-list"
    description = "List your jobs, the newest first."

    def work(self, client: JobsClient) -> None:
        """Print the jobs as a table or as JSON."""
        from ..jobs.rendering import head, rows

        views = client.jobs(limit=LISTED_MAX)
        self.show({"jobs": views}, *table(head(), rows(views), say("cli.no_jobs")), indent=2)


class JobShowApp(JobsClientApp):
    """The command that shows one job."""

    name = "jupyter-fastgpu-job-show"
    description = "Show the job with the given number."

    def work(self, client: JobsClient) -> None:
        """Print the job as text or as JSON."""
        view = client.job(self.one_job())
        self.show(view, *_lines(view), indent=2)


class JobLogApp(JobsClientApp):
    """The command that prints the log of a job."""

    name = "jupyter-fastgpu-job-log"
    description = "Print what a job has written; -f goes on until its end."
    follows = Bool(False, help="Go on until the end of the job.").tag(config=True)
    flags = {**ClientApp.flags, "f": ({"JobLogApp": {"follows": True}}, "Go on until the end of the job.")}

    def work(self, client: JobsClient) -> None:
        """Print the log, and what is added to it."""
        write_log(client, self.one_job(), follows=self.follows)


class JobCancelApp(JobsClientApp):
    """The command that cancels jobs."""

    name = "jupyter-fastgpu-job-cancel"
    description = "Cancel the jobs with the given numbers, queued or running."

    def work(self, client: JobsClient) -> None:
        """Cancel each job and print its state."""
        if not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_job"))
        for job_id in map(_number, self.extra_args):
            view = client.cancel(job_id)
            self.show(view, _state_line(view))


def _state_line(view: JobView) -> str:
    from ..jobs.rendering import state_name, title_of

    return say("job_view.label", title=title_of(view), state=state_name(view))


class JobResultApp(JobsClientApp):
    """The command that shows what a job left, and copies its files."""

    name = "jupyter-fastgpu-job-result"
    description = (
        "Show the result of a job; --output=FOLDER copies the files that it saved there, and the executed "
        "notebook. Variables are read in Python, with fastgpu_jupyter.job(NUMBER).result()."
    )
    output = Unicode("", help="The folder to copy files into.").tag(config=True)
    aliases = {**ClientApp.aliases, "output": "JobResultApp.output"}

    def work(self, client: JobsClient) -> None:
        """Print the result, and copy its files where a folder was named."""
        from ..jobs.handle import Job

        job = Job(client.job(self.one_job()), client)
        view = job.last_view
        if view["kind"] == "command" and view["state"] == "done" and view["result"] is None:
            status = str(view["exit_status"])
            self.show(None, _state_line(view), say("cli.job_of_command", status=status, job=job.id))
            return
        copied = job.files(self.output or None)
        if self.output:
            copied += job.save_notebook(Path(self.output))
        result = job.last_view["result"]
        lines = [say("cli.job_value", name=name) for name in (result["values"] if result else ())]
        lines += [say("cli.job_copied", path=path) if self.output else path for path in copied]
        self.show(result, _state_line(job.last_view), *lines, indent=2)


class JobExplainApp(JobsClientApp):
    """The command that says why a result is or is not from the cache."""

    name = "jupyter-fastgpu-job-explain"
    description = "Say why the result of a job is or is not from the cache."

    def work(self, client: JobsClient) -> None:
        """Print the sentences, or all that the dispatcher knows as JSON."""
        found = client.explain(self.one_job())
        self.show(found, sentences_of(found["messages"]) or say("cli.nothing_known"), indent=2)


class JobPruneApp(JobsClientApp):
    """The command that removes old jobs and results."""

    name = "jupyter-fastgpu-job-prune"
    description = "Remove jobs that ended before --older=30d, and the results used longest ago beyond --to=10GiB."
    older = Unicode("", help="Remove jobs that ended longer ago than this, like 30d.").tag(config=True)
    to = Unicode("", help="Remove the results used longest ago until the rest has this size, like 10GiB.").tag(
        config=True
    )
    aliases = {**ClientApp.aliases, "older": "JobPruneApp.older", "to": "JobPruneApp.to"}

    def work(self, client: JobsClient) -> None:
        """Remove them and print how many."""
        if self.extra_args or not (self.older or self.to):
            raise InvalidRequest(Message.of("cli.prune_what"))
        older_ms = parse_duration(self.older) if self.older else None
        bytes_max = parse_memory(self.to) if self.to else None
        done = client.prune(older_ms, bytes_max)
        text = say("cli.pruned", jobs=done["jobs"], results=done["results"], freed_bytes=done["freed_bytes"])
        self.show(done, text)


class JobUsageApp(JobsClientApp):
    """The command that shows how much disk the jobs take."""

    name = "jupyter-fastgpu-job-du"
    description = "Show how much disk your jobs and their results take."

    def work(self, client: JobsClient) -> None:
        """Print how many jobs and results there are, and their sizes."""
        usage = client.usage()
        jobs_bytes, results_bytes = map(_memory, (usage["job_bytes"], usage["result_bytes"]))
        lines = [
            say("cli.du_jobs", count=usage["jobs"], size=jobs_bytes),
            say("cli.du_results", count=_count(usage["results"]), size=results_bytes),
        ]
        self.show(usage, *lines)


def _memory(found: int | None) -> str:
    return say("value.unknown") if found is None else format_memory(found)


def _count(found: int | None) -> str:
    return say("value.unknown") if found is None else str(found)


class JobApp(CommandApp):
    """The command whose subcommands submit jobs and look after them."""

    name = "jupyter-fastgpu-job"
    version = __version__
    description = "Run notebooks and commands as jobs on logical GPUs of their own, and look after jobs."
    subcommands: Any = {
        "run": (JobRunApp, JobRunApp.description),
        "list": (JobListApp, JobListApp.description),
        "show": (JobShowApp, JobShowApp.description),
        "log": (JobLogApp, JobLogApp.description),
        "cancel": (JobCancelApp, JobCancelApp.description),
        "result": (JobResultApp, JobResultApp.description),
        "explain": (JobExplainApp, JobExplainApp.description),
        "prune": (JobPruneApp, JobPruneApp.description),
        "du": (JobUsageApp, JobUsageApp.description),
    }

    def start(self) -> None:
        """Run the subcommand; without one print the list and exit with 1."""
        if self.subapp is None:
            self.print_help()
            sys.exit(1)
        self.subapp.start()
