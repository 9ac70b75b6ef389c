"""Adoption: the kernels that an earlier server of the same user and root folder left become kernels of this one.

They keep their ids, their sessions, their leases and the cells that run. It happens before the server answers its first
request: a browser that asks for its session and finds none closes the notebook's connection for good.

A kernel is adopted only if its server has ended, and by one server only, which claims the record. Where that or the
kernel's own end is not known, nothing is done.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compat import jupyter_client as compat_client
from ..compat import jupyter_server as compat_server
from ..errors import FastGPUError
from ..messages import text_of
from ..text import printable
from .kernel_link import ask
from .kernel_records import HUB_PREFIX, KernelRecords
from .notebook_name import SESSION_VARIABLE
from .provisioner import FastGPUProvisioner
from .threads import in_thread
from .token_files import remove_token_file

if TYPE_CHECKING:
    from ..wire.kept_kernels import Found
    from ..wire.process_identity import ProcessIdentity

#: Between two looks for such kernels, for kernels that did not answer, and for the end of the cell of an adopted one.
LOOK_S, ASK_AGAIN_S, BUSY_S = 1.0, 2.0, 10.0
#: The longest delay of a server's start by kernels that do not answer, in seconds.
START_S = 3.0
#: After this time, a kernel on a host of a cluster that answers other requests is taken for one without FastGPU.
PLAIN_S = 2.0
#: How long a client of another kind needs at most, in seconds, until it receives what a kernel publishes.
SUBSCRIBED_S = 1.0


class Adoption:
    """Adopts the kernels of earlier servers for one server."""

    def __init__(self, server: Any, records: KernelRecords, log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        """Take the server application and the records of its kernels."""
        self._kernels = server.kernel_manager
        self._sessions = server.session_manager
        self._has_stock_websockets = compat_server.has_stock_websockets(server)
        self._records = records
        self._log = log
        #: Records of kernels that may still be starting.
        self._awaited: list[Found] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Adopt all kernels that can be adopted now, and go on with those that start or do not answer."""
        found = await in_thread(self._find)
        await asyncio.gather(*(self._consider(one) for one in found))
        if self._awaited:
            self._in_background(self._adopt_awaited())

    def stop(self) -> None:
        """End what goes on in the background."""
        for task in self._tasks:
            task.cancel()

    def _find(self) -> list[Found]:
        """Return the records of kernels without a server, and remove those of kernels that are gone."""
        from ..wire import kept_kernels

        def remove_damaged(path: Path, error: ValueError) -> None:
            self._log.warning("FastGPU: removed %s, which is no record of a kernel: %s", path, printable(str(error)))
            kept_kernels.remove(path)

        kept_kernels.remove_unfinished()
        return [found for found in kept_kernels.records(remove_damaged) if found.is_orphaned()]

    async def _consider(self, found: Found) -> None:
        """Adopt the kernel, or drop its record if it has ended; remember it if its process may be starting."""
        kernel_id = found.record.kernel_id
        try:
            if found.record.remote:
                await self._consider_remote(found)
                return
            process = await in_thread(found.kernel)
            if process is None and await in_thread(found.may_start):
                self._awaited.append(found)
            elif process is None or await in_thread(process.has_ended):
                claimed = await in_thread(self._drop, found)
                if claimed is not None and claimed.record.restarting and self._is_for_this_server(claimed):
                    await self._start(claimed)
            elif self._is_for_this_server(found):
                await self._adopt(found, process)
        except Exception as error:  # noqa: BLE001 (of one kernel, which runs on; the others are adopted)
            self._log.warning("FastGPU: the kernel %s was not adopted: %s", kernel_id, printable(repr(error)))

    async def _consider_remote(self, found: Found) -> None:
        """Do the same for a kernel on a host of a cluster, again and again while the pool manager does not answer."""
        from .remote_adoption import end_unfinished, live_lease, was_started

        try:
            view = await in_thread(live_lease, found, self._log)
        except FastGPUError as error:
            self._log.info("FastGPU: the kernel %s%s is not adopted yet: %s", *_named(found), printable(text_of(error)))
            self._awaited.append(found)
            return
        if view is None:
            await in_thread(self._drop, found)
        elif not self._is_for_this_server(found):
            return
        elif await in_thread(was_started, found):
            await self._adopt(found, None)
        elif await in_thread(end_unfinished, found, self._log):
            self._log.info("FastGPU: released the lease of the kernel %s%s, which was not started.", *_named(found))

    def _is_for_this_server(self, found: Found) -> bool:
        return found.record.root == self._records.root and found.record.hub_prefix == HUB_PREFIX

    def _drop(self, found: Found) -> Found | None:
        """Remove what is left of a kernel that has ended; the pool manager ends its lease by itself.

        Return its record, None if another process was first.
        """
        from ..wire import kept_kernels

        claimed = kept_kernels.claim(found)
        if claimed is not None:
            self._log.info("FastGPU: the kernel %s%s has ended without its server.", *_named(found))
            kept_kernels.remove_with_connection(claimed)
            remove_token_file(found.record.kernel_id)
        return claimed

    async def _start(self, found: Found) -> None:
        """Start the kernel whose server was killed while it restarted the kernel."""
        record = found.record
        arguments = {**self._launch_arguments(found), "kernel_name": record.kernelspec, "kernel_id": record.kernel_id}
        await self._kernels.start_kernel(**arguments)
        await self._restore_sessions(found)
        self._log.info("FastGPU: started the kernel %s%s, whose restart was not finished.", *_named(found))

    async def _adopt(self, found: Found, process: ProcessIdentity | None) -> None:
        """Adopt the kernel; ``process`` is None for one on a host of a cluster."""
        from ..wire import kept_kernels

        record = found.record
        if not compat_server.can_adopt(self._kernels) or record.kernel_id in self._kernels:
            return
        manager = compat_client.manager_of_running_kernel(
            self._kernels, record.kernel_id, record.kernelspec, record.connection_file, self._launch_arguments(found)
        )
        provisioner = manager.provisioner
        if not isinstance(provisioner, FastGPUProvisioner):
            self._log.warning("FastGPU: the kernel %s%s was not adopted: its kernelspec has changed.", *_named(found))
            return
        claimed = await in_thread(kept_kernels.claim, found)
        if claimed is None:
            return
        self._records.take_over(claimed)
        compat_client.keep_connection_file(manager)
        await provisioner.adopt(claimed.record, process)
        compat_client.watch_running_kernel(manager)
        state = await self._connect(manager)
        await compat_server.register_running_kernel(self._kernels, record.kernel_id, manager, state)
        await self._restore_sessions(claimed)
        # The server may have been killed before the kernel was the lease's holder.
        self._in_background(provisioner.bind_adopted())
        where = f"lease {record.lease_id}" if process is None else f"process {process.pid}"
        self._log.info("FastGPU: adopted the kernel %s%s, %s.", *_named(found), where)

    async def _restore_sessions(self, found: Found) -> None:
        for session in found.record.sessions:
            await compat_server.restore_session(
                self._sessions,
                session.id,
                found.record.kernel_id,
                path=session.path,
                name=session.name,
                type_=session.type,
            )

    def _launch_arguments(self, found: Found) -> dict[str, Any]:
        """Return the arguments of a later restart, with the environment that a new kernel of this server has."""
        launch = found.record.launch
        cwd = {} if launch.cwd is None else {"cwd": launch.cwd}
        return {**launch.arguments, **cwd, "env": self._environment(found)}

    def _environment(self, found: Found) -> dict[str, str]:
        for session in found.record.sessions:
            if session.path is not None:
                return dict(self._sessions.get_kernel_env(session.path, session.name))
        name = found.record.launch.session_name
        return {**os.environ, **({} if name is None else {SESSION_VARIABLE: name})}

    # ---- the kernel's side -------------------------------------------------------------------------------------------

    async def _connect(self, manager: Any) -> str:
        """Let the kernel know its new server; return its execution state."""
        link = _Link(manager, self._log, may_be_plain=manager.provisioner.is_remote)
        if self._has_stock_websockets:
            compat_client.call_after_subscription(manager, lambda: self._in_background(link.deliver()))
        else:
            compat_client.call_after_client_start(manager, lambda: self._in_background(link.deliver(SUBSCRIBED_S)))
        try:
            async with asyncio.timeout(START_S):
                await link.greet()
        except TimeoutError:
            self._log.warning("FastGPU: the kernel %s does not answer yet.", manager.kernel_id)
        self._in_background(link.follow())
        return link.state

    async def _adopt_awaited(self) -> None:
        """Adopt the kernels that were starting when their server was killed, as soon as they run."""
        while self._awaited:
            await asyncio.sleep(LOOK_S)
            awaited, self._awaited = self._awaited, []
            await asyncio.gather(*(self._consider(one) for one in awaited))

    def _in_background(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Link:
    """What passes between an adopted kernel and this server until a browser has received what the kernel kept."""

    def __init__(self, manager: Any, log: Any, *, may_be_plain: bool) -> None:
        """``may_be_plain``: the kernel may be one that knows nothing of FastGPU, and keeps no output."""
        self._manager = manager
        self._log = log
        self._may_be_plain = may_be_plain
        self._is_plain = False
        self._greeted = False
        self._delivered = False
        self.state = "unknown"

    async def greet(self) -> None:
        """Tell the kernel which server it has, again and again until it answers."""
        while not self._greeted:
            await self._greet()
            if not self._greeted:
                await asyncio.sleep(ASK_AGAIN_S)

    async def _greet(self) -> None:
        from ..wire.process_identity import identify

        server = await in_thread(partial(identify, os.getpid()))
        assert server is not None
        greeting = {"server": server._asdict()}
        reply = info = None
        if self._may_be_plain:
            reply, info = await asyncio.gather(
                ask(self._manager, "fastgpu_server_request", greeting, PLAIN_S),
                ask(self._manager, "kernel_info_request", {}, PLAIN_S),
            )
            self._is_plain = reply is None and info is not None
        else:
            reply = await ask(self._manager, "fastgpu_server_request", greeting)
        if not self._is_plain and (reply is None or reply.get("status") != "ok"):
            return
        if not self._greeted:
            self._log.debug("FastGPU: the kernel %s answers: %s", self._manager.kernel_id, reply)
            info = info or await ask(self._manager, "kernel_info_request", {})
            if info is not None:
                compat_server.set_kernel_info(self._manager, info)
        self._greeted = True
        if reply is not None:
            self.state = "busy" if reply.get("busy") else "idle"

    async def follow(self) -> None:
        """Keep the execution state current until a browser is connected: the kernel keeps its messages until then."""
        await self.greet()
        while not self._delivered and not self._is_plain and self._manager.has_kernel:
            self._manager.execution_state = self.state
            await asyncio.sleep(BUSY_S)
            if not self._delivered:
                await self._greet()

    async def deliver(self, after_s: float = 0.0) -> None:
        """Let the kernel publish what it kept, now that a browser receives it, or will after that time."""
        if self._delivered:
            return
        self._delivered = True
        await asyncio.sleep(after_s)
        await self.greet()
        if await ask(self._manager, "fastgpu_deliver_request", {}) is None:
            self._delivered = False  # with the next connection


def _named(found: Found) -> tuple[str, str]:
    """Return the kernel's id and the notebook that it is for, as parts of a line of the log."""
    notebook = found.record.notebook
    return found.record.kernel_id, f" of {printable(notebook)}" if notebook else ""
