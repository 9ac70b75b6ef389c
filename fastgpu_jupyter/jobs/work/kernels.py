"""The kernel of a job: which one runs, and how it is started: without any provisioner, on the lease of the job."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager

from ...errors import InvalidRequest, Message

#: The module of FastGPU's own kernel, which would request a lease of its own.
_GATE_MODULE = "fastgpu_jupyter.kernel"
_LAUNCHER = "ipykernel_launcher"
_PYTHON = "python"
_LOCAL = {"kernel_provisioner": {"provisioner_name": "local-provisioner", "config": {}}}
_CHECK_S = 60.0
#: A Unix socket's address has 107 bytes; jupyter_client adds a number to the path.
_SOCKET_PATH_BYTES_MAX = 100


class OneKernelSpec(KernelSpecManager):
    """Knows one kernelspec, whatever name is asked for."""

    def __init__(self, spec: KernelSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._only = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 (of the base class)
        """Return the kernelspec of the job."""
        return self._only


def python_spec(interpreter: str) -> KernelSpec:
    """Return a kernelspec of ipykernel in an interpreter."""
    argv = [interpreter, "-m", _LAUNCHER, "-f", "{connection_file}"]
    return KernelSpec(argv=argv, language=_PYTHON, display_name=interpreter, metadata=_LOCAL)


def spec_of_notebook(metadata: Any, chosen: str | None, interpreter: str) -> KernelSpec:
    """Return the kernelspec for a notebook: the chosen one, or for Python the job's interpreter.

    Raises :class:`InvalidRequest` where there is no such kernel.
    """
    named = metadata.get("kernelspec", {})
    language = str(named.get("language") or metadata.get("language_info", {}).get("name") or _PYTHON).lower()
    if chosen is None and language == _PYTHON:
        return python_spec(interpreter)
    name = chosen or str(named.get("name", ""))
    try:
        spec = KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        raise InvalidRequest(Message.of("jobs.no_kernel", kernel=name)) from None
    argv = list(spec.argv)
    if _GATE_MODULE in argv:
        argv = python_spec(argv[0]).argv
    return KernelSpec(
        argv=argv, language=spec.language, display_name=spec.display_name, env=spec.env, metadata=_LOCAL,
        interrupt_mode=spec.interrupt_mode,
    )  # fmt: skip


def manager_of(spec: KernelSpec, folder: Path) -> AsyncKernelManager:
    """Return the manager of a kernel that is not started yet; its connection file and sockets are in ``folder``.

    Only this user can reach sockets there. Where even a temporary folder's path is too long for them, the kernel has
    ports, as any other.
    """
    manager = AsyncKernelManager(kernel_name="job", connection_file=str(folder / "kernel.json"))
    sockets = str(folder / "kernel")
    if len(os.fsencode(sockets)) < _SOCKET_PATH_BYTES_MAX:
        manager.transport, manager.ip = "ipc", sockets
    manager.kernel_spec_manager = OneKernelSpec(spec)
    return manager


def why_not_started(spec: KernelSpec, error: BaseException) -> Message:
    """Return why a kernel could not be started, or did not answer."""
    program = spec.argv[0]
    if isinstance(error, FileNotFoundError):
        return Message.of("jobs.no_interpreter", interpreter=program)
    if _LAUNCHER in spec.argv:
        try:
            check = [program, "-c", "import ipykernel"]
            found = subprocess.run(check, capture_output=True, timeout=_CHECK_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return Message.of("jobs.no_interpreter", interpreter=program)
        if found.returncode:
            return Message.of("jobs.no_ipykernel", interpreter=program)
    return Message.of("jobs.kernel_not_started", reason=str(error) or type(error).__name__)
