"""The server extension: routes, the event broadcaster, and the pool started in the background.

Loading it does not wait for the pool and does not fail because of it: a server whose pool manager cannot start works,
and its REST interface answers with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Enum, Float, Int

from ..compat import jupyterlab_server
from ..compat.jupyter_server import call_after_session_changes, call_before_listening, send_messages_at_once
from ..core.model.lifecycle import LeaseState
from ..errors import FastGPUError
from ..messages import render
from ..text import printable
from ..wire.client import PoolClient
from ..wire.lease_view import device_of, is_simulated, value_of
from ..wire.locate import pool_socket
from ..wire.server_end import end_with_server
from .adoption import Adoption
from .broadcaster import EventBroadcaster
from .expected_starts import expected_starts
from .handlers.restarts import RESTART_ROUTE, RestartHandler, provisioner_of
from .idle_shutdown import IdleShutdown
from .jobs_connector import JobsConnector, has_jobs
from .kernel_records import ALWAYS, CRASH, KEEP, NEVER, KernelRecords, set_records
from .launches import abandon_launches
from .leaving import leave_kernels
from .notebook_name import SESSION_VARIABLE, name_of_session
from .pool_connector import PoolConnector
from .provisioner import FastGPUProvisioner
from .requested_leases import RequestedLeases
from .routes import routes
from .spending import SpendingReader
from .standby import StandbyKernels
from .start_counters import expose
from .threads import in_thread
from .token_files import remove_stale_tokens

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

LEASE_SCHEMA = "urn:fastgpu-jupyter:lease:v1"
_SCHEMAS = Path(__file__).parent / "event_schemas"
#: The translations of the front end, where JupyterLab looks for them.
LOCALES = Path(__file__).parent.parent / "locale"


class FastGPUExtension(ExtensionApp):
    """The configuration of FastGPU in a Jupyter server, and what starts and stops with the server."""

    name = "fastgpu_jupyter"
    extension_url = "/"
    load_other_extensions = True
    classes = [FastGPUProvisioner, StandbyKernels]  # noqa: RUF012 (a traitlets convention)

    start_pool = Bool(default_value=True, help="Start your own pool manager where none serves yet.").tag(config=True)
    event_streams_max = Int(64, min=1, help="How many browser tabs may watch the pool at once.").tag(config=True)
    event_queue_limit = Int(
        256, min=8, help="How many messages a browser tab may be behind before it is cut off and has to reconnect."
    ).tag(config=True)

    idle_check_interval_s = Float(
        30.0, min=0.5, help="Seconds between two looks for kernels that the idle policy of the pool lets shut down."
    ).tag(config=True)

    keep_kernels = Enum(
        KEEP,
        CRASH,
        help="Which kernels of FastGPU outlive this server, to be adopted by the next one of the same user and root "
        "folder: 'never'; those of a server that is killed or crashes ('crash'); also those of one that is stopped, as "
        "for an upgrade ('always').",
    ).tag(config=True)
    orphan_after_s = Float(
        86_400.0, min=0.0, help="Seconds after which a kernel that no server has adopted ends by itself."
    ).tag(config=True)

    _start: asyncio.Task[None] | None = None
    _start_jobs: asyncio.Task[None] | None = None
    _idle: asyncio.Task[None] | None = None
    _standby: StandbyKernels | None = None
    _expect: asyncio.Task[None] | None = None
    _unclaimed: asyncio.Task[None] | None = None

    _records: KernelRecords | None = None
    _adoption: Adoption | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._changes: set[asyncio.Task[None]] = set()

    def initialize_settings(self) -> None:
        """Create the objects that the handlers share."""
        assert self.serverapp is not None
        connector = PoolConnector(start_pool=self.start_pool)
        self.settings["fastgpu_pool"] = connector
        self.settings["fastgpu_jobs"] = JobsConnector()
        self.settings["fastgpu_requested"] = RequestedLeases(
            lambda: PoolClient(pool_socket()), self.serverapp.kernel_manager.__contains__, self.log
        )
        expose()
        self.settings["fastgpu_spending"] = SpendingReader(connector)
        self.settings["fastgpu_broadcaster"] = EventBroadcaster(
            connector,
            subscribers_max=self.event_streams_max,
            queue_limit=self.event_queue_limit,
            on_lease=self._lease_changed,
            follow_jobs=True,
        )
        if self.serverapp.event_logger is not None:
            self.serverapp.event_logger.register_event_schema(_SCHEMAS / "lease" / "v1.yaml")

        call_after_session_changes(self.serverapp.session_manager, self._session_changed)
        self._records = KernelRecords(self.keep_kernels, self.orphan_after_s, self.serverapp.root_dir, self.log)
        set_records(self.serverapp.kernel_manager, self._records)
        call_before_listening(self.serverapp, self._adopt_before_listening)

    def _session_changed(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Record the session, and give the kernel's lease the name of its notebook, as after a rename."""
        assert self.serverapp is not None
        sessions, kernels = self.serverapp.session_manager, self.serverapp.kernel_manager
        if self._records is not None:
            self._change(self._records.session_changed(before, after))

        def name_of(session: Mapping[str, Any]) -> str:
            return name_of_session(sessions.get_kernel_env(session["path"], session["name"])[SESSION_VARIABLE])

        kernel_id = after["kernel"]["id"]
        provisioner = provisioner_of(kernels, kernel_id)
        if provisioner is None:
            return
        # A console of the same kernel is another session, and does not name the lease.
        names = [None, *([] if before is None or before["kernel"]["id"] != kernel_id else [name_of(before)])]
        if provisioner.notebook in names and provisioner.notebook != name_of(after):
            self._change(provisioner.rename(name_of(after)))

    def _change(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    def _adopt_before_listening(self) -> None:
        assert self.serverapp is not None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.serverapp.io_loop.run_sync(self._adopt_kernels)

    async def _adopt_kernels(self) -> None:
        """Adopt once; a failure must not keep the server from starting."""
        if self._adoption is not None or self._records is None or self.serverapp is None:
            return
        self._adoption = Adoption(self.serverapp, self._records, self.log)
        try:
            await self._adoption.run()
        except Exception:
            self.log.exception("FastGPU: kernels of an earlier server were not adopted")

    def initialize_handlers(self) -> None:
        """Add the routes; the application adds the base URL."""
        self.handlers.extend(routes("/"))
        self.handlers.append((RESTART_ROUTE, RestartHandler))

    async def _start_jupyter_server_extension(self, _serverapp: Any) -> None:
        """Start the pool manager and remove stale token files, in the background."""
        await self._adopt_kernels()  # where the server was initialized in an event loop, or does not listen
        jupyterlab_server.translate_schemas(__package__.partition(".")[0], LOCALES)
        self._start = asyncio.create_task(self._prepare_pool())
        self._start_jobs = asyncio.create_task(self._prepare_jobs())
        self._change(self._check_keeping())
        send_messages_at_once(_serverapp.web_app.settings)
        kernels = _serverapp.kernel_manager
        self._standby = StandbyKernels(kernels, idle_s=lambda: idle_s(_serverapp), parent=self)
        self._standby.start()
        self._expect = asyncio.create_task(self._expect_starts(kernels, self._standby))
        shutdown = IdleShutdown(
            lambda: PoolClient(pool_socket()),
            lambda: {kernel_id: kernels.get_kernel(kernel_id) for kernel_id in kernels.list_kernel_ids()},
            kernels.shutdown_kernel,
            self.log,
        )
        self._idle = asyncio.create_task(shutdown.run(self.idle_check_interval_s))
        self._unclaimed = asyncio.create_task(self.settings["fastgpu_requested"].run())

    async def _expect_starts(self, kernels: Any, standby: StandbyKernels) -> None:
        """Make standby kernels ready for what is started most likely."""
        if standby.count:
            standby.expect(await expected_starts(kernels))

    async def _prepare_pool(self) -> None:
        connector: PoolConnector = self.settings["fastgpu_pool"]
        try:
            leases = await connector.call(PoolClient.leases)
            kernel_ids = [view["holder"]["kernel_id"] for view in leases if view["state"] != LeaseState.ENDED]
            live = [kernel_id for kernel_id in kernel_ids if kernel_id]
            await in_thread(remove_stale_tokens, [*live, *await in_thread(recorded_kernel_ids)])
        except (FastGPUError, OSError) as error:
            self.log.warning("FastGPU: %s", printable(str(error)))

    async def _check_keeping(self) -> None:
        """Log what ends the kernels together with this server, whatever the configuration says."""
        found = None if self.keep_kernels == NEVER else await in_thread(end_with_server, os.getpid())
        if found is not None:
            level = logging.WARNING if self.keep_kernels == ALWAYS else logging.INFO
            self.log.log(level, "FastGPU: %s", printable(render(found)))

    async def _prepare_jobs(self) -> None:
        """Start the dispatcher where there are jobs that are not over, so that they go on after a reboot."""
        try:
            await in_thread(resume_jobs)
        except (FastGPUError, OSError) as error:
            self.log.warning("FastGPU: %s", printable(str(error)))

    async def stop_extension(self) -> None:
        """End streams and launches, which would keep the server from stopping; kernels are shut down after this."""
        self.settings["fastgpu_broadcaster"].close()
        self.settings["fastgpu_spending"].close()
        for task in (self._start, self._start_jobs, self._idle, self._expect, self._unclaimed):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._standby is not None:
            await self._standby.stop()
        assert self.serverapp is not None
        if self._adoption is not None:
            self._adoption.stop()
        await abandon_launches(self.serverapp.kernel_manager)
        if self._records is not None:
            await leave_kernels(self.serverapp, self._records, self.log)

    def _lease_changed(self, view: LeaseView) -> None:
        assert self.serverapp is not None
        if self.serverapp.event_logger is None:
            return
        self.serverapp.event_logger.emit(schema_id=LEASE_SCHEMA, data=lease_event(view))


def recorded_kernel_ids() -> list[str]:
    """Return the ids of kernels that may request a lease with the token in their file, whatever server they have."""
    from ..wire.kept_kernels import records

    return [found.record.kernel_id for found in records()]


def idle_s(server: Any) -> float:
    """Return for how many seconds a Jupyter server has not been used: no request of a user, no running cell."""
    last: datetime = server.web_app.last_activity()
    return (datetime.now(UTC) - last).total_seconds()


def resume_jobs() -> None:
    """Start the user's dispatcher if there may be jobs that are not over."""
    if has_jobs():
        from ..jobs.client import ensure_dispatcher, has_unfinished_jobs

        if has_unfinished_jobs():
            ensure_dispatcher().close()


def lease_event(view: LeaseView) -> dict[str, Any]:
    """Return the data of the event that a lease changed its state."""
    return {
        "lease_id": view["id"],
        "state": view["state"],
        "end_reason": value_of(view["end_reason"]),
        "park_reason": value_of(view["parking"]["reason"]),
        "kernel_id": view["holder"]["kernel_id"],
        "device_id": device_of(view),
        "size": view["request"]["size"],
        "simulated": is_simulated(view),
    }
