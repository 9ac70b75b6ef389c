"""One seed, one story: clients, processes, devices, the disk and the pool manager do as the seed says.

The real runtime and the real recovery run on a played host (see :mod:`.host` and :mod:`.clockwork`). What the story
promises to find: an acknowledged command that is not there after a crash; one key that became two leases; a live
holder that lost its lease, or a lease that ended for a reason that was none; a reader who saw what was not durable;
capacity given twice; a bill that is longer than the time held, or shorter than the time seen.
``python -m tests.sim.story --seed N --steps N -v`` tells the story of one seed again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    EndReason,
    Health,
    Instant,
    Lease,
    LeaseRequest,
    Plan,
    Priority,
    State,
)
from fastgpu_jupyter.core.model.events import LeaseRequested
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.core.pool import replay as apply_all
from fastgpu_jupyter.errors import CallerError, FastGPUError, InternalError
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.host import process as process_module
from fastgpu_jupyter.pool.journal import store as store_module
from fastgpu_jupyter.pool.journal.codec import Record
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import runtime as runtime_module
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from fastgpu_jupyter.pool.loop.runtime import Runtime
from fastgpu_jupyter.pool.monitors import sampler as sampler_module
from tests.core.faults import BAD_MEMORY, MEMORY_ERRORS, WRONG_ADDRESS
from tests.sim.cards import CARDS, Place
from tests.sim.clockwork import Crash, Loop, Thread
from tests.sim.host import SPECS, Host, Process

ROUNDS_MAX = 100_000
#: States in which something is under way that must come to an end.
PASSING = frozenset({LeaseState.PREPARING, LeaseState.PARKING, LeaseState.RESUMING, LeaseState.DRAINING})
#: How much of a lease a sudden reboot may leave unbilled: a tick, and what the program takes to come round to it.
UNBILLED_MS_MAX = 60_000 + 10_000
#: How long somebody may wait for what is free.
SERVED_AGAIN_MS_MAX = 15_000
#: How long it may take until it is found that the disk is well again.
STUCK_S_MAX = 10.0


class Wrong(AssertionError):
    """The program did what it must never do."""


def require(truth: object, what: str, about: object = "") -> None:
    if not truth:
        raise Wrong(f"{what} {about}".rstrip())


@dataclass(eq=False)
class Asked:
    """A mutating call of a client, which it repeats with the same key until it is answered."""

    key: str
    command: Callable[[], c.Command]
    what: str
    underway: int = 0
    refused: bool = False
    answered: bool = False
    answer: str | None = None
    process: Process | None = None  #: of a request: who is to hold the lease
    lease_id: str | None = None  #: of anything else: what it is about


@dataclass
class Known:
    """What somebody was told of a lease, so that it must stay true."""

    version: int = 0
    generation: int | None = None
    first_generation: int | None = None  #: where it was seen before it was parked for the first time
    park_failure: str | None = None
    state: LeaseState = LeaseState.WAITING
    first_active_ms: int | None = None
    last_active_ms: int | None = None
    ended_ms: int | None = None
    release_sent: bool = False
    release_answered: bool = False
    granted_on: set[str] = field(default_factory=set)
    requested_ms: int = 0
    boot: int = 0


class Story:
    """What happens, and whether it may."""

    def __init__(self, seed: int, folder: Path, *, verbose: bool = False) -> None:
        self.drawn = random.Random(seed)
        self.folder = folder
        self.verbose = verbose
        self.host = Host(self.drawn)
        self.known: dict[str, Known] = {}
        self.asked: list[Asked] = []
        self.open: list[Asked] = []  #: not answered yet
        self.processes: list[Process] = []
        self.children: list[Process] = []
        self.runtime: Runtime | None = None
        self.driver: Any = None
        self.journal: Journal | None = None
        self.release_log: PreallocatedReleaseLog | None = None
        self.found: Wrong | None = None
        self.lives = 0
        self.answers = 0
        self.crashes = 0
        self.troubled = False  #: since the last start of the host, so that a reboot may leave more unbilled
        self.bugged = False
        self.could_since_ms: int | None = None
        self.stuck_since_s: float | None = None  #: since when nothing is granted though the disk is well
        self.records: list[Record] = []  #: what the journal has in the end
        self._numbers = 0
        Thread.delay_s = staticmethod(self._delay_s)

    def say(self, what: str) -> None:
        if self.verbose:
            print(f"{self.host.true_ms:>10} {what}")  # noqa: T201 (asked for)

    def _delay_s(self, name: str) -> float:
        slow = self.host.faults.slow and name == "devices"
        return self.drawn.uniform(0.5, 8.0) if slow else self.drawn.choice((0.0, 0.0001, 0.001, 0.01))

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    # -- the program's lives ----------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        return self.folder / f"life-{self.lives}" / "journal.db"

    def start(self) -> bool:
        """Begin a life; whether it came as far as serving."""
        self.path.parent.mkdir(exist_ok=True)
        loop = self.host.loop = Loop(self.host.time)
        try:
            journal = self.journal = Journal(self.path)
            self.release_log = PreallocatedReleaseLog(self.folder / "releases.release_log")
            self.driver = self.host.driver()
            pool, _ = recover(journal, self.driver, self.host, self.release_log)  # type: ignore[arg-type]
        except Crash:
            self._die()
            return False
        except InternalError:
            raise
        except FastGPUError as error:
            self.say(f"does not start: {error}")
            self._die()
            return False
        self.observe(pool.state)
        asyncio._set_running_loop(loop)
        try:
            runtime = self.runtime = Runtime(pool, journal, self.driver, self.host, self.release_log)  # type: ignore[arg-type]
            runtime.follow(lambda _: self.read(), lambda: None)
        finally:
            asyncio._set_running_loop(None)
        self.do(runtime.start())
        self.say(f"serves, life {self.lives}")
        return True

    def do(self, coroutine: Any) -> Any:
        assert self.host.loop is not None
        return self.host.loop.create_task(coroutine)

    def read(self) -> None:
        """Somebody reads as soon as that is possible."""
        if self.runtime is not None:
            self.do(self.runtime.read(lambda state, _: self._guarded(lambda: self.observe(state))))

    def _die(self) -> None:
        """What a killed process leaves: the files as they are at this instant."""
        self._note_ambiguous()
        old = self.path
        self.lives += 1
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
        self.runtime = self.journal = self.release_log = self.host.loop = None
        self.host.descriptors.clear()
        for asked in self.open:
            asked.underway = 0

    def _note_ambiguous(self) -> None:
        """What of others is where a lease has its partition by the journal, and the pool has not said so yet."""
        cards = self.host.cards
        for device_id, profile, start in self.promised():
            one = cards.find((device_id, profile, start))
            if one is not None and not one.by_pool:
                cards.ambiguous.add(one.uuid)

    def promised(self) -> set[Place]:
        """The partitions that leases hold and that the pool makes."""
        leases = self.runtime._pool.state.leases.values() if self.runtime is not None else ()
        gpus = [
            lease.logical_gpu for lease in leases if lease.state in HOLDING_CAPACITY and lease.logical_gpu is not None
        ]
        parts = [(gpu.device_id, gpu.partition) for gpu in gpus if gpu.partition is not None]
        return {(name, part.profile, part.start) for name, part in parts if not part.preexisting}

    def crash(self) -> None:
        runtime = self.runtime
        if runtime is None:
            return
        self.say("crash")
        self.crashes += 1
        quiet = not runtime._commit_lock.locked() and runtime.fault is None and not self.bugged
        before = runtime._pool.state
        self._die()
        self.bugged = False
        if quiet:
            journal = Journal(self.path)
            require(replay(journal) == before, "memory was not what the disk has")
            everything = State()
            for record in journal.history():
                apply_all(everything, record.events, record.at)
            require(everything == before, "the snapshot was not what the records add up to")
            journal.close()

    def stop(self) -> None:
        """In good order."""
        loop = self.host.loop
        if self.runtime is None or loop is None:
            return
        task = self.do(self.runtime.stop())
        self.run(60.0)
        if self.host.loop is not loop:
            return  # it crashed in its last write
        if not task.done():  # it waits for a slow driver
            self.crash()
            return
        task.result()
        self.say("stopped")
        require(not self.host.descriptors, "a descriptor of a process was left open")
        self._die()

    def run(self, for_s: float, rounds: int = ROUNDS_MAX) -> None:
        loop = self.host.loop
        if loop is None:
            self.host.time.now_s += for_s
            return
        left = loop.run(for_s, rounds)
        if loop.complaints:
            raise Wrong(loop.complaints[0])
        if self.found:
            raise self.found
        if loop.crashed:
            self.say("crash in a write")
            self.crashes += 1
            self._die()
        elif rounds == ROUNDS_MAX:
            require(left, "the program is busy without end")

    def _guarded(self, check: Callable[[], None]) -> None:
        """What is wrong is kept until the story can tell it: the program must not catch it."""
        try:
            check()
        except Wrong as wrong:
            self.found = self.found or wrong

    # -- what clients do --------------------------------------------------------------------------------------------

    def call(self, asked: Asked) -> None:
        if self.runtime is None:
            return
        asked.underway += 1
        self.do(self._call(self.runtime, asked))

    async def _call(self, runtime: Runtime, asked: Asked) -> None:
        lost = self.drawn.random() < 0.1
        command = asked.command()
        if isinstance(command, c.ReleaseLease):
            self.known[command.lease_id].release_sent = True
        try:
            answer = await runtime.submit(command, asked.key)
        except CallerError as refusal:
            self.say(f"{asked.what} {asked.key}: refused: {refusal}")
            asked.refused = True
            self._close(asked)
        except FastGPUError as fault:
            self.say(f"{asked.what} {asked.key}: {fault}")
            if isinstance(fault, InternalError) and not self.bugged:
                self.found = self.found or Wrong(f"a bug: {fault}")
        else:
            if lost:
                self.say(f"{asked.what} {asked.key}: the answer {answer} is lost")
            else:
                self._guarded(lambda: self.answered(asked, answer))
        asked.underway -= 1

    def answered(self, asked: Asked, answer: str | None) -> None:
        self.say(f"{asked.what} {asked.key}: {answer}")
        self.answers += 1
        if asked.process is not None:
            require(answer is not None, "a request was answered with nothing")
            require(asked.answer in {None, answer}, f"one key, two leases: {asked.answer} and {answer}")
            asked.answer = answer
            assert answer is not None
            self.known.setdefault(answer, Known(requested_ms=self.host.true_ms, boot=self.host.boots))
        elif asked.what == "release":
            assert asked.lease_id is not None
            self.known[asked.lease_id].release_answered = True
        asked.answered = True
        self._close(asked)

    def _close(self, asked: Asked) -> None:
        if asked in self.open:
            self.open.remove(asked)

    def ask(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.open.append(asked)
        self.call(asked)
        if self.drawn.random() < 0.15:
            self.call(asked)  # the same once more, before the first is answered

    def request(self) -> None:
        number = self.number()
        process = self.drawn.choice(self.processes) if self.processes and self.drawn.random() < 0.4 else self.spawn()
        profile = self.drawn.choice(
            ("full", "half", "half", "quarter", "quarter", "eighth", "2xany", "70GiB", "1g.10gb", "2g.20gb", "3g.40gb")
        )
        wait_ms_max = self.drawn.choice((None, None, None, 0, 5000))
        priority = self.drawn.choice((Priority.NORMAL, Priority.NORMAL, Priority.HIGH))
        request = LeaseRequest(profile, None, None, f"{number}.ipynb", priority, wait_ms_max)
        tenant, holder = self.drawn.choice("abc"), process.holder
        asked = Asked(f"key-{number}", c.Tick, "request", process=process)
        asked.command = lambda: c.RequestLease(f"lease-{number}.{self.number()}", tenant, request, holder, "0" * 64)
        self.ask(asked)

    def about_a_lease(self) -> None:
        if not self.known:
            return
        lease_id = self.drawn.choice(list(self.known)[-12:])
        what = self.drawn.choice(
            ("release", "release", "bind", "resize", "transfer", "park", "resume", "use", "use", "move")
        )
        holder = self.drawn.choice(self.processes).holder if self.processes else None
        profile, tenant = self.drawn.choice(("half", "quarter", "full")), self.drawn.choice("abc")
        busy = self.drawn.random() < 0.4
        if what == "bind" and holder is None:
            return
        commands: dict[str, Callable[[], c.Command]] = {
            "release": lambda: c.ReleaseLease(lease_id),
            "bind": lambda: c.BindHolder(lease_id, holder),  # type: ignore[arg-type]
            "resize": lambda: c.ResizeLease(lease_id, profile),
            "transfer": lambda: c.TransferLease(lease_id, tenant),
            "move": lambda: c.MigrateLease(lease_id),
            "park": lambda: c.ParkLease(lease_id),
            "resume": lambda: c.ResumeLease(lease_id),
            "use": lambda: c.ReportActivity(lease_id, busy),
        }
        self.ask(Asked(f"key-{self.number()}", commands[what], what, lease_id=lease_id))

    def administer(self) -> None:
        device, health = self.drawn.choice((*SPECS, *CARDS)).id, self.drawn.choice(list(Health))
        drained, limit = self.drawn.random() < 0.3, self.drawn.choice((None, 500, 2000))
        fault = self.drawn.choice((WRONG_ADDRESS, MEMORY_ERRORS, BAD_MEMORY))
        what, command = self.drawn.choice(
            (
                ("health", lambda: c.SetHealth(device, health, "observed")),
                ("fault", lambda: c.ReportFault(device, fault)),
                ("restore", lambda: c.RestoreDevice(device)),
                ("drain", lambda: c.DrainDevice(device, drained)),
                ("entitle", lambda: c.SetTenant("a", 100, limit)),
            )
        )
        self.ask(Asked(f"key-{self.number()}", command, what))

    def pay(self) -> None:
        """Money is set aside, capped and reserved while leases come and go."""
        tenant, number = self.drawn.choice("abc"), self.number()
        budget_micro = self.drawn.choice((None, 0, 1000, 100_000, 10_000_000))
        policy, plan = self.drawn.choice(list(BudgetPolicy)), self.drawn.choice(list(Plan))
        milli, model = self.drawn.choice((250, 500, 1000)), self.drawn.choice((None, SPECS[0].model))
        start_wall_ms = self.drawn.choice((None, None, self.host.wall_ms() + 30_000))
        # Made or refused: one that is cancelled need not be there.
        reservation_id = f"reservation-{self.drawn.randrange(number)}"
        lease_id = self.drawn.choice(list(self.known)[-12:]) if self.known else None
        commands: dict[str, Callable[[], c.Command]] = {
            "budget": lambda: c.SetBudget(tenant, budget_micro, policy),
            "reserve": lambda: c.ReserveCapacity(
                f"reservation-{number}", tenant, milli, model, plan, 30, start_wall_ms
            ),
            "cancel": lambda: c.CancelReservation(reservation_id),
        }
        if lease_id is not None and budget_micro != 0:
            commands["lease budget"] = lambda: c.SetLeaseBudget(lease_id, budget_micro)
        what = self.drawn.choice(list(commands))
        self.ask(Asked(f"key-{number}", commands[what], what))

    def repeat(self) -> None:
        if self.open:
            self.call(self.drawn.choice(self.open))

    def repeat_what_was_answered(self) -> None:
        done = [asked for asked in self.asked if asked.answered and asked.process is not None]
        if done:
            self.call(self.drawn.choice(done))

    # -- what the host does -----------------------------------------------------------------------------------------

    def spawn(self, pid: int | None = None) -> Process:
        process = self.host.spawn(pid=pid)
        self.processes.append(process)
        return process

    def kill(self) -> None:
        if not self.processes:
            return
        process = self.processes.pop(self.drawn.randrange(len(self.processes)))
        self.say(f"process {process.pid} ends")
        self.host.kill(process)
        if self.drawn.random() < 0.5:
            self.spawn(process.pid)  # its number is another's at once

    def work(self) -> None:
        """A child of a kernel has memory on the device, and may outlive the kernel."""
        active = [name for name, known in self.known.items() if known.state is LeaseState.ACTIVE]
        if active:
            name = self.drawn.choice(active)
            runtime = self.runtime
            # It counts only where the lease is active at this instant, not where somebody last saw it so.
            lease = runtime._pool.state.leases.get(name) if runtime and not runtime._commit_lock.locked() else None
            if lease is not None and lease.state is LeaseState.ACTIVE:
                child = self.host.spawn(lease_id=name)
                gpu = lease.logical_gpu
                child.partition = gpu.driver_handle if gpu is not None and gpu.partition is not None else ""
                self.children.append(child)

    def end_work(self) -> None:
        if self.children:
            self.host.kill(self.children.pop(self.drawn.randrange(len(self.children))))

    def devices(self) -> None:
        device = self.drawn.choice((*SPECS, *CARDS)).id
        if device in self.host.shown:
            self.host.hide(device)
        else:
            self.host.show(device)
        self.say(f"shown are {sorted(self.host.shown)}")
        if self.drawn.random() < 0.5 and self.runtime is not None:
            specs = tuple(self.driver.inventory()[0])
            self.ask(Asked(f"key-{self.number()}", lambda: c.SetDevices(specs), "devices"))

    def divide(self) -> None:
        """Somebody else, who knows nothing of the pool, makes or destroys a partition."""
        device_id, cards = self.drawn.choice(CARDS).id, self.host.cards
        if device_id in cards.hidden:
            return
        # What a write under way promises, nobody knows yet.
        if self.drawn.random() < 0.6 and not (self.runtime is not None and self.runtime._commit_lock.locked()):
            self.say(f"somebody makes {cards.somebody_makes(device_id, self.promised())}")
            return
        gone = cards.somebody_destroys(device_id)
        self.say(f"somebody destroys {gone}")
        if gone is not None:
            self.host.ever_hidden.add(device_id)

    def fault(self) -> None:
        faults = self.host.faults
        what = self.drawn.choice(
            ("full", "full", "late", "crash", "crash", "crash", "crash on card", "cards", "refuse", "blind", "slow")
        )
        match what:
            case "full":
                faults.disk_full = True
                faults.late = self.drawn.random() < 0.3  # the first write once there is room
                faults.unread = self.drawn.random() < 0.5
                self.troubled = True
            case "late":
                faults.late, faults.unread = True, self.drawn.random() < 0.5
                self.troubled = True
            case "crash":
                faults.crash_at = self.drawn.choice(("insert", "commit", "committed"))
            case "crash on card":
                faults.crash_at = self.drawn.choice(("created", "completed", "destroyed"))
            case "cards":
                self.host.cards.fail_s = self.drawn.choice((0.0, 0.2, 0.8))
                self.host.cards.busy_s = self.drawn.choice((0.0, 0.3, 0.9))
            case "refuse":
                faults.refuse_s = self.drawn.choice((0.0, 0.3, 1.0))
            case "blind":
                faults.blind = not faults.blind
            case "slow":
                faults.slow = not faults.slow
        self.say(f"faults: {faults}")

    def bug(self) -> None:
        """The pool meets a bug after it has applied a part of what it decided."""
        if self.runtime is None or self.bugged or self.runtime.fault is not None:
            return
        self.say("a bug")
        self.bugged = True
        pool = self.runtime._pool

        def fail(_: object, **_options: object) -> None:
            del pool.advance
            raise InternalError("impossible")

        pool.advance = fail  # type: ignore[method-assign, assignment]

    def jump(self) -> None:
        match self.drawn.choice(("wall", "suspend", "reboot")):
            case "wall":
                self.host.wall_offset_ms += self.drawn.choice((-1, 1)) * 10 * 365 * 86_400_000
            case "suspend":
                self.host.suspended_ms += self.drawn.randrange(600_000)
                self.troubled = True
            case "reboot":
                self.say("reboot")
                self.crash()
                self.host.reboot()
                self.processes.clear()
                self.children.clear()
                self._forget_slack()

    def _forget_slack(self) -> None:
        for known in self.known.values():
            if self.troubled:
                known.first_active_ms = known.last_active_ms = None
        self.troubled = False

    # -- whether it may ---------------------------------------------------------------------------------------------

    def observe(self, state: State) -> None:
        """Somebody reads: what is seen now was durable, and nothing that was seen before is undone."""
        now_ms = self.host.true_ms
        broken = list(violations(state))
        require(not broken, "an invariant is broken:", broken)
        pool_ms = max(self.host.boot_ms() - state.clock_epoch_ms, state.last.ms)
        for lease in state.leases.values():
            known = self.known.get(lease.id)
            if known is None:
                known = self.known[lease.id] = Known(requested_ms=now_ms, boot=self.host.boots)
            require(lease.version >= known.version, "further on than it is was seen", lease)
            generation = lease.logical_gpu.generation if lease.logical_gpu else None
            if generation is not None:
                require(known.generation is None or known.generation <= generation, "an earlier generation has", lease)
                if known.generation != generation or known.park_failure != lease.park_failure:
                    known.first_active_ms = known.last_active_ms = None  # it was not active all the time in between
                if known.generation is None and lease.park_reason is None:
                    known.first_generation = generation
                known.generation = generation
            known.version, known.park_failure = lease.version, lease.park_failure
            if lease.logical_gpu is not None:
                known.granted_on.update(lease.logical_gpu.device_ids)
            if lease.state in (LeaseState.DRAINING, LeaseState.ENDED) and known.state is not LeaseState.ENDED:
                self._may_end(lease, known)
            if lease.state is LeaseState.ENDED and known.state is not LeaseState.ENDED:
                left = [child.pid for child in self.children if child.alive and child.lease_id == lease.id]
                require(not left, f"{lease.id} ended while {left} had memory of it")
            known.state = lease.state
            self._bill(lease, known, pool_ms)

    def _cards_are_those_of_leases(self, state: State) -> None:
        """Every partition that the pool made is a lease's, and each lease has the one that it says."""
        promised = self.promised()
        for made in (one for card in self.host.cards.there.values() for one in card if one.by_pool):
            require(made.place in promised, "a partition is left that no lease has:", made)
        for lease in state.leases.values():
            gpu = lease.logical_gpu
            if lease.state is LeaseState.ACTIVE and gpu is not None and gpu.partition is not None:
                one = self.host.cards.find((gpu.device_id, gpu.partition.profile, gpu.partition.start))
                require(
                    one is not None and one.uuid == gpu.driver_handle,
                    "it has a partition that is not there:",
                    (lease, one),
                )

    def _may_end(self, lease: Lease, known: Known) -> None:
        reason = lease.end_reason
        allowed = {
            EndReason.RELEASED: known.release_sent,
            EndReason.CANCELLED: known.release_sent,
            EndReason.HOLDER_DIED: not self.host.is_alive(lease.holder),
            EndReason.DEVICE_LOST: known.granted_on & self.host.ever_hidden,
            EndReason.PREPARE_FAILED: known.generation in self.host.refused,
            EndReason.RESUME_FAILED: known.generation in self.host.refused,
            EndReason.EXPIRED: lease.request.wait_ms_max is not None
            and self.host.true_ms - known.requested_ms >= lease.request.wait_ms_max - 5000,
        }
        require(reason is not None and allowed[reason], "it ended for no good reason:", lease)

    def _bill(self, lease: Lease, known: Known, pool_ms: int) -> None:
        now_ms, billed_ms = self.host.true_ms, meter.active_ms(lease, pool_ms)
        if lease.state is LeaseState.ACTIVE:
            known.first_active_ms = now_ms if known.first_active_ms is None else known.first_active_ms
            known.last_active_ms = now_ms
        elif lease.state in (LeaseState.DRAINING, LeaseState.ENDED) and known.ended_ms is None:
            known.ended_ms = now_ms
        if known.first_active_ms is not None and known.last_active_ms is not None:
            seen_ms = known.last_active_ms - known.first_active_ms
            slack_ms = 2 if self.host.boots == known.boot else UNBILLED_MS_MAX
            require(billed_ms >= seen_ms - slack_ms, "ms seen, ms billed:", (seen_ms, billed_ms, lease))
        if known.first_generation is not None:
            began_ms = self.host.prepared_ms.get(known.first_generation)
            most_ms = 0 if began_ms is None else max(0, (known.ended_ms or now_ms) - began_ms)
            require(billed_ms <= most_ms + 2, "ms billed, ms held:", (billed_ms, most_ms, lease))

    def check(self) -> None:
        """After each step, unless a write is under way."""
        runtime = self.runtime
        if runtime is None:
            self.stuck_since_s = None
        if runtime is None or runtime._commit_lock.locked():
            return
        faults, now_s = self.host.faults, self.host.time.now_s
        stuck = runtime.fault is not None and not (self.bugged or faults.disk_full or faults.late)
        self.stuck_since_s = (self.stuck_since_s or now_s) if stuck else None
        if self.stuck_since_s is not None:
            require(now_s - self.stuck_since_s <= STUCK_S_MAX, "the disk is well, and yet:", runtime.fault)
        state = runtime._pool.state
        self.observe(state)
        require(not self.host.cards.wrongs, "on the cards:", self.host.cards.wrongs)
        if runtime.fault is None and not self.bugged and not runtime._calls.qsize():
            at = Instant(max(state.last.ms, runtime.now().ms), 0)
            could = runtime._pool.advance(at)
            self.could_since_ms = (self.could_since_ms or self.host.true_ms) if could else None
            # Once the disk is back it takes a moment, and a tick at most, until those who wait are served.
            waited_ms = self.host.true_ms - (self.could_since_ms or self.host.true_ms)
            require(waited_ms <= SERVED_AGAIN_MS_MAX, "somebody waits for what is free", could)
        else:
            self.could_since_ms = None
        for asked in self.asked:
            if asked.answer is not None:
                known = self.known[asked.answer]
                there = asked.answer in state.leases or known.state is LeaseState.ENDED
                require(there, "acknowledged, and not there:", asked.answer)
        for name, known in self.known.items():
            if known.release_answered:
                require(
                    known.state in (LeaseState.DRAINING, LeaseState.ENDED),
                    "the release was acknowledged, yet it is:",
                    (name, known),
                )

    # -- all of it --------------------------------------------------------------------------------------------------

    def step(self) -> None:
        deeds: list[tuple[int, Callable[[], None]]] = [
            (16, self.request),
            (14, self.about_a_lease),
            (12, self.repeat),
            (3, self.repeat_what_was_answered),
            (2, self.administer),
            (3, self.pay),
            (5, self.kill),
            (5, self.work),
            (6, self.end_work),
            (2, self.devices),
            (4, self.divide),
            (5, self.fault),
            (1, self.jump),
            (1, self.bug),
            (4, self.crash),
            (1, self.stop),
            (8, self.read),
            (22, lambda: None),
        ]
        self.drawn.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])[0]()
        if self.drawn.random() < 0.15:
            self.host.faults.disk_full = False
        if self.runtime is None and self.drawn.random() < 0.8:
            self.start()
        if self.drawn.random() < 0.5:
            self.run(1.0, self.drawn.randrange(1, 12))  # so many rounds: the next deed may come at any await
        else:
            self.run(self.drawn.choice((0.001, 0.01, 0.3, 1.0, 3.0, 20.0)))
        self.check()

    def settle(self) -> None:
        """All is mended, and everybody asks until there is an answer: what then remains is what must be."""
        faults = self.host.faults
        faults.disk_full = faults.late = faults.unread = faults.blind = faults.slow = False
        faults.crash_at, faults.refuse_s = None, 0.0
        self.host.cards.fail_s = self.host.cards.busy_s = 0.0
        while self.children:
            self.end_work()
        if self.bugged:
            self.crash()
        for _ in range(20):
            if self.runtime is None:
                self.start()
            for asked in list(self.open):
                self.call(asked)
            self.run(30.0)
            if not self.open:
                break
        self.run(60.0)
        self.could_since_ms = -SERVED_AGAIN_MS_MAX
        require(not self.open, f"never answered: {self.open[:1]}")
        self.check()
        assert self.runtime is not None
        require(self.runtime.fault is None, f"nothing is granted though all is mended: {self.runtime.fault}")
        state = self.runtime._pool.state
        for lease in state.leases.values():
            done = lease.state is LeaseState.ENDED
            require(done or self.host.is_alive(lease.holder), "was not reaped:", lease)
            require(lease.state not in PASSING, "nothing comes of", lease)
        self._cards_are_those_of_leases(state)
        watched = len({lease.holder for lease in state.leases.values() if lease.state is not LeaseState.ENDED})
        require(len(self.host.descriptors) == watched, "descriptors of processes were left open")

    def history(self) -> None:
        """What the journal says of it all, when it is read from its first record on."""
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
        for asked in self.asked:
            if asked.process is None:
                continue
            leases = given.get(asked.key, [])
            require(len(leases) <= 1, "one key became", leases)
            require(asked.answer is None or leases == [asked.answer], "not what was answered:", (asked, leases))
        require([at.ms for at, _ in records] == sorted(at.ms for at, _ in records), "time went back")
        state, billed = State(), {}
        for at, events in records:
            apply_all(state, events, at)
            for lease in state.leases.values():
                billed[lease.id] = lease
        segments: dict[str, list[ledger.Segment]] = {}
        for segment in ledger.segments(records, state.last):
            segments.setdefault(segment.lease_id, []).append(segment)
        for lease_id, lease in billed.items():
            parts = segments.get(lease_id, [])
            require(all(a.end.ms <= b.start.ms for a, b in itertools.pairwise(parts)), f"{lease_id}: twice")
            total_ms = sum(part.duration_ms for part in parts)
            cost = sum(part.duration_ms * part.rate_micro_per_hour for part in parts)
            require(cost == meter.cost_numerator(lease, state.last.ms), "the ledger has another cost:", (cost, lease))
            require(total_ms == meter.active_ms(lease, state.last.ms), f"{lease_id}: the ledger has {total_ms} ms")


