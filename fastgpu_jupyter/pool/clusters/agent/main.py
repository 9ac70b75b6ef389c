"""The agent: starts a kernel inside an allocation when the pool manager says so, and gives the allocation back.

It runs on a node as the process of an engine's job, with the standard library and pyzmq of the kernel's environment. It
gets its specification (JSON) with its source, connects to the pool manager, and ends when it is released, when the
pool manager has not answered for ``orphan_after_s``, when the pool manager refuses its token, when its job is ended, or
when the process that the engine runs it under has ended. A kernel never outlives it.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

from .kernel import PORTS, KernelProcess
from .link import OutgoingLink
from .node import (
    Parents,
    device_variables,
    encrypts,
    installed_version,
    kernel_environment,
    own_address,
    reported_variables,
)
from .nvml import DeviceSampler
from .relay import Relay

PROTOCOL = 1
BEAT_S = 2.0
TICK_S = 0.5
#: The pause between two looks at a kernel that starts or ends.
BUSY_TICK_S = 0.02
#: How long the first answer of the pool manager may take: it may be down for a moment, or a firewall be in between.
FIRST_ANSWER_S = 330.0
START_S = 60.0
#: How long the agent waits for the driver before it introduces itself without its devices.
DEVICES_S = 15.0
#: Commands whose answers are kept, for a pool manager that repeats one because the answer was lost.
ANSWERS_MAX = 64


#: The names of files that a start may bring; none is one of the agent's own.
FILE_NAME = re.compile(r"(?!kernel-|pool\.sock)[a-z_][a-z_.]{0,31}\Z")


def _filled(text: str, placed: dict[str, str]) -> str:
    for name, value in placed.items():
        text = text.replace(name, value)
    return text


class CommandRefused(Exception):
    """A command cannot be carried out; ``code`` is for programs."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(code)
        self.code, self.text = code, text


def _unknown_command(_message: dict[str, Any]) -> dict[str, Any]:
    raise CommandRefused("unknown_command")


