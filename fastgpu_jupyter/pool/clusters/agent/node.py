"""What the agent finds on its node: the devices of its job, the address that reaches the pool manager, its parents."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Mapping

#: Variables that say which devices a process sees: those of the job win over those that a kernel is started with.
DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
#: What no kernel inherits from the job: rights and identities of other programs.
SCRUBBED = ("SLURM_JWT", "RAY_AUTH_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_API_TOKEN")
SCRUBBED_PREFIXES = ("FASTGPU_", "JPY_", "JUPYTERHUB_")
#: Variables of the job that the hello reports.
REPORTED = (
    *DEVICE_VARIABLES,
    "SLURM_JOB_ID",
    "SLURM_JOB_GPUS",
    "SLURM_STEP_GPUS",
    "SLURM_JOB_NAME",
    "SLURM_JOB_PARTITION",
    "SLURMD_NODENAME",
)
REPORTED_CHARS_MAX = 1000
#: The first ipykernel that encrypts its channels; an older one ignores the keys, and its client would wait for ever.
ENCRYPTING_IPYKERNEL = (7, 3)
VERSION_S = 20.0
PR_SET_PDEATHSIG = 1


def device_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which a kernel sees the devices of the job, and no other one.

    Slurm sets ``GPU_DEVICE_ORDINAL`` only for a job with shards where ``mps`` is configured, too; without any of the
    two a kernel would see every device of the node.
    """
    found = {name: environ[name] for name in DEVICE_VARIABLES if name in environ}
    found.setdefault("CUDA_VISIBLE_DEVICES", environ.get("GPU_DEVICE_ORDINAL", ""))
    found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the numbers are those of NVML and of Slurm
    return found


def kernel_environment(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a kernel: the job's without what is not for it, then ``given``, then the devices."""
    kept = {
        name: value for name, value in own.items() if name not in SCRUBBED and not name.startswith(SCRUBBED_PREFIXES)
    }
    if kept.get("PYTHONBREAKPOINT", "").startswith("ray."):
        del kept["PYTHONBREAKPOINT"]
    if any(name.startswith("RAY_") for name in own) and kept.get("OMP_NUM_THREADS") == "1":
        del kept["OMP_NUM_THREADS"]  # Ray sets it for its workers, not for what they start
    kept.update({name: value for name, value in given.items() if name not in DEVICE_VARIABLES})
    kept.update(device_variables(own))
    kept["JPY_PARENT_PID"] = str(os.getpid())
    return kept


def reported_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the job that say what it was given."""
    return {name: environ[name][:REPORTED_CHARS_MAX] for name in REPORTED if name in environ}


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of ``host:port`` or ``[host]:port``. Raises :class:`ValueError`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def accepts(host: str, port: int, timeout_s: float = 0.2) -> bool:
    """Return whether a connection to a port is accepted in time."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True


def own_address(address: str) -> str:
    """Return the address of this host from which ``address`` is reached; nothing is sent.

    Raises :class:`OSError` where there is no route.
    """
    family, kind, protocol, _, target = socket.getaddrinfo(*host_and_port(address), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def encrypts(interpreter: str, environ: Mapping[str, str]) -> bool:
    """Return whether the ipykernel of a Python ``interpreter`` encrypts its channels; False where that is unknown."""
    if interpreter == sys.executable:
        return _is_encrypting(installed_version())
    command = [interpreter, "-c", "import importlib.metadata as m; print(m.version('ipykernel'))"]
    try:
        # In a folder in which no user's module is found: the option -P is not there before Python 3.11.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
            env=dict(environ), timeout=VERSION_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return _is_encrypting(done.stdout.decode(errors="replace").strip())


@functools.lru_cache(maxsize=None)
def installed_version() -> str:
    """Return the version of the ipykernel of this interpreter, empty without one; the first call takes 30 ms."""
    import importlib.metadata

    try:
        return importlib.metadata.version("ipykernel")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _is_encrypting(version: str) -> bool:
    numbers: list[int] = []
    for part in version.split(".")[:2]:
        if not part.isdigit():
            return False
        numbers.append(int(part))
    return tuple(numbers) >= ENCRYPTING_IPYKERNEL


class Parents:
    """The processes under which the agent runs: when one of them ends, its job is over or lost to the engine."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        #: Slurm's own process of the job, which a shell may be between; killed, neither Slurm nor the shell ends.
        self._stepd = _stepd_above(self._parent)

    def gone(self) -> bool:
        """Return whether the parent, or the engine's process of the job, has ended."""
        if os.getppid() != self._parent:
            return True
        return self._stepd is not None and _started(self._stepd[0]) != self._stepd[1]


def _stepd_above(pid: int) -> tuple[int, str] | None:
    """Return the nearest ``slurmstepd`` among ``pid`` and its parents, with its start time; None without one."""
    for _ in range(64):
        fields = _stat(pid)
        if pid <= 1 or fields is None:
            return None
        if fields[0] == "slurmstepd":
            return pid, fields[20]
        pid = int(fields[2])
    return None


def descends_from(pid: int, ancestor: int) -> bool:
    """Return whether a process was started by ``ancestor`` or by its descendants, all of which still run."""
    for _ in range(64):
        fields = _stat(pid)
        if fields is None or pid <= 1:
            return False
        if pid == ancestor:
            return True
        pid = int(fields[2])
    return False


def of_this_job(pid: int) -> bool:
    """Return whether a process is one of this job: of the agent, or of another step of it."""
    if descends_from(pid, os.getpid()):
        return True
    job = os.environ.get("SLURM_JOB_ID")
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # of another user
    return bool(job) and f"SLURM_JOB_ID={job}".encode() in variables


def _started(pid: int) -> str | None:
    fields = _stat(pid)
    return None if fields is None or fields[1] == "Z" else fields[20]


def _stat(pid: int) -> list[str] | None:
    """Return name, state, parent and the further fields of a process; None for one that is gone. See ``proc(5)``."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return [name, *rest.split()]


_libc = ctypes.CDLL(None, use_errno=True)


def prepare_child(agent: int) -> None:
    """Make the process that becomes the kernel end with its agent and get every signal; runs between fork and exec."""
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != agent:
        os._exit(1)  # the agent ended before the line above
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # Ray blocks SIGINT, and a blocked signal is inherited
