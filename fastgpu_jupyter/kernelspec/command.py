"""The command of a Python kernel: the module that it names, and whether its interpreter can run FastGPU's kernel.

A kernelspec may start its interpreter by other programs, such as ``conda run``, ``env`` or a shell. Only the command
itself knows which interpreter that will be, so the command is run, with a module of this package in place of the
kernel's.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from ..errors import Message

KERNEL_MODULE = "fastgpu_jupyter.kernel"
#: A module that prints :data:`MARKER` and ends, where the interpreter can run :data:`KERNEL_MODULE`.
PROBE_MODULE = "fastgpu_jupyter.kernel.probe"
MARKER = "FASTGPU_KERNEL_CAN_RUN"
#: A command that takes longer is given up; environments on network disks take many seconds.
PROBE_TIMEOUT_S = 60.0
_MODULES = rf"(?:ipykernel_launcher|ipykernel|{re.escape(KERNEL_MODULE)})"
#: In one word: ``-mipykernel``, or a command of a shell.
_IN_WORD = re.compile(rf"(?<!\S)(-m\s*){_MODULES}(?![\w.])")
#: ``jupyter_client`` runs the server's own interpreter for these.
_OWN_PYTHON = {"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"}


class Probe(NamedTuple):
    """Whether the kernel of a command can have the gate; ``gate`` is None where that could not be found out."""

    gate: bool | None
    reason: Message | None = None  #: why it has none


def with_module(argv: Sequence[str], module: str) -> list[str] | None:
    """Return ``argv`` with the kernel's module replaced by ``module``; None where it does not start an ipykernel."""
    for index, word in enumerate(argv):
        if word == "-m" and re.fullmatch(_MODULES, "".join(argv[index + 1 : index + 2])):
            return [*argv[: index + 1], module, *argv[index + 2 :]]
        replaced, count = _IN_WORD.subn(rf"\g<1>{module}", word)
        if count:
            return [*argv[:index], replaced, *argv[index + 1 :]]
    return None


def probe(spec: Mapping[str, Any], folder: Path, timeout_s: float = PROBE_TIMEOUT_S) -> Probe:
    """Return whether the command of ``spec``, the content of a kernel.json in ``folder``, can run FastGPU's kernel."""
    argv = with_module(spec["argv"], PROBE_MODULE)
    if argv is None:
        return Probe(gate=False, reason=Message.of("kernelspec.other_kernel"))
    env = {name: Template(value).safe_substitute(os.environ) for name, value in spec.get("env", {}).items()}
    with tempfile.TemporaryDirectory() as scratch:
        values = {"connection_file": f"{scratch}/kernel.json", "resource_dir": str(folder), "prefix": sys.prefix}
        command = [re.sub(r"{(\w+)}", lambda found: values.get(found[1], found[0]), word) for word in argv]
        if command[0] in _OWN_PYTHON:
            command[0] = sys.executable
        return _run(command, {**os.environ, **env}, scratch, timeout_s)


def _run(command: Sequence[str], env: Mapping[str, str], folder: str, timeout_s: float) -> Probe:
    """Run the command in ``folder``, an empty one, so that no file of the current folder is imported."""
    try:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Probe(gate=None, reason=Message.of("kernelspec.not_run", reason=str(error)))
    with process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            # The wrapper and its interpreter: it leads a session of its own.
            os.killpg(process.pid, signal.SIGKILL)
            return Probe(gate=None, reason=Message.of("kernelspec.probe_timeout", timeout_ms=round(1000 * timeout_s)))
    if MARKER in out:
        return Probe(gate=True)
    if "No module named" in err and KERNEL_MODULE.partition(".")[0] in err:
        return Probe(gate=False, reason=Message.of("kernelspec.no_package"))
    last = (err.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
    return Probe(gate=None, reason=Message.of("kernelspec.not_run", reason=last[:200]))
