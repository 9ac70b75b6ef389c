"""Runs the commands of Slurm: each with a time limit, without a shell, and with a small environment.

A job has the environment of its ``sbatch``. The pool manager's own may have secrets in it, so that only the variables
that Slurm or a shell needs are passed on.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ....errors import EngineUnavailable, Message

#: Variables that Slurm's commands need, or by which users say what ``sbatch`` takes where nothing else is named.
#: Those of a job in which the pool manager may run are left out: they would change the jobs that it submits.
_KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "KRB5CCNAME", "SLURM_CONF", "SBATCH_ACCOUNT",
     "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_CONSTRAINT", "SBATCH_RESERVATION"}
)  # fmt: skip
#: Times as seconds since 1970, whatever the time zones of the hosts are.
_TIMES = {"SLURM_TIME_FORMAT": "%s"}
#: Characters of an answer that are read; a list of a user's own jobs, or of partitions, has far fewer.
ANSWER_CHARS_MAX = 16 * 1024 * 1024
#: Characters that are shown of what a command says of its failure.
TEXT_MAX = 500
#: Words of a command that says that it did not reach Slurm, in lower case; nothing is known of its request then.
_UNREACHED = (
    "unable to contact slurm controller",
    "unable to connect to slurm",
    "connect failure",
    "connection refused",
    "connection timed out",
    "socket timed out",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
    "slurm backup controller in standby",
    "protocol authentication error",
    "munge encode failed",
    "invalid authentication credential",
    "temporarily unable to accept job",
    "slurm_unpack_received_msg",
    "resolve_ctls_from_dns_srv",
    "could not establish a configuration source",
    "incompatible versions of client and server",
)


class Ran(NamedTuple):
    """What a command printed, and its exit status."""

    output: str
    errors: str
    status: int

    @property
    def said(self) -> str:
        """Why it failed, on one line, without the name of the command before it."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(map(_without_command, lines)))[:TEXT_MAX]


class Timeouts(NamedTuple):
    """Seconds after which a command is ended."""

    query_s: float = 30.0  #: a controller that does not answer lets ``squeue`` wait for 18 s
    submit_s: float = 60.0


DEFAULT_TIMEOUTS = Timeouts()


class Commands:
    """The commands of Slurm, with ``environ`` as the environment of the pool manager."""

    def __init__(self, environ: Mapping[str, str], timeouts: Timeouts = DEFAULT_TIMEOUTS) -> None:
        self._environment = {name: value for name, value in environ.items() if name in _KEPT}
        self._timeouts = timeouts
        self._found: dict[str, str] = {}  #: paths of programs, looked up once

    def with_configuration(self, argv: Sequence[str]) -> Sequence[str]:
        """Return a command that finds the same Slurm when another process runs it, whatever its environment is."""
        if argv[0] not in self._found:
            self._found[argv[0]] = shutil.which(argv[0], path=self._environment.get("PATH")) or argv[0]
        given = [f"SLURM_CONF={value}"] if (value := self._environment.get("SLURM_CONF")) else []
        return ("env", *given, self._found[argv[0]], *argv[1:])

    def query(self, *argv: str) -> Ran:
        """Run a command that changes nothing but what it names. Raises :class:`EngineUnavailable`."""
        return self._run(argv, "", self._timeouts.query_s, self._environment | _TIMES)

    def trial(self, argv: Sequence[str], script: str) -> Ran:
        """Run a command that reads a script and submits nothing. Raises :class:`EngineUnavailable`."""
        return self._run(argv, script, self._timeouts.query_s, self._environment | _TIMES)

    def submit(self, options: Sequence[str], script: str) -> Ran:
        """Run ``sbatch`` with a script on its standard input. Raises :class:`EngineUnavailable`.

        Where it raises, the job may have been submitted nevertheless.
        """
        return self._run(("sbatch", *options), script, self._timeouts.submit_s, self._environment)

    def _run(self, argv: Sequence[str], text: str, timeout_s: float, environment: Mapping[str, str]) -> Ran:
        ran = self._execute(argv, text, timeout_s, environment)
        if ran.status and any(words in ran.errors.lower() for words in _UNREACHED):
            raise EngineUnavailable(Message.of("slurm.unreached", text=ran.said))
        return ran

    def _execute(self, argv: Sequence[str], text: str, timeout_s: float, environment: Mapping[str, str]) -> Ran:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise EngineUnavailable(Message.of("slurm.no_command", command=argv[0], reason=reason)) from error
        try:
            output, errors = process.communicate(text, timeout_s)
        except subprocess.TimeoutExpired:
            timeout_ms = int(timeout_s * 1000)
            raise EngineUnavailable(Message.of("slurm.silent", command=argv[0], timeout_ms=timeout_ms)) from None
        finally:
            _end(process)
        if len(output) > ANSWER_CHARS_MAX:
            raise EngineUnavailable(Message.of("slurm.too_much", command=argv[0]))
        if process.returncode < 0:  # it may have done all, or nothing
            raise EngineUnavailable(Message.of("slurm.killed", command=argv[0], signum=-process.returncode))
        return Ran(output, errors, process.returncode)


def _end(process: subprocess.Popen[str]) -> None:
    """End a command, with what it started: a site may have put a script of its own in its place."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError):  # what it did not read is not written any more
                stream.close()


def _without_command(line: str) -> str:
    """Return a line of an error without ``sbatch: error:`` and the like at its beginning."""
    for words in ("sbatch: ", "scancel: ", "squeue: ", "sinfo: ", "scontrol: ", "error: ", "fatal: "):
        line = line.removeprefix(words)
    return line.removeprefix("Batch job submission failed: ").removeprefix("allocation failure: ")
