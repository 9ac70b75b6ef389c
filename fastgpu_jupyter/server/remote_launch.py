"""A kernel on another host: the pool manager starts it by the agent in the job of the lease.

The lease comes first: the kernel starts once the engine of the cluster has granted it, and every restart is in the same
job, with the same ports and keys. This process stays the holder of the lease. What becomes of the kernel is known from
the stream of the pool manager (:mod:`.lease_mirror`); silence is no end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from inspect import getsource
from typing import TYPE_CHECKING, Any

from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from ..compat.jupyter_client import keep_connection_file, report_dead_kernel
from ..core.model.lifecycle import OVER
from ..errors import CallerError, Conflict, FastGPUError, HostFault, LimitReached, Message
from ..messages import sentence_of, sentences_of, text_of
from ..text import printable
from ..wire import variables, version
from ..wire.client import PoolClient
from ..wire.lease_view import explanation_of, position_of
from ..wire.locate import SOCKET_VARIABLE
from . import language
from .kernel_lease import lease_ended, wait_for_grant
from .kernel_request import GATE_MODULE
from .launches import launches
from .lease_mirror import leases
from .remote_process import UNKNOWN_END, RemoteProcess
from .threads import in_thread

if TYPE_CHECKING:
    from jupyter_client.connect import KernelConnectionInfo

    from ..wire.schemas import KernelConnectionView, LeaseView
    from ..wire.schemas.kept_kernel import KeptKernel
    from .kernel_lease import KernelLease
    from .provisioner import FastGPUProvisioner
    from .restart_turn import RestartTurn

#: How long a failed start waits for the lease's end, which says more than that the host does not answer.
END_S = 10.0
#: How long a signal is tried for while the agent of the job is not connected to the pool manager.
SIGNAL_S = 4.0
#: How long a job may take to be over for the pool manager, after its kernel was killed with it.
LOSS_S = 5.0
#: Exit codes of a kernel that may have been killed with its job.
_KILLED = (UNKNOWN_END, -signal.SIGTERM, -signal.SIGKILL)
#: What the pool manager says where the host of the lease may be lost, which it then finds out.
_UNREACHED = ("cluster.no_agent", "cluster.agent_silent", "cluster.agent_gone", "cluster.not_active")
#: The name of the file with the lease's token, in the kernel's folder on the host.
TOKEN_FILE = "token"  # noqa: S105 (a file's name)
#: Arguments of a launch that the kernel manager and ``LocalProvisioner`` use themselves.
_FOR_A_MANAGER = ("extra_arguments", "transport_encryption")


class RemoteKernel:
    """The process of a kernel of ``provisioner`` on the host of its lease."""

    is_remote = True

    def __init__(self, provisioner: FastGPUProvisioner, lease: KernelLease, turn: RestartTurn) -> None:
        self._provisioner = provisioner
        self._lease = lease
        self._turn = turn
        #: The lease whose view is kept current.
        self._followed: str | None = None
        self._has_started = False
        #: The end of the job was reported as that of the kernel.
        self._is_lost = False
        #: When the end of the kernel was noticed, on the monotonic clock; 0 while it runs.
        self._ended_s = 0.0

    # ---- launch --------------------------------------------------------------------------------------------------

    async def wait_for_grant(self, client: PoolClient, view: LeaseView, is_abandoned: Callable[[], bool]) -> LeaseView:
        """Return the granted lease, whatever the kernel is: without a job there is no host for it."""
        wait_s = self._provisioner.cluster_wait_s
        return await wait_for_grant(client, view, wait_s, is_abandoned, waited_in_vain)

    async def prepare(self, env: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the command on the host, with what is to be added to the environment that it has there."""
        given = {name: value for name, value in kwargs.items() if name not in _FOR_A_MANAGER}
        command = _command(self._provisioner.parent, kwargs.get("extra_arguments", []))
        launch = await KernelProvisionerBase.pre_launch(self._provisioner, env=env, cmd=command, **given)
        launch["cmd"] = command_on_host(command, self._provisioner.python_on_cluster)
        own = self._provisioner.kernel_spec.env
        launch["env"] = {
            name: value for name, value in launch["env"].items() if name in own or os.environ.get(name) != value
        }
        return launch

    def environment(self, _client: PoolClient, view: LeaseView, own: Mapping[str, str]) -> dict[str, str]:
        """Return ``own`` with what the gate needs; the agent puts paths in place of the names in braces."""
        records = self._provisioner.records
        return {
            **own,
            SOCKET_VARIABLE: "{relay}",
            variables.LEASE: view["id"],
            variables.TOKEN_FILE: f"{{folder}}/{TOKEN_FILE}",
            variables.LEASE_STATE: view["state"],
            variables.KERNEL_ID: self._provisioner.kernel_id,
            variables.VERSION: version.stated(),
            variables.GRANTED: json.dumps(view["environment"]),
            variables.HIDDEN: json.dumps(view["hidden_environment"]),
            variables.REMOTE: "1",
            variables.CLUSTER: "keep" if records is not None and records.keep_ms else "end",
        }

    async def start(self, cmd: list[str], kwargs: dict[str, Any]) -> KernelConnectionInfo:
        """Start the kernel by its agent, again in the same job; raise what the kernel wrote where it does not start."""
        provisioner: Any = self._provisioner
        lease_id, key = self._lease.lease_id, provisioner.parent.session.key.decode()
        self._follow(lease_id)

        def start(client: PoolClient, lease_id: str, token: str) -> KernelConnectionView:
            return client.start_kernel(
                lease_id,
                token,
                cmd,
                kwargs["env"],
                key=key,
                cwd=kwargs.get("cwd"),
                restart=self._has_started,
                files={TOKEN_FILE: token},
            )

        try:
            answer: Any = await in_thread(self._lease.call, start)
        except FastGPUError as error:
            raise await self._reason_of(error) from error
        self._has_started, self._is_lost, self._ended_s = True, False, 0.0
        provisioner.process = RemoteProcess(leases, str(lease_id), answer["generation"])
        connection = provisioner.connection_info = _connection_info(answer, provisioner.parent)
        return connection

    async def _reason_of(self, error: FastGPUError) -> FastGPUError:
        """Return why a start failed: what the kernel wrote, the end of the lease if that follows, else ``error``."""
        output = error.message.params.get("output")
        if output is not None:
            return HostFault(Message.of("cluster.kernel_not_started", output=str(output).strip()))
        deadline_s = asyncio.get_running_loop().time() + END_S
        view = await in_thread(self._lease.view)
        while view is not None and view["state"] not in OVER and error.message.code in _UNREACHED:
            if asyncio.get_running_loop().time() >= deadline_s:
                break
            await asyncio.sleep(0.5)
            view = await in_thread(self._lease.view)
        return Conflict(lease_ended(view)) if view is not None and view["state"] in OVER else error

    async def started(self) -> None:
        """Complete the record of the kernel."""
        provisioner: Any = self._provisioner
        records = provisioner.records
        if records is not None and provisioner.kernel_id in records:
            keep_connection_file(provisioner.parent)
            await records.changed(provisioner.kernel_id, restarting=False)
        launches.discard(provisioner)
        self._turn.give_back()

    async def failed(self) -> None:
        """Follow the lease no more, unless its kernel runs."""
        if self._provisioner.process is None:
            self.stop()

    # ---- while it runs -------------------------------------------------------------------------------------------

    async def held(self) -> None:
        """Return at once: this process is the holder of the lease."""

    async def signal(self, signum: int) -> None:
        """Send the signal to the kernel's process group by its agent.

        Raises where an interrupt does not get there. A shutdown goes on: it ends the job.
        """
        if not self._provisioner.runs:
            return

        try:
            await self._send(signum)
        except FastGPUError as error:
            ends = signum != signal.SIGINT or getattr(self._provisioner.parent, "shutting_down", False)
            if not ends and not isinstance(error, CallerError):
                raise
            self._provisioner.log.info("Signal %d did not reach the kernel: %s", signum, printable(text_of(error)))

    async def _send(self, signum: int) -> None:
        """Send a signal; a pool manager that was just started hears of its agents after a moment."""

        def send(client: PoolClient, lease_id: str, token: str) -> None:
            client.signal_kernel(lease_id, token, signum)

        deadline_s = asyncio.get_running_loop().time() + SIGNAL_S
        while True:
            try:
                await in_thread(self._lease.call, send)
                return
            except HostFault as error:
                if error.message.code not in _UNREACHED or asyncio.get_running_loop().time() >= deadline_s:
                    raise
            await asyncio.sleep(0.5)

    async def require_later_lease(self) -> None:
        """Refuse another lease: the kernel runs in the job of the one that it was started with."""
        view = await in_thread(self._lease.view)
        if view is None or view["state"] in OVER:
            raise Conflict(Message.of("cluster.lease_needs_restart"))

    async def use_later_lease(self) -> None:
        """Do nothing: it is the lease that the kernel has."""

    # ---- restart and end -----------------------------------------------------------------------------------------

    async def expect_restart(self) -> None:
        """Expect answers; the lease is held by this process all the time."""
        self._lease.expect_answers()

    async def expect_end(self) -> bool:
        """Return whether the kernel runs; the lease does not depend on its process."""
        return self._provisioner.runs

    def noticed_end(self, code: int) -> int | None:
        """Return the exit code; a kernel that was lost with its job is reported as dead instead, the first time.

        A restarter that learned of the end would tell browsers of a restart, which only the user may ask for. A job
        that is ended ends its kernel first, so that a kernel that was killed counts as running for :data:`LOSS_S`.
        """
        parent: Any = self._provisioner.parent
        if self._is_lost or getattr(parent, "shutting_down", False):
            return code
        view = leases.view(str(self._lease.lease_id))
        if view is not None and view["state"] in OVER:
            self._is_lost = True
            parent.stop_restarter()
            report_dead_kernel(parent, text_of(Conflict(lease_ended(view)), language.of_user()))
            return None
        now_s = time.monotonic()
        self._ended_s = self._ended_s or now_s
        return None if code in _KILLED and now_s - self._ended_s < LOSS_S else code

    def stop(self) -> None:
        """Follow the lease no more."""
        if self._followed is not None:
            leases.unfollow(self._followed)
            self._followed = None

    def _follow(self, lease_id: str | None) -> None:
        if lease_id != self._followed:
            self.stop()
            self._has_started = False
            if lease_id is not None:
                leases.follow(lease_id)
        self._followed = lease_id

    # ---- adoption ------------------------------------------------------------------------------------------------

    async def adopt(self, record: KeptKernel, _process: Any) -> None:
        """Take over the kernel in the job of the recorded lease, dead or alive: it is restarted there."""
        provisioner: Any = self._provisioner
        self._lease.adopt(record.lease_id, is_of_cluster=True)
        self._follow(record.lease_id)
        self._has_started = True
        provisioner.connection_info = provisioner.parent.get_connection_info()
        provisioner.process = RemoteProcess(leases, str(record.lease_id), None)

    async def bind_adopted(self) -> None:
        """Make this process the holder of the lease."""
        await in_thread(self._lease.bind, None)


