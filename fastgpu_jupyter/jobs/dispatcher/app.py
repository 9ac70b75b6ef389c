"""The dispatcher's process: start, signals, and the end when it is idle."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ...errors import FastGPUError, Message, StoreFault
from ...messages import text_of, view_of
from ...wire.client import PoolClient
from ...wire.detach import detach
from ...wire.process_identity import boot_id
from ...wire.spawn import ALREADY_RUNNING, ensure_pool
from .. import places, settings
from ..frames import refusal_of
from . import plan, single_instance
from .cached import CacheIndex
from .calls import JobCalls
from .engine import JobEngine
from .intake import Intake
from .kept_results import KeptResults
from .kept_workers import KeptWorkers
from .leases import Leases
from .pruning import Pruning
from .runners import Runners
from .server import Server
from .store import JobStore

log = logging.getLogger("fastgpu.jobs")
LOG_BYTES_MAX = 2**20
#: How often the dispatcher looks whether it is idle.
_CHECK_S = 1.0


def main() -> None:
    """Serve until the dispatcher is stopped or idle; exit with a refusal on standard error where that cannot be."""
    report = detach(_show)
    os.umask(0o077)
    try:
        folder, socket_path = places.jobs_dir(), places.socket_path()
        single_instance.private_folder(folder)
        single_instance.private_folder(socket_path.parent)
        if single_instance.only_dispatcher(folder, socket_path) is None:
            report(ALREADY_RUNNING, "")
            sys.exit(ALREADY_RUNNING)
        _log_to(folder / places.LOG_OF_DISPATCHER)
        single_instance.private_folder(places.drafts_folder(folder))
        asyncio.run(_serve(folder, socket_path, report))
    except FastGPUError as error:
        log.error("The dispatcher ends: %s", text_of(error))  # noqa: TRY400 (a refusal is no bug)
        report(1, json.dumps(refusal_of(error, view_of(error.message))))
        sys.exit(1)
    except Exception:
        log.exception("The dispatcher ends because of a bug")  # standard error goes nowhere
        report(1, "")
        sys.exit(1)


async def _serve(folder: Path, socket_path: Path, report: Callable[[int, str], None]) -> None:
    store = JobStore(folder)
    try:
        dispatcher = Dispatcher(JobEngine(folder, settings.load(), store))
        dispatcher.take_over()
        await dispatcher.server.start(single_instance.listen(socket_path))
        report(0, "")
        log.info("Serving at %s with %d jobs.", socket_path, len(dispatcher.engine.table))
        await dispatcher.run()
        # From here on a client finds no socket, and starts another dispatcher, which waits for the locks.
        single_instance.remove_socket(socket_path)
        await dispatcher.close()
    finally:
        store.close()
    log.info("Ended.")


class Dispatcher:
    """The parts of the dispatcher, wired together, and the loop that does what the plan says."""

    def __init__(self, engine: JobEngine, connect: Callable[[], PoolClient] = ensure_pool) -> None:
        self.engine = engine
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._planned: asyncio.Handle | None = None
        self.leases = Leases(engine, connect)
        results = KeptResults(places.results_folder(engine.folder))
        index = CacheIndex(engine.store, results.describe, engine.now_ms)
        self.runners = Runners(engine, self.leases, results, index, boot_id())
        self.workers = KeptWorkers(engine, self.leases, self.runners)
        self.pruning = Pruning(engine, results)
        intake = Intake(engine, self.leases, self.workers, index)
        calls = JobCalls(engine, self.runners, self.workers, self.pruning, submit=intake.submit, stop=self._stopped.set)
        self.server = Server(calls, engine.publisher, self.runners.disconnected)
        engine.replan = self._plan_soon

    def take_over(self) -> None:
        """Go on with the jobs of the store."""
        self.runners.take_over()
        self.pruning.tidy_soon()
        self._plan_soon()

    def _plan_soon(self) -> None:
        """Plan once after all that happens at this instant."""
        if self._planned is None:
            self._planned = self._loop.call_soon(self._plan)

    def _plan(self) -> None:
        self._planned = None
        settings = self.engine.settings
        if self.leases.others_wait:
            self.workers.end_idle_workers()
        steps = plan.next_steps(
            self.engine.table,
            self.leases.states(),
            self.workers.idle_workers(),
            plan.DispatchLimits(settings.requests_max, settings.runners_max),
            self.leases.held_back(),
        )
        table = self.engine.table
        for job_id, kept_by in steps.assign:
            self.workers.assign(table[job_id], kept_by)
        for job_id in steps.withdraw:
            self.leases.withdraw(job_id)
        for job_id in steps.start:
            self.runners.start(table[job_id])
        for job_id in steps.request:
            self.leases.request(table[job_id])
        if self.leases.requests_wait and not steps.withdraw:  # what was withdrawn is in the queue for a moment yet
            self.workers.end_idle_workers()

    async def run(self) -> None:
        """Return when the dispatcher is stopped by a signal or a client, or when it is idle."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopped.set)
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _CHECK_S)
            if self._is_idle():
                return

    def _is_idle(self) -> bool:
        if any(self.engine.table.counts()) or len(self.runners):
            return False
        return self._loop.time() - self.server.used_at_s > self.engine.settings.idle_exit_s

    async def close(self) -> None:
        """Stop everything; running jobs go on under their runners, and leases that wait end."""
        self.engine.replan = lambda: None
        if self._planned is not None:
            self._planned.cancel()
        self.runners.close()
        self.pruning.close()
        self.leases.close()
        self.engine.publisher.close()
        await self.server.close()


def _show(_: int, text: str) -> None:
    """Print in the process that was started what the dispatcher says."""
    if text:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _log_to(path: Path) -> None:
    try:
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1, encoding="utf-8")
    except OSError as error:
        raise StoreFault(Message.of("jobs.store_fault", path=str(path), reason=str(error))) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("fastgpu")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logging.getLogger("asyncio").addHandler(handler)
