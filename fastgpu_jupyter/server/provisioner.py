"""The kernel provisioner: a lease from the pool for each kernel, and the kernel as a child of this process.

The kernel starts at once, granted or not: in a kernel with a gate, cells wait for the grant. Only a kernel without a
gate makes :meth:`FastGPUProvisioner.pre_launch` wait, up to a limit. Guarantees about the lease:

* it ends in ``cleanup(restart=False)``, when a launch fails, or with the process that holds it, and never by time;
* a restart keeps it: this process holds it between the end of the old kernel process and the start of the new one;
* a lease that was taken away from a running kernel is not silently replaced: the automatic restart fails once, with
  the reason.

The methods do not block the event loop, and their errors are sentences that a dialog can show.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Bool, Float, List, Unicode, default

from ..compat.jupyter_client import forget_pending_kernel, launch_arguments_of
from ..core.model.lifecycle import LeaseState
from ..errors import Conflict, FastGPUError, Message
from ..messages import render
from ..units import parse_memory
from ..wire.ancestors import held_by_ancestor
from ..wire.client import LeaseOptions, PoolClient
from ..wire.options import KernelspecRequest, ParsedRequest, read_kernelspec
from ..wire.pidfd_process import PidfdProcess
from ..wire.process_identity import start_time
from ..wire.variables import ANCESTOR_LEASES, SIZE
from . import language
from .caller import current_caller
from .cell_timeout import explain_timeout, timeout_in_progress
from .holder_binding import HolderBinding
from .intents import intents
from .kernel_lease import KernelLease, Wanted, wait_for_grant
from .kernel_records import KernelRecords, records_of
from .launch_error import launch_error, restart_refused
from .launches import launches
from .notebook_name import SESSION_VARIABLE, name_of_kernel, name_of_session, this_program
from .restart_turn import RestartTurn
from .threads import in_thread
from .token_files import token_path, write_lease_file

if TYPE_CHECKING:
    from ..wire.process_identity import ProcessIdentity
    from ..wire.schemas import LeaseView
    from ..wire.schemas.kept_kernel import KeptKernel
    from .standby_launch import StandbyLaunch
    from .start_match import Start

#: A kernel that is younger than this may still be importing.
BOOT_S = 3.0
GATE_MODULE = "fastgpu_jupyter.kernel"


class FastGPUProvisioner(LocalProvisioner):
    """``LocalProvisioner`` whose kernels hold a lease of the FastGPU pool."""

    profile = Unicode(
        help="Size of the logical GPU: full, half, quarter or eighth. "
        "Default: the kernelspec's metadata.fastgpu.profile, else full."
    ).tag(config=True)
    memory = Unicode(
        help="Memory of the logical GPU, such as 24GiB; overrides the profile. "
        "Default: the kernelspec's metadata.fastgpu.memory."
    ).tag(config=True)
    gate = Bool(
        help="The kernel lets its cells wait for the grant. Default: the kernelspec's metadata.fastgpu.gate, "
        "else whether it runs FastGPU's own kernel."
    ).tag(config=True)
    grant_timeout_s = Float(
        35.0, min=0.0, help="How long the start of a kernel without a gate may wait for its GPU, in seconds."
    ).tag(config=True)

    preload: List[str] = List(
        Unicode(),
        help='Modules that standby kernels import before the notebook does, such as ["torch"]. '
        "Default: the kernelspec's metadata.fastgpu.preload.",
    ).tag(config=True)

    _notebook: str | None = None
    _named: str | None = None  # by the environment of the last launch
    #: What the user chose for this kernel, which a later launch of it requests again.
    _chosen = ParsedRequest(None, {})
    #: A restart was requested, as opposed to a kernel that died. Only such a restart may follow a revoked lease.
    _restart_requested = False
    _abandoned = False
    _first_launch = True
    _launched_at = 0.0
    _restart: asyncio.Task[None] | None = None
    #: The standby kernel of the last launch.
    _standby: StandbyLaunch | None = None
    #: Makes the process of the last launch the holder of the lease.
    _holding: asyncio.Future[None] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lease = KernelLease(self.kernel_id, self.log)
        self._binding = HolderBinding(self._lease)
        self._turn = RestartTurn()

    @property
    def lease_id(self) -> str | None:
        """Return the id of the kernel's lease, None without one."""
        return self._lease.lease_id

    @default("profile")
    def _default_profile(self) -> str:
        return self._defaults().profile or "full"

    @default("memory")
    def _default_memory(self) -> str:
        return self._defaults().memory

    @default("gate")
    def _default_gate(self) -> bool:
        named = self._defaults().gate
        return GATE_MODULE in self.kernel_spec.argv if named is None else named

    @default("preload")
    def _default_preload(self) -> list[str]:
        return list(self._defaults().preload)

    def _defaults(self) -> KernelspecRequest:
        return read_kernelspec(self.kernel_spec.metadata)

    def _options(self) -> LeaseOptions:
        """Return the options of a request that the kernelspec has beside the size."""
        options = self._defaults().options
        if not self.gate:
            # Such a kernel neither reports that it computes nor resumes a parked lease.
            options["parkable"] = False
        return options

    def _wanted(self) -> Wanted:
        options = self._options()
        options.update(self._chosen.options)
        if self._chosen.size is not None:
            return Wanted(self._chosen.size, None, self._notebook, options)
        memory_bytes = parse_memory(self.memory) if self.memory.strip() else None
        size = None if memory_bytes is not None else self.profile
        return Wanted(size, memory_bytes, self._notebook, options)

    def _read_choice(self, env: Mapping[str, str]) -> None:
        """Take what the user chose for this kernel in a browser, or in the environment of a program without one."""
        if self._in_server:
            chosen = intents.take(self.kernel_id, current_caller()) if self._first_launch else None
        else:
            size = env.get(SIZE, "").strip()
            chosen = ParsedRequest(size, {}) if size else None
        self._first_launch = False
        self._chosen = chosen or self._chosen

    # ---- launch --------------------------------------------------------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Request a lease, or keep the one from before the restart, and add its variables to the environment."""
        await self._turn.take()
        self._abandoned = False
        self._standby = None
        launches.add(self)
        try:
            env = kwargs.pop("env", None)
            env = dict(os.environ if env is None else env)
            self._read_name(env)
            self._read_choice(env)
            language.set_for_kernel(env)
            acquiring = asyncio.ensure_future(in_thread(self._acquire))
            try:
                launch = await super().pre_launch(env=env, **kwargs)
                self._standby = self._begin_standby(launch)
            finally:
                client, view = await acquiring
            await self._warn_of_ancestor(client, view, env)
            if not self.gate:
                view = await wait_for_grant(client, view, self.grant_timeout_s, lambda: self._abandoned)
            # After the kernelspec's own variables, which must not name other devices than those of the lease.
            launch["env"] = self._lease.environment(client, view, launch["env"], gate=self.gate)
            launch["env"].update(await self._record(launch))
            return launch
        except Exception as error:
            await self._launch_failed()
            raise launch_error(error, in_server=self._in_server) from error
        except BaseException:
            await self._launch_failed()
            raise

    async def _record(self, launch: Mapping[str, Any]) -> dict[str, str]:
        """Record the kernel that is about to be started, if it may outlive this server; return its variables for it."""
        if self._records is None or GATE_MODULE not in self.kernel_spec.argv:
            return {}
        return await self._records.starting(
            self.parent, launch["cmd"], launch.get("cwd"), launch["env"].get(SESSION_VARIABLE), **self._recorded()
        )

    def _recorded(self) -> dict[str, Any]:
        """Return what the record of the kernel has of this provisioner."""
        from ..wire.schemas.kept_kernel import RecordedRequest

        chosen = RecordedRequest(size=self._chosen.size, options=dict(self._chosen.options))
        return {"chosen": chosen, "lease_id": self.lease_id, "notebook": self._notebook}

    @property
    def _records(self) -> KernelRecords | None:
        return records_of(getattr(self.parent, "parent", None))

    @property
    def _in_server(self) -> bool:
        """Whether a server starts the kernel, as opposed to a program that runs a notebook itself."""
        return isinstance(getattr(self.parent, "parent", None), MultiKernelManager)

    def _read_name(self, env: Mapping[str, str]) -> None:
        """Take the name in the environment, unless it is the one that was there before a rename."""
        named = name_of_kernel(env, this_program(), has_sessions=self._in_server)
        if named is not None and named != self._named:
            self._notebook = self._named = named

    async def rename(self, notebook: str) -> None:
        """Give the lease the name of the notebook that the kernel is for now."""
        self._notebook = notebook
        if self._records is not None:
            await self._records.changed(self.kernel_id, notebook=notebook)
        await in_thread(self._lease.rename, lambda: self._notebook)

    @property
    def notebook(self) -> str | None:
        """Return the name of what the kernel is for, None if it is not known."""
        return self._notebook

    async def _warn_of_ancestor(self, client: PoolClient, view: LeaseView, env: Mapping[str, str]) -> None:
        """Log a warning if this kernel waits for the GPU of a kernel from which it descends.

        The program that runs the notebook shows it, in most cases in the cell that has started it.
        """
        ancestors = env.get(ANCESTOR_LEASES, "").split()
        if ancestors and view["state"] == LeaseState.WAITING:
            with contextlib.suppress(FastGPUError):  # the kernel starts without the warning
                held = await in_thread(held_by_ancestor, client, ancestors)
                if held is not None:
                    self.log.warning("FastGPU: %s", render(held))

    def _acquire(self) -> Any:
        automatic, self._restart_requested = not self._restart_requested, False
        return self._lease.acquire(self._wanted(), automatic=automatic)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel's process, or take a standby kernel over; release the lease if that fails."""
        try:
            if await self._take_standby(cmd, kwargs.get("env", {})):
                return self.connection_info
            return await super().launch_kernel(cmd, **kwargs)
        except Exception as error:
            await self._launch_failed()
            raise launch_error(error, in_server=self._in_server) from error
        except BaseException:
            await self._launch_failed()
            raise

    def _begin_standby(self, launch: Mapping[str, Any]) -> StandbyLaunch | None:
        """Ask for a standby kernel, which begins to start while the lease is requested."""
        if not self._in_server or not self.gate or GATE_MODULE not in launch["cmd"]:
            return None
        from . import standby_launch  # late: a program that runs one notebook does not need it

        return standby_launch.begin(self.parent, launch, self.preload)

    async def _take_standby(self, command: list[str], environment: Mapping[str, str]) -> bool:
        """Return whether a standby kernel has become this kernel, as which it is a process like any other."""
        process = None if self._standby is None else await self._standby.process(command, environment)
        if process is None or self._standby is None:
            return False
        self.process, self.pid, self.cwd = process, process.pid, self._standby.folder
        with contextlib.suppress(OSError):
            self.pgid = os.getpgid(process.pid)
        return True

    async def expected_start(self, hidden: Mapping[str, str] | None) -> Start | None:
        """Return the start of a notebook that were opened now; None if it would have no standby kernel.

        No module is imported ahead where it is not known what hides the devices.
        """
        from . import standby_launch

        manager: Any = self.parent
        env = dict(os.environ)
        language.set_for_kernel(env)
        # As LocalProvisioner does it, without a connection file.
        launch = await KernelProvisionerBase.pre_launch(self, env=env, cmd=manager.format_kernel_cmd())
        if not self.gate or GATE_MODULE not in launch["cmd"]:
            return None
        start, _ = standby_launch.start_of_launch(manager, launch, () if hidden is None else self.preload)
        return start._replace(hidden=hidden)

    async def post_launch(self, **kwargs: Any) -> None:
        """Make the new process the holder of the lease."""
        await super().post_launch(**kwargs)
        self._restart_requested = False
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
        try:
            if self.pid is not None:
                if self._records is not None:
                    await self._records.started(self.kernel_id, self.pid, pgid=self.pgid)
                await self._binding.bind_kernel(self.pid)
        finally:
            launches.discard(self)

    async def _held(self) -> None:
        """Return when the last launch has made its process the holder of the lease, or has failed to."""
        if self._holding is not None and not self._holding.done():
            await asyncio.wait({self._holding})

    async def _launch_failed(self) -> None:
        launches.discard(self)
        self._turn.give_back()
        self._forget_pending()
        if self._standby is not None:
            self._standby.give_up()
        if self.process is not None:
            return  # the process runs, and its end will be noticed
        if self.pid is None and self.parent is not None:
            self.parent.cleanup_connection_file()  # of a kernel that there never was
            if self.connection_info:
                await super().cleanup(restart=False)  # its ports
        # Shielded: a cancelled launch must not leave its lease, which this process would hold until it ends.
        await asyncio.shield(asyncio.ensure_future(in_thread(self._lease.release)))
        await self._remove_record()

    async def _remove_record(self) -> None:
        if self._records is not None:
            await self._records.ended(self.kernel_id)

    def _forget_pending(self) -> None:
        """Remove the failed launch from the multi-kernel manager, which could not stop with it."""
        forget_pending_kernel(getattr(self.parent, "parent", None), self.kernel_id)

    def abandon(self) -> None:
        """End a launch that waits for its grant, because the server stops."""
        self._abandoned = True
        self._forget_pending()

    # ---- while it runs -------------------------------------------------------------------------------------------

    async def request_lease(self, chosen: ParsedRequest) -> LeaseView:
        """Return the lease of the running kernel, requested as ``chosen`` if it has none; its next cell waits for it.

        A restart requests the same. Raises :class:`Conflict` if the kernel cannot have a lease before a restart.
        """
        if not self.gate:
            raise Conflict(Message.of("request.kernel_no_gate"))
        if not self._runs:
            raise Conflict(Message.of("request.kernel_not_running"))
        self._chosen = chosen
        _, view = await in_thread(partial(self._lease.acquire, self._wanted(), automatic=False))
        if self.pid is not None:
            await self._binding.bind_kernel(self.pid)
        await in_thread(write_lease_file, self.kernel_id, view["id"])
        if self._records is not None:
            await self._records.changed(self.kernel_id, **self._recorded())
        return view

    # ---- restart and end -----------------------------------------------------------------------------------------

    async def restart(self, restart: Callable[[], Awaitable[object]]) -> None:
        """Restart the kernel by ``restart``; a call while another one is under way ends as that does.

        Raises :class:`FastGPUError` if its lease could be lost by it; then the kernel goes on as it was.
        """
        if self._restart is None or not self.restarts:
            self._restart = asyncio.create_task(self._restart_with_lease(restart))
        await asyncio.shield(self._restart)

    @property
    def restarts(self) -> bool:
        """Return whether a restart is under way."""
        return self._restart is not None and not self._restart.done()

    async def _restart_with_lease(self, restart: Callable[[], Awaitable[object]]) -> None:
        # Jupyter asks the kernel to end before it calls the provisioner: the lease needs its next holder before that.
        await self._held()
        self._lease.expect_answers()
        refused = await self._binding.bind_server() if self._runs else None
        if refused is not None:
            if self._runs and self.pid is not None:
                self._binding.keep_binding(self.pid)  # it may have been done nevertheless
            raise restart_refused(refused)
        await restart()

    @property
    def _runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def _hold_lease(self) -> None:
        """Make this process the holder before the kernel's process ends, in case this is a restart."""
        await self._held()
        if self._runs:
            self._restart_requested = True
            await self._binding.bind_server()
        else:
            self._binding.stop()

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel. Restart and shutdown begin with an interrupt, which ends a process that still starts."""
        process: Any = self.process
        if isinstance(process, PidfdProcess) and process.poll() is not None:
            return  # only a parent that has not waited for its child knows that the number is not used again
        if signum == signal.SIGINT and self._turn.is_of_another:
            return  # it is restarted, so that no cell runs
        await self._held()
        if signum == signal.SIGINT:
            await self._explain_timeout()
        young = asyncio.get_running_loop().time() - self._launched_at < BOOT_S
        starts = signum == signal.SIGINT and young and not await in_thread(self._lease.has_started)
        if not starts or self.process is None or self.pid is None:
            await super().send_signal(signum)
            if signum == signal.SIGINT:
                await in_thread(self._lease.resume_for_interrupt)
            return
        await self._binding.bind_server()
        await super().send_signal(signum)
        if not self._turn.is_of_another:
            self._binding.keep_binding(self.pid)  # if it was only an interrupt, and the process lives

    async def _explain_timeout(self) -> None:
        """Let the error of a cell whose time ran out say that it waited for its GPU."""
        error = timeout_in_progress()
        view = None if error is None else await in_thread(self._lease.view)
        if error is not None and view is not None:
            explain_timeout(error, view)

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Keep the lease if the kernel ends for a restart, and begin no restart while another one is under way."""
        if restart:
            await self._turn.take()
        await super().shutdown_requested(restart=restart)
        if restart:
            self._restart_requested = True
            await self._note_restart()
            await self._hold_lease()

    async def _note_restart(self) -> None:
        """Let a server that follows this one start the kernel, should this one end before it does."""
        if self._records is not None:
            await self._records.changed(self.kernel_id, restarting=True)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel at once. ``restart`` is ignored because it is False on restarts as well."""
        await self._hold_lease()
        await super().kill(restart=restart)

    async def terminate(self, restart: bool = False) -> None:
        """Ask the kernel's process to end. ``restart`` is ignored because it is False on restarts as well."""
        await self._hold_lease()
        await super().terminate(restart=restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Release the lease unless the kernel is started again."""
        if not restart:
            await self._held()
            self._binding.stop()
            await in_thread(self._lease.release)
            await self._remove_record()
        else:
            await self._note_restart()
        await super().cleanup(restart=restart)

    # ---- adoption ------------------------------------------------------------------------------------------------

    async def get_provisioner_info(self) -> dict[str, Any]:
        """Return what another server needs to adopt this kernel: the path of the token's file, never the token."""
        info: dict[str, Any] = await super().get_provisioner_info()
        info["lease_id"] = self.lease_id
        info["token_file"] = str(token_path(self.kernel_id))
        info["start_time"] = None if self.pid is None else start_time(self.pid)
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Adopt a running kernel with its lease."""
        await super().load_provisioner_info(provisioner_info)
        self._lease.adopt(provisioner_info.get("lease_id"))
        if self.pid is not None:
            # Without a process, LocalProvisioner takes the kernel for dead.
            adopted: Any = PidfdProcess(self.pid, provisioner_info.get("start_time"))
            self.process = adopted

    async def adopt(self, record: KeptKernel, process: ProcessIdentity) -> None:
        """Become the provisioner of the running kernel ``process``, as the one that launched it was."""
        await self.load_provisioner_info(
            {
                "kernel_id": record.kernel_id,
                "connection_info": self.connection_info,
                "pid": process.pid,
                "pgid": await in_thread(_group_of, process.pid),
                "ip": self.ip,
                "lease_id": record.lease_id,
                "start_time": process.start_time,
            }
        )
        self.cwd = record.launch.cwd
        self._notebook = record.notebook
        name = launch_arguments_of(self.parent)["env"].get(SESSION_VARIABLE)
        self._named = None if name is None else name_of_session(name)
        self._chosen = ParsedRequest(record.chosen.size, cast(LeaseOptions, record.chosen.options))
        self._first_launch = False

    async def bind_adopted(self) -> None:
        """Make the adopted kernel the holder of its lease, which it is in most cases."""
        if self._runs and self.pid is not None:
            await self._binding.bind_kernel(self.pid)


def _group_of(pid: int) -> int | None:
    """Return the process group of a kernel; None if it has none of its own, whose processes are not the kernel's."""
    try:
        group = os.getpgid(pid)
    except OSError:
        return None
    return group if group == pid else None