def _command(manager: Any, extra_arguments: list[str]) -> list[str]:
    """Return the command of the kernelspec, in which the agent names the connection file."""
    command = manager.format_kernel_cmd(extra_arguments=extra_arguments)
    connection_file = os.path.realpath(manager.connection_file)
    return [argument.replace(connection_file, "{connection_file}") for argument in command]


def command_on_host(command: list[str], python: str | None) -> list[str]:
    """Return the command with the interpreter of the host, running FastGPU's kernel only where it is installed."""
    command = [python or command[0], *command[1:]] if command else command
    for place, pair in enumerate(itertools.pairwise(command)):
        if pair == ("-m", GATE_MODULE):
            program = f"{getsource(run_kernel)}\nrun_kernel{(GATE_MODULE, variables.KERNEL_ONLY)!r}"
            return [*command[:place], "-c", program, *command[place + 2 :]]
    return command


def run_kernel(module: str, of_lease: tuple[str, ...]) -> None:
    """Run FastGPU's kernel where this interpreter has it, else ipykernel, without the variables of the lease.

    Its source is sent to the host, where nothing else of this package may be.
    """
    import importlib.util
    import os
    import runpy

    if importlib.util.find_spec(module.partition(".")[0]) is None:
        module = "ipykernel_launcher"
        for variable in of_lease:
            os.environ.pop(variable, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def waited_in_vain(view: LeaseView, waited_s: float) -> LimitReached:
    """Return the error of a client that brought no lease, after a wait for the engine."""
    cluster = view["cluster"]
    reason = sentence_of(cluster["reason"]) if cluster and cluster["reason"] else sentences_of(explanation_of(view))
    place = cluster["position"] if cluster and cluster["position"] else position_of(view)
    seconds, said = f"{waited_s:g}", reason or ""
    if not place:
        return LimitReached(Message.of("cluster.not_granted_in_time", seconds=seconds, reason=said))
    message = Message.of("cluster.not_granted_at_position", seconds=seconds, position=place, reason=said)
    return LimitReached(message)


def _connection_info(answer: KernelConnectionView, manager: Any) -> KernelConnectionInfo:
    """Return the connection as Jupyter has it: the key as bytes, and no curve keys where the kernel has none."""
    without = {"pid", "generation"}
    info: dict[str, Any] = {name: value for name, value in answer.items() if name not in without and value is not None}
    info["key"] = answer["key"].encode()
    if "curve_publickey" not in info:
        manager.curve_publickey = manager.curve_secretkey = None
    return info  # type: ignore[return-value]
