"""A Jupyter server that kills itself at a failpoint, which tests name in a file while the server runs.

``python -m tests.crash.failing_server --fork`` forks one for each line of standard input (see :mod:`.forking`):
``{"arguments": [...], "crash_at": PATH, "output": PATH}``. While PATH names a point, such as ``after-go`` or
``before-hold``, the server that reaches it ends. The package has no hooks: the child wraps its methods.

A failpoint is ``before-`` or ``after-`` one of these steps:

    acquire        the lease of a kernel is requested, or found again
    record         the record of a kernel that is about to be started is written
    hand-over      a standby kernel begins to be the kernel, without its environment
    go             it gets its environment, and is the kernel
    process        the process of a cold start is started
    recorded       the record says which process the kernel is
    hold           the same, and the kernel becomes the holder of the lease
    keep           the server becomes the holder of the lease of a kernel that restarts
    session        the session is saved
    session-noted  the record of the kernel names the session
    restart        the record says that the kernel restarts
    cleanup        the process of a kernel that ends or restarts has ended
    release        the lease is released
    claim          the server makes itself the one that a record names
    adopt          a kernel of an earlier server gets its provisioner
    register       it becomes one of the server's kernels
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupyter_client.ioloop  # noqa: F401 (what a server imports late)
import jupyterlab_server  # noqa: F401
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_server import serverapp
from jupyter_server.services.sessions.sessionmanager import SessionManager

from fastgpu_jupyter.compat import jupyter_server as compat_server
from fastgpu_jupyter.server import extension  # noqa: F401
from fastgpu_jupyter.server.holder_binding import HolderBinding
from fastgpu_jupyter.server.kernel_lease import KernelLease
from fastgpu_jupyter.server.kernel_records import KernelRecords
from fastgpu_jupyter.server.local_kernel import LocalKernel
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from fastgpu_jupyter.server.standby_process import StandbyProcess
from fastgpu_jupyter.wire import kept_kernels
from tests.crash.forking import ForkedProcess, Forker, serve_forks
from tests.helpers import ChildProcess, ServerProcess

#: A kernel whose process is not known may start for so long.
STARTS_WITHIN_S = 3.0


def install(crash_at: Path) -> None:
    """Let this process kill itself at the point that ``crash_at`` names."""

    def at(point: str) -> None:
        if crash_at.read_text() == point:
            os.kill(os.getpid(), signal.SIGKILL)

    steps: dict[str, tuple[Any, str]] = {
        "acquire": (KernelLease, "acquire"),
        "record": (KernelRecords, "_begin"),
        "hand-over": (StandbyProcess, "hand_over"),
        "go": (StandbyProcess, "go"),
        "process": (LocalProvisioner, "launch_kernel"),
        "recorded": (KernelRecords, "started"),
        "hold": (LocalKernel, "_hold_by_process"),
        "keep": (HolderBinding, "bind_server"),
        "session": (SessionManager, "save_session"),
        "session-noted": (KernelRecords, "session_changed"),
        "restart": (FastGPUProvisioner, "_note_restart"),
        "cleanup": (FastGPUProvisioner, "cleanup"),
        "release": (KernelLease, "release"),
        "claim": (kept_kernels, "claim"),
        "adopt": (LocalKernel, "adopt"),
        "register": (compat_server, "register_running_kernel"),
    }
    for step, (owner, method) in steps.items():
        _around(at, owner, method, step)


def _around(at: Callable[[str], None], owner: Any, method: str, step: str) -> None:
    """Call ``at`` before and after a function or a coroutine function."""
    real = getattr(owner, method)

    @functools.wraps(real)
    def call(*args: Any, **named: Any) -> Any:
        at(f"before-{step}")
        result = real(*args, **named)
        at(f"after-{step}")
        return result

    @functools.wraps(real)
    async def call_async(*args: Any, **named: Any) -> Any:
        at(f"before-{step}")
        result = await real(*args, **named)
        at(f"after-{step}")
        return result

    setattr(owner, method, call_async if inspect.iscoroutinefunction(real) else call)


class ForkedServer(ServerProcess):
    """A server that is forked, and ends itself at the point that is written to :attr:`crash_at`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.crash_at = folder / "crash-at"
        self._forker = Forker(__name__)

    def start(self, *arguments: str) -> None:
        """Start without a failpoint, and return when it answers."""
        self.crash_at.write_text("")
        super().start(*arguments)

    def launch(self, arguments: list[str]) -> ChildProcess:
        """Fork a server."""
        self.log_path.touch()
        return ForkedProcess(self._forker, arguments=arguments, crash_at=str(self.crash_at), output=str(self.log_path))

    def fail_to_start(self, step: str, *arguments: str) -> None:
        """Start a server that reaches a failpoint before it answers."""
        self.crash_at.write_text(step)
        self._process = self.launch(self.arguments(*arguments))
        self.wait_killed()

    def wait_killed(self) -> None:
        """Wait until the server has reached its failpoint."""
        assert self._process is not None
        assert self._process.wait() == -signal.SIGKILL

    def end(self) -> None:
        """End all processes."""
        super().end()
        self._forker.close()


def run(wanted: dict[str, Any]) -> None:
    """Run a server in this process."""
    sys.argv[:] = ["jupyter-server", *wanted["arguments"]]
    kept_kernels.STARTS_WITHIN_S = STARTS_WITHIN_S
    install(Path(wanted["crash_at"]))
    serverapp.launch_new_instance()


if __name__ == "__main__":
    serve_forks(run)
