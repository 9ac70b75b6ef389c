"""Processes that tests drive: a pool, kernels through jupyter_client, and a Jupyter server."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.application import NoStart

from fastgpu_jupyter.cli import FastGPUApp
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.waiting import DEADLINE_S, wait_until


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def fastgpu(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``jupyter fastgpu WORDS`` to its end, in this process: for commands that only talk to the pool manager."""
    app = FastGPUApp()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app.initialize([*words])
            app.start()
        except NoStart:
            pass  # a command of the command has run
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            subapp = app.subapp
            while subapp is not None:
                type(subapp).clear_instance()
                subapp = subapp.subapp
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def fastgpu_process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``jupyter fastgpu WORDS`` to its end, as a user does."""
    command = [sys.executable, "-m", "fastgpu_jupyter", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


class PoolProcess:
    """``python -m fastgpu_jupyter pool``, with the simulated devices of ``simulate``."""

    def __init__(self, folder: Path, simulate: str) -> None:
        self.folder = folder
        self.simulate = simulate
        self.client = PoolClient(user_socket())
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "pool.out"

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The process that serves now."""
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        """Return the command of ``jupyter fastgpu``."""
        return [sys.executable, "-m", "fastgpu_jupyter"]

    def start(self, *settings: str) -> None:
        """Start, and return when it answers."""
        simulated = ["--simulate", self.simulate] if self.simulate else []
        arguments = [*self.command(), "pool", *simulated, *settings]
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(arguments, stdout=out, stderr=out, start_new_session=True)
        wait_until(self.answers, f"the pool answers; see {self._log}")

    def answers(self) -> bool:
        """Whether a pool serves."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self.log[-2000:])
        try:
            self.client.health()
        except FastGPUError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Stop it, and any pool that was started in its place."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        end_pool_at(user_socket())

    def lease(self, lease_id: str) -> dict[str, Any]:
        """One lease as the pool sees it."""
        return dict(self.client.lease(lease_id))

    def state(self, lease_id: str) -> str:
        """The state of a lease."""
        return str(self.client.lease(lease_id)["state"])

    def wait_state(self, lease_id: str, *states: str, timeout_s: float = DEADLINE_S) -> None:
        """Until the lease is in one of ``states``."""
        wait_until(lambda: self.state(lease_id) in states, f"lease {lease_id} is {' or '.join(states)}", timeout_s)

    def live(self) -> list[dict[str, Any]]:
        """The leases that have not ended."""
        return [dict(view) for view in self.client.leases() if view["state"] != "ended"]


def end_kept_kernels() -> None:
    """End the kernels that were left without a server, as by a test that failed after a kill."""
    for found in kept_kernels.records():
        process = found.kernel()
        if process is not None and found.is_orphaned() and not process.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def end_pool_at(path: Path) -> None:
    """End the pool that serves ``path``, if any: one that a server or a kernel started on demand."""
    from fastgpu_jupyter.wire import unixsocket

    try:
        sock = unixsocket.connect(path, 1.0)
    except OSError:
        return
    pid = unixsocket.peer_of(sock).pid
    sock.close()
    if pid <= 1 or pid == os.getpid():
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), f"pool {pid} ends")


@dataclass
class Ran:
    """What a cell did."""

    reply: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``ok`` or ``error``."""
        return str(self.reply["status"])

    def stream(self, name: str = "stdout") -> str:
        """What the cell wrote."""
        texts = [
            m["content"]["text"] for m in self.messages if m["msg_type"] == "stream" and m["content"]["name"] == name
        ]
        return "".join(texts)

    def shown(self, *kinds: str) -> list[str]:
        """The plain text of its displays."""
        wanted = kinds or ("display_data", "update_display_data")
        return [m["content"]["data"]["text/plain"] for m in self.messages if m["msg_type"] in wanted]

    def kinds(self) -> list[str]:
        """The kinds of its messages in order."""
        return [m["msg_type"] for m in self.messages]


def provisioner_of(manager: KernelManager) -> FastGPUProvisioner:
    """Return the provisioner that a kernel was started by."""
    assert isinstance(manager.provisioner, FastGPUProvisioner)
    return manager.provisioner


