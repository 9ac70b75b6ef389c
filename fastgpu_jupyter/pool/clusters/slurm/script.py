"""The job that holds a lease: the options of ``sbatch`` and its script, which runs the agent."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ..bootstrap import PROGRAM, agent_input, digest
from ..engine import AgentSpec, Want
from .parse import MINUTE_MS

#: Seconds before the end of its time in which the agent gets SIGTERM; Slurm may send it up to a minute earlier.
WARNING_S = 30
_MIB = 1024 * 1024
#: Options of ``srun`` for one program beside the agent, on all that the job has. It gets the first interrupt.
STEP_OPTIONS = ("--overlap", "--nodes=1", "--ntasks=1", "--quiet", "--disable-status")
#: The same where Slurm binds programs to processors, of which this one may use all that the job has.
UNBOUND = ("--cpu-bind=none",)


def resource_options(want: Want, gres: str) -> Iterator[str]:
    """Yield the options that say what a job needs; each value is one word, whatever it contains."""
    yield from ("--nodes=1", "--ntasks=1", f"--gres={gres}")
    if want.cpu_milli:
        yield f"--cpus-per-task={-(-want.cpu_milli // 1000)}"
    if want.host_memory_bytes:
        yield f"--mem={-(-want.host_memory_bytes // _MIB)}M"
    time_limit_ms = want.options.time_limit_ms or want.time_limit_ms
    if time_limit_ms:
        yield f"--time={-(-time_limit_ms // MINUTE_MS)}"
    for name in ("partition", "account", "qos", "constraint"):
        value = getattr(want.options, name)
        if value:
            yield f"--{name}={value}"


def job_options(name: str) -> Iterator[str]:
    """Yield the options that are the same for all leases."""
    yield from ("--parsable", f"--job-name={name}", "--no-requeue", f"--signal=B:TERM@{WARNING_S}")
    yield from ("--output=/dev/null", "--error=/dev/null", "--input=/dev/null", "--chdir=/")
    yield "--export=ALL"  # of the few that sbatch has; a list would make the node run the user's login shell first


def job_script(agent: AgentSpec, name: str, python: str) -> str:
    """Return the script of a job: it becomes the agent, which reads its spec and source from a here-document.

    ``python`` is the command of the interpreter on the node. Only the user and root can read the script in Slurm; no
    part of the spec is an argument or a variable.
    """
    text = agent_input(agent.source, agent.spec)
    expected = digest(text)
    end = f"FASTGPU-{expected[:16]}"
    command = shlex.join([*shlex.split(python), "-c", PROGRAM, expected])
    return (
        "#!/bin/sh\n"
        f"# {name}: a GPU that FastGPU for Jupyter leases to a notebook. The program below starts its kernel.\n"
        f"exec {command} <<'{end}'\n{text}{end}\n"
    )
