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
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_client.connect import KernelConnectionInfo

from ..compat.jupyter_client import forget_pending_kernel, report_dead_kernel
from ..errors import Conflict, Message
from ..wire.options import ParsedRequest
from . import language
from .ancestor_warning import warn_of_ancestor
from .cell_timeout import explain_timeout_in_progress
from .kernel_lease import KernelLease
from .launch_error import launch_error
from .launches import launches
from .local_kernel import LocalKernel
from .recorded_provisioner import RecordedProvisioner
from .restart_turn import RestartTurn
from .threads import in_thread
from .token_files import write_lease_file

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView
    from .start_match import Start


class FastGPUProvisioner(RecordedProvisioner):
    """``LocalProvisioner`` whose kernels hold a lease of the FastGPU pool."""

    #: A restart was requested, as opposed to a kernel that died. Only such a restart may follow a revoked lease.
    _restart_requested = False
    _abandoned = False
    #: The launch under way is a restart of a kernel that died.
    _restarts_by_itself = False
    _restart: asyncio.Task[None] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._lease = KernelLease(self.kernel_id, self.log)
        self._turn = RestartTurn()
        self._host = LocalKernel(self, self._lease, self._turn)

    # ---- launch --------------------------------------------------------------------------------------------------

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Request a lease, or keep the one from before the restart, and add its variables to the environment."""
        await self._turn.take()
        self._abandoned = False
        launches.add(self)
        try:
            env = kwargs.pop("env", None)
            env = dict(os.environ if env is None else env)
            self._read_name(env)
            self._read_choice(env)
            self._take_lease_of_choice()
            language.set_for_kernel(env)
            acquiring = asyncio.ensure_future(in_thread(self._acquire))
            try:
                launch = await self._host.prepare(env, kwargs)
            finally:
                client, view = await acquiring
            if self._lease.is_of_cluster != self._host.is_remote:
                launch = await self._prepare_elsewhere(env, kwargs)
            await warn_of_ancestor(client, view, env, self.log)
            view = await self._host.wait_for_grant(client, view, lambda: self._abandoned)
            # After the kernelspec's own variables, which must not name other devices than those of the lease.
            launch["env"] = self._host.environment(client, view, launch["env"])
            launch["env"].update(await self._record(launch))
            return launch
        except BaseException as error:
            await self._launch_failed()
            if isinstance(error, Exception):
                raise self._reported(error) from error
            raise

    def _acquire(self) -> Any:
        automatic, self._restart_requested = not self._restart_requested, False
        self._restarts_by_itself = automatic and self._was_launched
        return self._lease.acquire(self._wanted(), automatic=automatic)

    def _reported(self, error: Exception) -> Exception:
        """Return what a failed launch raises; the failure of an automatic restart is shown in the kernel's state."""
        raised = launch_error(error, in_server=self.in_server)
        if self.in_server and self._restarts_by_itself:
            report_dead_kernel(self.parent, str(raised))
        return raised

    def _take_lease_of_choice(self) -> None:
        """Have the lease that the client requested for this kernel before it started it."""
        if self._chosen.lease_id is not None:
            self._lease.adopt(self._chosen.lease_id, is_of_cluster=True)
            self._chosen = self._chosen._replace(lease_id=None)  # a restart after its end requests another

    async def _prepare_elsewhere(self, env: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the launch on the host of the lease, after one on this machine was prepared."""
        if self._host.is_remote:
            raise Conflict(Message.of("cluster.pool_is_local"))
        await self._host.failed()
        self._use_cluster()
        return await self._host.prepare(env, kwargs)

    def _use_cluster(self) -> None:
        from .remote_launch import RemoteKernel  # late: most pools have no cluster

        self._host = RemoteKernel(self, self._lease, self._turn)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the kernel's process; release the lease if that fails."""
        try:
            return await self._host.start(cmd, kwargs)
        except BaseException as error:
            await self._launch_failed()
            if isinstance(error, Exception):
                raise self._reported(error) from error
            raise

    async def expected_start(self, hidden: Mapping[str, str] | None) -> Start | None:
        """Return the start of a notebook that were opened now; None if it would have no standby kernel."""
        return await LocalKernel(self, self._lease, self._turn).expected_start(hidden)

    async def post_launch(self, **kwargs: Any) -> None:
        """Complete the launch, after which the lease has its holder."""
        await super().post_launch(**kwargs)
        self._restart_requested = self._restarts_by_itself = False
        self._was_launched = True
        await self._host.started()

    async def _launch_failed(self) -> None:
        launches.discard(self)
        self._turn.give_back()
        self._forget_pending()
        await self._host.failed()
        if self.process is not None:
            return  # the process runs, and its end will be noticed
        # Shielded: a cancelled launch must not leave its lease, which this process would hold until it ends.
        await asyncio.shield(asyncio.ensure_future(in_thread(self._lease.release)))
        await self._remove_record()

    def _forget_pending(self) -> None:
        """Remove the failed launch from the multi-kernel manager, which could not stop with it."""
        forget_pending_kernel(getattr(self.parent, "parent", None), self.kernel_id)

    def abandon(self) -> None:
        """End a launch that waits for its grant, because the server stops."""
        self._abandoned = True
        self._forget_pending()

    async def poll(self) -> int | None:
        """Return None while the process runs, and the exit code when it has ended and may be restarted."""
        code: int | None = await super().poll()
        return code if code is None or not self.in_server else self._host.noticed_end(code)

    # ---- while it runs -------------------------------------------------------------------------------------------

    async def request_lease(self, chosen: ParsedRequest) -> LeaseView:
        """Return the lease of the running kernel, requested as ``chosen`` if it has none; its next cell waits for it.

        A restart requests the same. Raises :class:`Conflict` if the kernel cannot have a lease before a restart.
        """
        await self._host.require_later_lease()
        if not self.runs:
            raise Conflict(Message.of("request.kernel_not_running"))
        self._chosen = chosen
        _, view = await in_thread(partial(self._lease.acquire, self._wanted(), automatic=False))
        await self._host.use_later_lease()
        await in_thread(write_lease_file, self.kernel_id, view["id"])
        if self.records is not None:
            await self.records.changed(self.kernel_id, **self._recorded())
        return view

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel, but not a restart in progress, in which no cell runs."""
        if signum == signal.SIGINT and self._turn.is_of_another:
            return
        await self._host.held()
        if signum == signal.SIGINT:
            await explain_timeout_in_progress(self._lease)
        await self._host.signal(signum)

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
        await self._host.expect_restart()
        await restart()

    async def _hold_lease(self) -> None:
        """Let the lease outlive the kernel's process, which is about to end, in case this is a restart."""
        if await self._host.expect_end():
            self._restart_requested = True

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
        if self.records is not None:
            await self.records.changed(self.kernel_id, restarting=True)

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
            await self._host.held()
            self._host.stop()
            await in_thread(self._lease.release)
            await self._remove_record()
        else:
            await self._note_restart()
        await super().cleanup(restart=restart)