class Kernel:
    """A client of one kernel."""

    def __init__(self, client: BlockingKernelClient, manager: KernelManager | None = None) -> None:
        self.client = client
        self.manager = manager

    def wait_ready(self) -> None:
        """Wait until the kernel answers and its output arrives, also after a restart."""
        wait_until(lambda: _answers(self.client), "the kernel answers")

    def send(self, code: str, **more: Any) -> str:
        """Send a cell; returns its message id."""
        return str(self.client.execute(code, **more))

    def message(self, msg_id: str, kind: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next output message of that kind of a cell."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                found: dict[str, Any] = self.client.get_iopub_msg(timeout=0.5)
                if found["parent_header"].get("msg_id") == msg_id and found["msg_type"] == kind:
                    return found
        raise AssertionError(f"No {kind} within {timeout_s:g} s")

    def reply(self, msg_id: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """The reply to a cell."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                found = self.client.get_shell_msg(timeout=0.5)
                if found["parent_header"].get("msg_id") == msg_id:
                    return dict(found["content"])
        raise AssertionError(f"No reply within {timeout_s:g} s")

    def collect(self, msg_id: str, timeout_s: float = DEADLINE_S) -> Ran:
        """Everything that a cell did, once it is done."""
        messages: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                found = self.client.get_iopub_msg(timeout=0.5)
                if found["parent_header"].get("msg_id") != msg_id:
                    continue
                if found["msg_type"] == "status":
                    if found["content"]["execution_state"] == "idle":
                        return Ran(self.reply(msg_id), messages)
                    continue
                messages.append(found)
        raise AssertionError(f"The cell was not done within {timeout_s:g} s; so far: {messages}")

    def run(self, code: str, timeout_s: float = DEADLINE_S, **more: Any) -> Ran:
        """Run a cell to its end."""
        return self.collect(self.send(code, **more), timeout_s)

    def run_until(self, flag: Path) -> str:
        """Send a cell that runs until the file ``flag`` exists and then prints ``done``; return its id once it runs."""
        wait = "while not flag.exists():\n    time.sleep(0.02)\nprint('done')"
        code = f"import pathlib, time\nprint('runs', flush=True)\nflag = pathlib.Path({str(flag)!r})\n{wait}"
        cell = self.send(code)
        self.message(cell, "stream")
        return cell

    def value(self, expression: str) -> str:
        """``repr`` of an expression, without waiting for a grant."""
        ran = self.run(f"print(repr({expression}))")
        assert ran.status == "ok", ran
        return ran.stream().strip()

    @property
    def lease_id(self) -> str:
        """The lease with which the kernel was started."""
        assert self.manager is not None
        return str(provisioner_of(self.manager).lease_id)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        assert self.manager is not None
        pid = provisioner_of(self.manager).pid
        assert pid is not None
        return pid


def _answers(client: BlockingKernelClient) -> bool:
    """Whether a kernel replies and its output arrives.

    ``wait_for_ready`` takes a kernel for dead when its heartbeat is late, which on a busy machine it is.
    """
    request = client.kernel_info()
    try:
        while client.get_shell_msg(timeout=1)["parent_header"].get("msg_id") != request:
            pass  # of an earlier request
        while client.get_iopub_msg(timeout=0.5)["parent_header"].get("msg_id") != request:
            pass
    except queue.Empty:
        return False
    return True


class KernelHelper:
    """Kernels of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kernels: list[Kernel] = []
        #: Short, because the path of a socket is.
        self._sockets = Path(tempfile.mkdtemp(prefix="fastgpu-"))
        self._numbers = itertools.count()

    def manager(self, name: str = "fastgpu") -> KernelManager:
        """Return what starts a kernel, at sockets in the file system.

        A TCP port that is free when it is chosen may be another process's when the kernel takes it.
        """
        return KernelManager(kernel_name=name, transport="ipc", ip=str(self._sockets / f"kernel-{next(self._numbers)}"))

    def start(self, name: str = "fastgpu", notebook: str | None = None, cwd: Path | None = None, **more: Any) -> Kernel:
        """Start a kernel and wait until it answers."""
        manager = self.manager(name)
        env = {**os.environ, **({"JPY_SESSION_NAME": notebook} if notebook else {})}
        manager.start_kernel(env=env, cwd=str(cwd or self.folder), **more)
        kernel = Kernel(manager.client(), manager)
        self._kernels.append(kernel)
        kernel.client.start_channels()
        kernel.wait_ready()
        return kernel

    def stop(self, kernel: Kernel) -> None:
        """Shut a kernel down politely."""
        self._kernels.remove(kernel)
        kernel.client.stop_channels()
        assert kernel.manager is not None
        kernel.manager.shutdown_kernel()

    def end(self) -> None:
        """Shut all down."""
        for kernel in list(self._kernels):
            kernel.client.stop_channels()
            assert kernel.manager is not None
            with contextlib.suppress(Exception):
                kernel.manager.shutdown_kernel(now=True)
        self._kernels.clear()
        shutil.rmtree(self._sockets, ignore_errors=True)


#: Loading these takes longer than FastGPU does, and as much processor time as the rest of a server's start.
OTHER_EXTENSIONS = ("jupyterlab", "jupyter_lsp", "jupyter_server_terminals", "notebook", "notebook_shim")


class ChildProcess(Protocol):
    """What is used of a process that was started, such as :class:`subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None, /) -> int: ...
    def kill(self) -> None: ...
    def terminate(self) -> None: ...


class ServerProcess:
    """``python -m jupyter_server`` with this extension alone, reached by its token.

    The tests in the browser have servers with the other extensions.
    """

    token = "the-token-of-the-tests"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        #: To listen on; 0 chooses one.
        self.port = 0
        self._process: ChildProcess | None = None
        self._clients: list[BlockingKernelClient] = []
        self.log_path = folder / "server.out"

    def start(self, *arguments: str) -> None:
        """Start, and return when it answers."""
        self._process = self.launch(self.arguments(*arguments))
        self.url = wait_until(self._find_url, f"the server answers; see {self.log_path}")

    def arguments(self, *more: str) -> list[str]:
        """Return the arguments of the process; its root folder is created."""
        root = self.folder / "notebooks"
        root.mkdir(exist_ok=True)
        return [
            f"--port={self.port}", "--no-browser", "--allow-root",
            f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={self.token}",
            "--ServerApp.jpserver_extensions=fastgpu_jupyter=True",
            *(f"--ServerApp.jpserver_extensions={name}=False" for name in OTHER_EXTENSIONS),
            "--ServerApp.allow_unauthenticated_access=False",
            *more,
        ]  # fmt: skip

    def launch(self, arguments: list[str]) -> ChildProcess:
        """Start the process, which writes its log to :attr:`log_path`."""
        command = [sys.executable, "-m", "jupyter_server", *arguments]
        with self.log_path.open("ab") as out:
            return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self.log_path.read_text()

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def _find_url(self) -> str | None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self.log[-3000:])
        found = re.findall(r"running at:\s.*?(http://\S+?/)(?:\?|lab|tree|\s)", self.log)
        if not found:
            return None
        url = re.sub(r"//[^:/]+", "//127.0.0.1", str(found[-1]))
        try:
            urllib.request.urlopen(f"{url}api", timeout=5).close()
        except urllib.error.HTTPError as refused:
            refused.close()
        except OSError:
            return None
        return url

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = token,
        headers: dict[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> tuple[int, Any]:
        """Status and JSON of a request; a body that is bytes is sent as it is."""
        headers = {**({"Authorization": f"token {token}"} if token else {}), **(headers or {})}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as refused:
            with refused:
                text = refused.read()
                return refused.code, json.loads(text) if text else None

    def start_session(self, notebook: str, kernel: str = "fastgpu") -> dict[str, Any]:
        """What JupyterLab does when a notebook is opened."""
        body = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": kernel}}
        status, session = self.call("POST", "api/sessions", body)
        assert status == 201, (status, session)
        return dict(session)

    def kernel(self, session: dict[str, Any]) -> Kernel:
        """A client of a session's kernel, beside the server."""
        from jupyter_core.paths import jupyter_runtime_dir

        client = BlockingKernelClient()
        path = Path(jupyter_runtime_dir()) / f"kernel-{session['kernel']['id']}.json"
        client.load_connection_file(str(path))
        client.start_channels()
        self._clients.append(client)
        kernel = Kernel(client)
        kernel.wait_ready()
        return kernel

    def close_sessions(self) -> None:
        """Shut the kernels of all notebooks down, and forget their clients."""
        for client in self._clients:
            client.stop_channels()
        self._clients.clear()
        _, sessions = self.call("GET", "api/sessions")
        for session in sessions:
            self.call("DELETE", f"api/sessions/{session['id']}")

    def kill(self) -> None:
        """SIGKILL, the server's process only."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def keep_port(self) -> None:
        """Listen on the same port when this is started again, as an open browser tab needs it."""
        port = urllib.parse.urlsplit(self.url).port
        assert port is not None
        self.port = port

    def terminate(self, timeout_s: float = DEADLINE_S) -> int:
        """SIGTERM; fails where the server does not stop."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"The server does not stop; its last words: {self.log[-3000:]}") from None

    def end(self) -> None:
        """Stop it, the kernels that it or an earlier one has left, and the pool that it may have started."""
        for client in self._clients:
            client.stop_channels()
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(AssertionError):
                self.terminate(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        end_kept_kernels()
        end_pool_at(user_socket())
