"""Seeded simulation: clients, processes, devices, the disk and the pool manager do what the random numbers choose.

The real runtime and recovery run on a simulated host (:mod:`.host`) in a simulated event loop (:mod:`.simulated_loop`).
One seed gives one order of all events. The simulation reports an acknowledged command that is missing after a crash,
one idempotency key with two leases, a lease that ended for a reason that is not true, a reader that saw what was not
durable, capacity that was granted twice, and a bill that is longer than the time held or shorter than the time seen.
``python -m tests.sim.simulation --seed N --steps N -v`` runs one seed and prints its events.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.accounting.segment import Segment
from fastgpu_jupyter.core.model.entities import (
    IdlePolicy,
    IdleTimes,
    Policy,
    State,
)
from fastgpu_jupyter.core.model.events import LeaseRequested
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import replay as apply_all
from fastgpu_jupyter.errors import FastGPUError, InternalError
from fastgpu_jupyter.pool.composition import PoolServices, Threads
from fastgpu_jupyter.pool.devices import driver_thread as driver_thread_module
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.effects import presence as presence_module
from fastgpu_jupyter.pool.host import process as process_module
from fastgpu_jupyter.pool.journal import database as database_module
from fastgpu_jupyter.pool.journal import store as store_module
from fastgpu_jupyter.pool.journal import writer as writer_module
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import command_queue as command_queue_module
from fastgpu_jupyter.pool.loop import degraded_mode as degraded_mode_module
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from fastgpu_jupyter.pool.monitors import processes as processes_module
from fastgpu_jupyter.pool.monitors import telemetry as telemetry_module
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.sim import checks
from tests.sim.host import SPECS, SimulatedHost
from tests.sim.host_events import HostEvents
from tests.sim.simulated_devices import MIG_SPECS
from tests.sim.simulated_loop import Crash, SimulatedLoop, SimulatedThread
from tests.sim.state import InvariantViolation, require

ROUNDS_MAX = 100_000
#: States that a lease leaves by itself.
TRANSIENT = frozenset({LeaseState.PREPARING, LeaseState.PARKING, LeaseState.RESUMING, LeaseState.DRAINING})


def _reraise(error: Exception) -> None:
    raise error


#: Steps of the idle policy and parking ahead come soon, so that a simulation has them.
POLICY = Policy(
    idle_policy=IdlePolicy(IdleTimes(10_000, 20_000, 60_000), window_ms=3000, warning_ms=5000), ahead_ms=8000
)


class Simulation(HostEvents):
    """One simulation, and whether the pool manager keeps its guarantees in it."""

    # -- the pool manager ---------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        return self.folder / f"process-{self.process_count}" / "journal.db"

    def start(self) -> bool:
        """Start a pool manager; return whether it serves."""
        self.path.parent.mkdir(exist_ok=True)
        loop = self.host.loop = SimulatedLoop(self.host.time)
        try:
            journal = self.journal = Journal(self.path)
            self.release_log = PreallocatedReleaseLog(self.folder / "releases.preallocated")
            self.driver = self.host.driver()
            pool, _ = recover(journal, DriverAtStartup(self.driver), self.host, self.release_log, POLICY)
        except Crash:
            self._end_process()
            return False
        except InternalError:
            raise
        except FastGPUError as error:
            self.log(f"does not start: {error}")
            self._end_process()
            return False
        self.observe(pool.state)
        asyncio._set_running_loop(loop)
        try:
            services = self.services = PoolServices(
                pool,
                journal,
                self.driver,
                self.host,
                self.release_log,
                threads=Threads(SimulatedThread, SimulatedThread),
            )
            services.notifier.subscribe(lambda _: self.read(), _reraise)
        finally:
            asyncio._set_running_loop(None)
        self.start_task(services.start())
        self.log(f"serves, process {self.process_count}")
        return True

    def read(self) -> None:
        """Read the state as soon as no write is in progress, and check it."""
        if self.services is not None:
            self.start_task(self.services.store.read(lambda state, _: self._guarded(lambda: self.observe(state))))

    def _end_process(self) -> None:
        """End the process of the pool manager; the files stay as they are now."""
        self._note_ambiguous()
        old = self.path
        self.process_count += 1
        self.path.parent.mkdir(exist_ok=True)
        for file in old.parent.glob("journal.db*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, self.path.parent)
        if self.host.loop is not None:
            self.host.loop.crash()
        if self.journal is not None:
            with contextlib.suppress(Exception):
                self.journal.close()
        if self.release_log is not None:
            self.release_log.close()
        shutil.rmtree(old.parent)
        self.services = self.journal = self.release_log = self.host.loop = None
        self.host.descriptors.clear()
        for call in self.open_calls:
            call.in_flight = 0

    def _note_ambiguous(self) -> None:
        """Note the partitions of others that are where a lease has its partition according to the journal."""
        partitions = self.host.partitions
        self.promised_at_end = self.promised_partitions()
        for device_id, profile, start in self.promised_at_end:
            one = partitions.find((device_id, profile, start))
            if one is not None and not one.by_pool:
                partitions.ambiguous.add(one.uuid)

    def crash(self) -> None:
        """Kill the pool manager; check that the journal has the state that it had in memory."""
        services = self.services
        if services is None:
            return
        self.log("crash")
        self.crashes += 1
        quiet = not services.store.commit_lock.locked() and services.faults.message is None and not self.has_bug
        before = services.store.state
        self._end_process()
        self.has_bug = False
        if quiet:
            journal = Journal(self.path)
            require(replay(journal) == before, "the state in memory differs from the journal")
            everything = State()
            for record in journal.history():
                apply_all(everything, record.events, record.at)
            require(everything == before, "the snapshot differs from the replayed records")
            journal.close()

    def stop(self) -> None:
        """Stop the pool manager as a signal does."""
        loop = self.host.loop
        if self.services is None or loop is None:
            return
        task = self.start_task(self.services.stop())
        self.run(60.0)
        if self.host.loop is not loop:
            return  # it crashed in its last write
        if not task.done():  # it waits for a slow driver
            self.crash()
            return
        task.result()
        self.log("stopped")
        require(not self.host.descriptors, "a pidfd was left open")
        self._end_process()

    def run(self, for_s: float, rounds: int = ROUNDS_MAX) -> None:
        """Let time pass for the host and the pool manager, for so many rounds of its loop at most."""
        loop = self.host.loop
        if loop is None:
            self.host.time.now_s += for_s
            return
        left = loop.run(for_s, rounds)
        if loop.complaints:
            raise InvariantViolation(loop.complaints[0])
        if self.violation:
            raise self.violation
        if loop.crashed:
            self.log("crash in a write")
            self.crashes += 1
            self._end_process()
        elif rounds == ROUNDS_MAX:
            require(left, "the pool manager never waits")

    def jump_clock(self) -> None:
        """Set the wall clock, suspend the host, or reboot it."""
        match self.rng.choice(("wall", "suspend", "reboot")):
            case "wall":
                self.host.wall_offset_ms += self.rng.choice((-1, 1)) * 10 * 365 * 86_400_000
            case "suspend":
                self.host.suspended_ms += self.rng.randrange(600_000)
            case "reboot":
                self.log("reboot")
                self.crash()
                self.host.reboot()
                self.processes.clear()
                self.children.clear()
                self._forget_active_times()

    def _forget_active_times(self) -> None:
        for lease_seen in self.observed.values():
            if self.time_may_be_lost:
                lease_seen.first_active_ms = lease_seen.last_active_ms = None
        self.time_may_be_lost = False

    # -- the simulation ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one drawn action, let time pass, and check the state."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (16, self.request),
            (14, self.change_lease),
            (12, self.repeat),
            (3, self.repeat_answered),
            (2, self.administer),
            (3, self.change_money),
            (5, self.kill),
            (5, self.start_child),
            (6, self.end_child),
            (2, self.change_devices),
            (4, self.change_partitions),
            (5, self.inject_fault),
            (4, self.report_memory),
            (1, self.jump_clock),
            (1, self.inject_bug),
            (4, self.crash),
            (1, self.stop),
            (8, self.read),
            (22, lambda: None),
        ]
        self.rng.choices([action for _, action in actions], [weight for weight, _ in actions])[0]()
        if self.rng.random() < 0.15:
            self.host.faults.disk_full = False
        if self.services is None and self.rng.random() < 0.8:
            self.start()
        if self.rng.random() < 0.5:
            self.run(1.0, self.rng.randrange(1, 12))  # the next action comes at any await
        else:
            self.run(self.rng.choice((0.001, 0.01, 0.3, 1.0, 3.0, 20.0)))
        self.check()

    def finish(self) -> None:
        """End all faults, repeat all calls until they are answered, and check what is left."""
        faults = self.host.faults
        faults.disk_full = faults.late = faults.unread = faults.blind = faults.slow = faults.unlisted = False
        faults.no_answer = False
        faults.crash_at, faults.refuse_s = None, 0.0
        self.host.partitions.fail_s = self.host.partitions.busy_s = 0.0
        while self.children:
            self.end_child()
        if self.has_bug:
            self.crash()
        for _ in range(20):
            if self.services is None:
                self.start()
            for call in list(self.open_calls):
                self.send(call)
            self.run(30.0)
            if not self.open_calls:
                break
        for device in (*SPECS, *MIG_SPECS):
            self.report_memory(device.id)
        self.run(60.0)
        self.grantable_since_ms = -checks.UNGRANTED_MS_MAX
        require(not self.open_calls, f"a call was never answered: {self.open_calls[:1]}")
        self.check()
        assert self.services is not None
        fault = self.services.faults.message
        require(fault is None, f"granting stays stopped after all faults have ended: {fault}")
        state = self.services.store.state
        withheld = [name for name, device in state.devices.items() if device.unaccounted is not None]
        require(not withheld, "a device is withheld though no memory is in use:", withheld)
        for lease in state.leases.values():
            done = lease.state is LeaseState.ENDED
            require(done or self.host.is_alive(lease.holder), "the lease of a dead holder has not ended:", lease)
            require(lease.state not in TRANSIENT, "a lease stays in a transient state:", lease)
        self._check_partitions(state)
        watched = len({lease.holder for lease in state.leases.values() if lease.state is not LeaseState.ENDED})
        require(len(self.host.descriptors) == watched, "pidfds were left open")

    def check_history(self) -> None:
        """Check the whole history in the journal: keys, times, and the ledger against the meter."""
        self.crash()
        journal = Journal(self.path)
        self.records = list(journal.history())
        records = [(record.at, record.events) for record in self.records]
        journal.close()
        given: dict[str, list[str]] = {}
        for _, events in records:
            for event in events:
                if isinstance(event, LeaseRequested):
                    given.setdefault(event.lease_id.partition(".")[0].replace("lease", "key"), []).append(
                        event.lease_id
                    )
        for call in self.calls:
            if call.process is None:
                continue
            leases = given.get(call.key, [])
            require(len(leases) <= 1, "one idempotency key has several leases:", leases)
            require(
                call.answer is None or leases == [call.answer],
                "the journal has another lease than was answered:",
                (call, leases),
            )
        require([at.ms for at, _ in records] == sorted(at.ms for at, _ in records), "the times of the records go back")
        state, billed = State(), {}
        for at, events in records:
            apply_all(state, events, at)
            for lease in state.leases.values():
                billed[lease.id] = lease
        segments: dict[str, list[Segment]] = {}
        for segment in ledger.segments(records, state.last):
            segments.setdefault(segment.lease_id, []).append(segment)
        for lease_id, lease in billed.items():
            parts = segments.get(lease_id, [])
            require(
                all(a.end.ms <= b.start.ms for a, b in itertools.pairwise(parts)),
                f"usage segments of {lease_id} overlap",
            )
            total_ms = sum(part.duration_ms for part in parts)
            cost = sum(part.duration_ms * part.rate_micro_per_hour for part in parts)
            require(
                cost == meter.cost_numerator(lease, state.last.ms),
                "the ledger has another cost than the meter:",
                (cost, lease),
            )
            require(
                total_ms == meter.active_ms(lease, state.last.ms),
                f"the ledger has another time than the meter for {lease_id}: {total_ms} ms",
            )


@contextlib.contextmanager
def simulated_host(host: SimulatedHost) -> Iterator[None]:
    """Replace the operating system, the disk and the threads of the package by those of ``host``."""
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (driver_thread_module, "ANSWER_S", 1e6),
            (executor_module, "lease_of", host.lease_of),
            (presence_module, "leases_of", host.leases_of),
            (presence_module, "processes_of", host.processes_of),
            (writer_module, "SNAPSHOT_EVERY", 5),
            (degraded_mode_module, "WATCH_S", 1e9),  # no process of the simulation removes files
            (telemetry_module, "SAMPLE_INTERVAL_S", 10.0),
            (command_queue_module, "RETRY_S", 10.0),
            (processes_module, "CHECK_INTERVAL_S", 1e9),  # it reads the processes of the real machine
            (executor_module, "DRAIN_POLL_S", 1.0),
            (process_module, "os", host.operating_system()),
            (process_module, "_identify", host.identify),
            (store_module, "sqlite3", host.database()),
            (database_module, "sqlite3", host.database()),
            (store_module, "PART_RECORDS", 3),
            (os, "fsync", lambda _: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        logger = logging.getLogger("fastgpu")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)
        yield


def simulate(seed: int, steps: int, *, verbose: bool = False) -> Simulation:
    """Run the simulation of ``seed``. Raises :class:`InvariantViolation` where a guarantee is broken."""
    with tempfile.TemporaryDirectory(prefix="fastgpu-sim-") as folder:
        simulation = Simulation(seed, Path(folder), verbose=verbose)
        try:
            with simulated_host(simulation.host):
                while simulation.services is None:
                    simulation.start()
                for _ in range(steps):
                    simulation.step()
                simulation.finish()
                simulation.check_history()
        except BaseException as error:
            again = f"Seed {seed}: python -m tests.sim.simulation --seed {seed} --steps {steps} --verbose"
            if hasattr(error, "add_note"):
                error.add_note(again)
            else:
                print(again, file=sys.stderr)  # noqa: T201
            raise
        finally:
            if simulation.services is not None:
                simulation._end_process()
        return simulation


def main() -> int:
    """Run seeds from a command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from --seed on")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    crashes = answers = 0
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            simulation = simulate(seed, options.steps, verbose=options.verbose)
        except Exception:
            print(f"Seed {seed} fails.", file=sys.stderr)  # noqa: T201
            raise
        crashes, answers = crashes + simulation.crashes, answers + simulation.answers
    print(f"{options.seeds} seeds of {options.steps} steps: {crashes} crashes, {answers} answers, no violation.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