@contextlib.contextmanager
def played(host: Host) -> Iterator[None]:
    """The program sees the played host in place of the real one."""
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (runtime_module, "ThreadPoolExecutor", Thread),
            (executor_module, "DaemonThreads", Thread),
            (executor_module, "ANSWER_S", 1e6),
            (sampler_module, "DaemonThreads", Thread),
            (executor_module, "lease_of", host.lease_of),
            (executor_module, "leases_of", lambda pid, of: [one for one in of if one == host.lease_of(pid)]),
            (runtime_module, "SNAPSHOT_EVERY", 5),
            (runtime_module, "SAMPLE_S", 10.0),
            (runtime_module, "WATCH_S", 1e9),  # it reads the processes of the real machine
            (executor_module, "DRAIN_POLL_S", 1.0),
            (process_module, "os", host.operating_system()),
            (process_module, "_identify", host.identify),
            (store_module, "sqlite3", host.database()),
            (os, "fsync", lambda _: None),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        logger = logging.getLogger("fastgpu")
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)
        yield


def tell(seed: int, steps: int, *, verbose: bool = False) -> Story:
    """Play one seed. Raises :class:`Wrong` where something is."""
    with tempfile.TemporaryDirectory(prefix="fastgpu-sim-") as folder:
        story = Story(seed, Path(folder), verbose=verbose)
        try:
            with played(story.host):
                while story.runtime is None:
                    story.start()
                for _ in range(steps):
                    story.step()
                story.settle()
                story.history()
        except BaseException as error:
            again = f"Seed {seed}: python -m tests.sim.story --seed {seed} --steps {steps} --verbose"
            if hasattr(error, "add_note"):
                error.add_note(again)
            else:
                print(again, file=sys.stderr)  # noqa: T201
            raise
        finally:
            if story.runtime is not None:
                story._die()
        return story


def main() -> int:
    """Tell seeds from a command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    lives = answers = 0
    for seed in range(options.seed, options.seed + options.seeds):
        try:
            story = tell(seed, options.steps, verbose=options.verbose)
        except Exception:
            print(f"Seed {seed} fails.", file=sys.stderr)  # noqa: T201
            raise
        lives, answers = lives + story.crashes, answers + story.answers
    print(f"{options.seeds} seeds of {options.steps} steps: {lives} crashes, {answers} answers, nothing wrong.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