class Agent:
    """The agent of one job, with the keys of the specification: see :func:`main`."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._orphan_after = float(spec["orphan_after_s"])
        self._instance = secrets.token_hex(16)
        self._link = OutgoingLink([str(address) for address in spec["addresses"]], spec["server_key"], spec["token"])
        self._folder = tempfile.mkdtemp(prefix="fastgpu-")  # 0700
        self._relay = Relay(str(Path(self._folder) / "pool.sock"), self._link.send)
        self._parents = Parents()
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        # The link is opened once the sampler is ready: at once, not after the next tick.
        self._sampler = DeviceSampler(device_variables(os.environ), lambda: os.write(wake, b"\0"))
        self._sampler.start()
        self._connect_at = time.monotonic() + DEVICES_S
        self._kernel: KernelProcess | None = None
        self._generation = 0
        self._start: dict[str, Any] | None = None  #: the command to start a kernel that is carried out
        self._start_until = 0.0
        self._answers: dict[str, dict[str, Any]] = collections.OrderedDict()
        self._welcomed = False
        self._silent = 0.0
        self._ticked = self._beaten = time.monotonic()
        self._over: str | None = None  #: why the agent ends
        self._poller = zmq.Poller()
        self._waiting: list[Any] = []  #: what the poller looks at
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def run(self) -> str:
        """Serve until the agent is to end; return why."""
        try:
            while self._over is None:
                self._step()
                self._wait()
            self._link.send({"op": "bye", "instance": self._instance, "reason": self._over})
            if self._kernel is not None:
                self._kernel.wait_for_end(lambda: time.sleep(BUSY_TICK_S))
            self._beat()
        finally:
            if self._kernel is not None:
                self._kernel.close()
            self._relay.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._link.close()
        return self._over

    def _on_signal(self, number: int, _frame: Any) -> None:
        self._over = self._over or ("terminated" if number == signal.SIGTERM else "interrupted")

    def _wait(self) -> None:
        """Wait until there is something to do."""
        wanted: list[tuple[Any, bool, bool]] = [(self._wake, True, False), *self._relay.wanted()]
        if self._link.socket is not None:
            wanted += [(self._link.socket, True, False), (self._link.monitor, True, False)]
        kernel = self._kernel
        if kernel is not None and kernel.fileno() >= 0:
            wanted.append((kernel.fileno(), True, False))
        if wanted != self._waiting:
            self._poller = zmq.Poller()
            for each, reads, writes in wanted:
                if reads or writes:
                    self._poller.register(each, zmq.POLLIN * reads | zmq.POLLOUT * writes)
            self._waiting = wanted
        busy = kernel is not None and (self._start is not None or kernel.ending)
        self._poller.poll(int(1000 * (BUSY_TICK_S if busy else TICK_S)))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _step(self) -> None:
        now = time.monotonic()
        # Time in which this process was stopped does not count: the answers wait in the socket.
        self._silent += min(now - self._ticked, 2 * TICK_S)
        self._ticked = now
        if self._kernel is not None:
            self._kernel.read_output()
        self._receive()
        self._look_at_kernel()
        if self._link.changed():
            self._relay.close_connections()
            if self._link.connected:
                self._hello()
        self._relay.step()
        if self._sampler.ready.is_set() or now >= self._connect_at:
            self._link.connect()
        if now - self._beaten >= BEAT_S:
            self._beat()
        self._over = self._over or self._reason_to_end()

    def _reason_to_end(self) -> str | None:
        if self._link.refused:
            return "refused"
        if self._silent > (self._orphan_after if self._welcomed else max(self._orphan_after, FIRST_ANSWER_S)):
            return "orphaned"
        return "lost" if self._parents.gone() else None

    # -- messages ------------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        for message, payload in self._link.receive():
            operation = message.get("op")
            if operation == "pong":
                self._welcomed, self._silent = True, 0.0
                self._link.heard()
                if message.get("hello"):
                    self._relay.close_connections()
                    self._hello()
            elif operation in ("data", "ack", "close"):
                self._relay.on_message(operation, message, payload)
            elif operation == "refused":
                self._over = self._over or "refused"
            elif operation == "do":
                self._carry_out(message)

    def _hello(self) -> None:
        self._beaten = time.monotonic()
        try:
            address = own_address(self._link.address or "")
        except OSError:
            address = ""
        self._link.send(
            {
                "op": "hello",
                "protocol": PROTOCOL,
                "instance": self._instance,
                "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
                "address": address,
                "pid": os.getpid(),
                "job_id": os.environ.get("SLURM_JOB_ID", ""),
                "variables": reported_variables(os.environ),
                "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
                "kernel": self._kernel_state(),
                "connection": self._connection(),
                "devices": self._sampler.devices,
            }
        )
        installed_version()  # now, while no caller waits for it: what is asked for next is a kernel

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        use = self._sampler.use(self._beaten)
        self._link.send({"op": "beat", "instance": self._instance, "kernel": self._kernel_state(), "devices": use})

    def _kernel_state(self) -> dict[str, Any] | None:
        kernel = self._kernel
        if kernel is None:
            return None
        return {
            "generation": self._generation,
            "state": kernel.state,
            "pid": kernel.pid,
            "exit_code": kernel.exit_code,
            "age_s": time.monotonic() - kernel.started,
            "output": kernel.output if kernel.exit_code is not None else "",
        }

    def _connection(self) -> dict[str, Any] | None:
        return self._kernel.connection if self._kernel is not None and self._kernel.running else None

    # -- commands ------------------------------------------------------------------------------------------------------

    def _carry_out(self, message: dict[str, Any]) -> None:
        """Carry out a command once, however often it comes, and answer each time."""
        identity = str(message.get("id"))
        if identity in self._answers:
            self._link.send(self._answers[identity])
            return
        if self._start is not None and self._start.get("id") == identity:
            return  # answered when it is done
        try:
            command = {
                "start": self._command_start, "signal": self._command_signal, "end": self._command_end,
                "release": self._command_release,
            }.get(str(message.get("command")))  # fmt: skip
            result = (command or _unknown_command)(message)
        except CommandRefused as refusal:
            self._answer(identity, error={"code": refusal.code, "text": refusal.text})
        except (KeyError, TypeError, ValueError, OSError) as error:
            self._answer(identity, error={"code": "failed", "text": repr(error)[:2000]})
        else:
            if result is not None:
                self._answer(identity, result=result)

    def _answer(self, identity: str, **answer: Any) -> None:
        self._answers[identity] = {"op": "answer", "instance": self._instance, "id": identity, **answer}
        while len(self._answers) > ANSWERS_MAX:
            self._answers.popitem(last=False)  # type: ignore[call-arg]
        self._link.send(self._answers[identity])

    def _command_start(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Start a kernel; the answer comes when it has its ports."""
        if self._start is not None:
            raise CommandRefused("starting")
        self._look_at_kernel()  # it may have ended since the last look
        kernel = self._kernel
        if kernel is not None and kernel.exit_code is None:
            if message.get("restart") or kernel.ending:
                kernel.end()
            elif kernel.running and kernel.connection["key"] == message["key"]:
                return self._started()  # the pool manager was started again, and asks again
            else:
                raise CommandRefused("running")
        self._start = message
        self._start_until = time.monotonic() + float(message.get("timeout_s") or START_S)
        self._look_at_kernel()
        return None

    def _command_signal(self, message: dict[str, Any]) -> dict[str, Any]:
        number = int(message["signum"])
        if self._kernel is None or not self._kernel.signal(number):
            raise CommandRefused("no_kernel")
        return {}

    def _command_end(self, _message: dict[str, Any]) -> dict[str, Any]:
        if self._kernel is not None:
            self._kernel.end()
        return {}

    def _command_release(self, _message: dict[str, Any]) -> dict[str, Any]:
        self._over = self._over or "released"
        return {}

    # -- the kernel ----------------------------------------------------------------------------------------------------

    def _look_at_kernel(self) -> None:
        kernel, start = self._kernel, self._start
        if kernel is not None and kernel.step() and (start is None or kernel.running):
            self._beat()  # at once
        if start is None:
            return
        if kernel is None or (kernel.exit_code is not None and self._generation != start.get("generation")):
            self._launch(start)
        elif self._generation == start.get("generation"):
            if kernel.exit_code is not None:
                self._start_failed("failed_to_start", kernel.output)
            elif kernel.running:
                self._start = None
                self._answer(str(start["id"]), result=self._started())
            elif time.monotonic() > self._start_until:
                kernel.end()
                self._start_failed("no_ports", kernel.output)

    def _launch(self, start: dict[str, Any]) -> None:
        self._generation += 1
        start["generation"] = self._generation
        path = str(Path(self._folder) / f"kernel-{self._generation}.json")
        placed = {"{connection_file}": path, "{folder}": self._folder, "{relay}": self._relay.path}
        argv = [_filled(str(part), placed) for part in start["argv"]]
        given = {name: _filled(str(value), placed) for name, value in start["env"].items()}
        environ = kernel_environment(os.environ, given)
        connection: dict[str, Any] = {
            "transport": "tcp", "ip": own_address(self._link.address or self._spec["addresses"][0]),
            "key": start["key"], "signature_scheme": "hmac-sha256", "kernel_name": start.get("kernel_name", ""),
            **{name: int((start.get("ports") or {}).get(name, 0)) for name in PORTS},
        }  # fmt: skip
        connection.update(self._curve_keys(start, argv, environ))
        try:
            self._write_files(start.get("files") or {})
            self._kernel = KernelProcess(argv, environ, start["cwd"], connection, path)
        except OSError as error:
            self._kernel = None
            self._start_failed("failed_to_start", str(error))

    def _write_files(self, files: dict[str, str]) -> None:
        """Write private files into the agent's folder. Raises :class:`OSError`, also for a name with a path."""
        for name, text in files.items():
            if not FILE_NAME.match(name):
                raise OSError(f"{name!r} is no name of a file.")
            path = Path(self._folder) / name
            new = path.with_name(f".{name}.new")
            new.write_text(text)  # private: the umask is 077
            new.replace(path)

    def _curve_keys(self, start: dict[str, Any], argv: list[str], environ: dict[str, str]) -> dict[str, str]:
        """Return the keys with which the kernel encrypts its channels: the earlier ones, or new ones; or none."""
        if start.get("curve_secretkey"):
            return {name: str(start[name]) for name in ("curve_publickey", "curve_secretkey")}
        wanted = start.get("encryption", "auto")
        if wanted == "disabled":
            return {}
        if not encrypts(argv[0], environ):
            if wanted == "required":
                raise CommandRefused("not_encrypting")
            return {}
        public, secret = zmq.curve_keypair()
        return {"curve_publickey": public.decode(), "curve_secretkey": secret.decode()}

    def _start_failed(self, code: str, text: str) -> None:
        start, self._start = self._start, None
        if start is not None:
            self._answer(str(start["id"]), error={"code": code, "text": text})

    def _started(self) -> dict[str, Any]:
        assert self._kernel is not None
        return {"pid": self._kernel.pid, "generation": self._generation, "connection": self._kernel.connection}


#: Why an agent ends that has done what it was for.
_AS_INTENDED = ("released", "terminated", "interrupted", "orphaned")


def main(spec: bytes) -> int:
    """Run the agent with its specification (JSON); return the exit status of the job.

    Its keys: ``addresses`` of the pool manager (``host:port``), ``server_key``, ``token`` (the agent's secret key) and
    ``orphan_after_s``.
    """
    os.umask(0o077)
    with Path(os.devnull).open("rb") as null:
        os.dup2(null.fileno(), 0)
    return 0 if Agent(json.loads(spec)).run() in _AS_INTENDED else 1


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer.read()))
