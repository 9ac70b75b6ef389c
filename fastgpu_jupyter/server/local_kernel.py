"""A kernel on this machine: a child of this process, which becomes the holder of the lease, or a standby kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from ..compat.jupyter_client import keep_ports
from ..errors import Conflict, Message
from ..wire.pidfd_process import PidfdProcess
from . import language
from .holder_binding import HolderBinding
from .kernel_lease import wait_for_grant
from .kernel_request import GATE_MODULE
from .launch_error import restart_refused
from .launches import launches
from .restart_turn import RestartTurn
from .threads import in_thread

if TYPE_CHECKING:
    from jupyter_client.connect import KernelConnectionInfo

    from ..wire.client import PoolClient
    from ..wire.process_identity import ProcessIdentity
    from ..wire.schemas import LeaseView
    from ..wire.schemas.kept_kernel import KeptKernel
    from .kernel_lease import KernelLease
    from .provisioner import FastGPUProvisioner
    from .standby_launch import StandbyLaunch
    from .start_match import Start

#: A kernel that is younger than this may still be importing.
BOOT_S = 3.0


class LocalKernel:
    """The process of a kernel of ``provisioner`` on this machine."""

    is_remote = False

    def __init__(self, provisioner: FastGPUProvisioner, lease: KernelLease, turn: RestartTurn) -> None:
        self._provisioner = provisioner
        self._lease = lease
        self._turn = turn
        self._binding = HolderBinding(lease)
        self._launched_at = 0.0
        #: The standby kernel of the last launch.
        self._standby: StandbyLaunch | None = None
        #: Makes the process of the last launch the holder of the lease.
        self._holding: asyncio.Future[None] | None = None

    # ---- launch --------------------------------------------------------------------------------------------------

    async def wait_for_grant(self, client: PoolClient, view: LeaseView, is_abandoned: Callable[[], bool]) -> LeaseView:
        """Return the granted lease of a kernel without a gate; with one, its cells wait."""
        if self._provisioner.gate:
            return view
        return await wait_for_grant(client, view, self._provisioner.grant_timeout_s, is_abandoned)

    async def prepare(self, env: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Choose the ports, write the connection file, and ask for a standby kernel, which begins to start."""
        self._standby = None
        launch = await LocalProvisioner.pre_launch(self._provisioner, env=env, **kwargs)
        if self._provisioner.in_server and self._has_standby(launch["cmd"]):
            from . import standby_launch  # late: a program that runs one notebook does not need it

            self._standby = standby_launch.begin(self._provisioner.parent, launch, self._provisioner.preload)
        return launch

    def environment(self, client: PoolClient, view: LeaseView, own: Mapping[str, str]) -> dict[str, str]:
        """Return ``own`` with what the lease needs, which goes before that."""
        return self._lease.environment(client, view, own, gate=self._provisioner.gate)

    async def start(self, cmd: list[str], kwargs: dict[str, Any]) -> KernelConnectionInfo:
        """Start the kernel's process, or take a standby kernel over."""
        if await self._take_standby(cmd, kwargs.get("env", {})):
            return self._provisioner.connection_info
        return await LocalProvisioner.launch_kernel(self._provisioner, cmd, **kwargs)

    async def _take_standby(self, command: list[str], environment: Mapping[str, str]) -> bool:
        """Return whether a standby kernel has become this kernel, as which it is a process like any other."""
        process = None if self._standby is None else await self._standby.process(command, environment)
        if process is None or self._standby is None:
            return False
        provisioner: Any = self._provisioner
        provisioner.process, provisioner.pid, provisioner.cwd = process, process.pid, self._standby.folder
        with contextlib.suppress(OSError):
            provisioner.pgid = os.getpgid(process.pid)
        return True

    async def started(self) -> None:
        """Make the new process the holder of the lease."""
        self._launched_at = asyncio.get_running_loop().time()
        self._holding = asyncio.ensure_future(self._hold_by_process())
        if self._standby is None or not self._standby.is_taken:
            await self._holding
        else:
            await self._standby.when_bound()  # meanwhile the process becomes the holder
        self._turn.give_back()
        if self._standby is not None:
            self._standby.note()

    async def _hold_by_process(self) -> None:
        """Make the process the holder of the lease, and complete its record."""
        provisioner = self._provisioner
        try:
            if provisioner.pid is not None:
                if provisioner.records is not None:
                    await provisioner.records.started(provisioner.kernel_id, provisioner.pid, pgid=provisioner.pgid)
                await self._binding.bind_kernel(provisioner.pid)
        finally:
            launches.discard(provisioner)

    async def failed(self) -> None:
        """Give up the standby kernel; without a process, also the connection file and the ports."""
        provisioner = self._provisioner
        if self._standby is not None:
            self._standby.give_up()
        if provisioner.process is None and provisioner.pid is None and provisioner.parent is not None:
            provisioner.parent.cleanup_connection_file()  # of a kernel that there never was
            if provisioner.connection_info:
                await LocalProvisioner.cleanup(provisioner, restart=False)  # its ports

    async def expected_start(self, hidden: Mapping[str, str] | None) -> Start | None:
        """Return the start of a notebook that were opened now; None if it would have no standby kernel.

        No module is imported ahead where it is not known what hides the devices.
        """
        from . import standby_launch

        manager: Any = self._provisioner.parent
        env = dict(os.environ)
        language.set_for_kernel(env)
        # As LocalProvisioner does it, without a connection file.
        command = manager.format_kernel_cmd()
        launch = await KernelProvisionerBase.pre_launch(self._provisioner, env=env, cmd=command)
        if not self._has_standby(launch["cmd"]):
            return None
        preload = () if hidden is None else self._provisioner.preload
        start, _ = standby_launch.start_of_launch(manager, launch, preload)
        return start._replace(hidden=hidden)

    def _has_standby(self, command: list[str]) -> bool:
        return self._provisioner.gate and GATE_MODULE in command

    # ---- while it runs -------------------------------------------------------------------------------------------

    async def held(self) -> None:
        """Return when the last launch has made its process the holder of the lease, or has failed to."""
        if self._holding is not None and not self._holding.done():
            await asyncio.wait({self._holding})

    async def signal(self, signum: int) -> None:
        """Signal the kernel. Restart and shutdown begin with an interrupt, which ends a process that still starts."""
        provisioner = self._provisioner
        process: Any = provisioner.process
        if isinstance(process, PidfdProcess) and process.poll() is not None:
            return  # only a parent that has not waited for its child knows that the number is not used again
        young = asyncio.get_running_loop().time() - self._launched_at < BOOT_S
        starts = signum == signal.SIGINT and young and not await in_thread(self._lease.has_started)
        if not starts or provisioner.process is None or provisioner.pid is None:
            await LocalProvisioner.send_signal(provisioner, signum)
            if signum == signal.SIGINT:
                await in_thread(self._lease.resume_for_interrupt)
            return
        await self._binding.bind_server()
        await LocalProvisioner.send_signal(provisioner, signum)
        if not self._turn.is_of_another:
            self._binding.keep_binding(provisioner.pid)  # if it was only an interrupt, and the process lives

    async def require_later_lease(self) -> None:
        """Refuse a lease for a kernel without a gate, which could not use it."""
        if not self._provisioner.gate:
            raise Conflict(Message.of("request.kernel_no_gate"))

    async def use_later_lease(self) -> None:
        """Make the process the holder of the lease that was just requested, unless that is of a cluster."""
        if self._lease.is_of_cluster:
            await in_thread(self._lease.release)
            raise Conflict(Message.of("cluster.kernel_is_local"))
        if self._provisioner.pid is not None:
            await self._binding.bind_kernel(self._provisioner.pid)

    # ---- restart and end -----------------------------------------------------------------------------------------

    def noticed_end(self, code: int) -> int | None:
        """Return the exit code: a process of this host is restarted."""
        return code

    async def expect_restart(self) -> None:
        """Make this process the holder: Jupyter asks the kernel to end before it calls the provisioner."""
        await self.held()
        self._lease.expect_answers()
        refused = await self._binding.bind_server() if self._provisioner.runs else None
        if refused is not None:
            if self._provisioner.runs and self._provisioner.pid is not None:
                self._binding.keep_binding(self._provisioner.pid)  # it may have been done nevertheless
            raise restart_refused(refused)

    async def expect_end(self) -> bool:
        """Make this process the holder before the kernel's process ends, in case this is a restart."""
        await self.held()
        if self._provisioner.runs:
            await self._binding.bind_server()
            return True
        self._binding.stop()
        return False

    def stop(self) -> None:
        """End the thread that makes the process the holder, if there is one."""
        self._binding.stop()

    # ---- adoption ------------------------------------------------------------------------------------------------

    async def adopt(self, record: KeptKernel, process: ProcessIdentity) -> None:
        """Take over the running kernel ``process`` of an earlier server."""
        provisioner = self._provisioner
        keep_ports(provisioner, provisioner.parent)
        await provisioner.load_provisioner_info(
            {
                "kernel_id": record.kernel_id,
                "connection_info": provisioner.connection_info,
                "pid": process.pid,
                "pgid": await in_thread(_group_of, process.pid),
                "ip": provisioner.ip,
                "lease_id": record.lease_id,
                "start_time": process.start_time,
            }
        )
        if provisioner.records is not None:
            await provisioner.records.started(record.kernel_id, process.pid, pgid=provisioner.pgid)

    async def bind_adopted(self) -> None:
        """Make the adopted kernel the holder of its lease, which it is in most cases."""
        if self._provisioner.runs and self._provisioner.pid is not None:
            await self._binding.bind_kernel(self._provisioner.pid)


def _group_of(pid: int) -> int | None:
    """Return the process group of a kernel; None if it has none of its own, whose processes are not the kernel's."""
    try:
        group = os.getpgid(pid)
    except OSError:
        return None
    return group if group == pid else None
