"""Calls of simulated clients, which repeat each mutating call with the same key until it is answered."""

from __future__ import annotations

from collections.abc import Callable

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    Health,
    LeaseRequest,
    Plan,
    Priority,
)
from fastgpu_jupyter.errors import CallerError, FastGPUError, InternalError, Message
from fastgpu_jupyter.pool.composition import PoolServices
from tests.core.faults import BAD_MEMORY, MEMORY_ERRORS, WRONG_ADDRESS
from tests.sim.checks import Checks
from tests.sim.host import SPECS, SimulatedProcess
from tests.sim.simulated_devices import MIG_SPECS
from tests.sim.state import ClientCall, InvariantViolation, ObservedLease, require


class Clients(Checks):
    """The calls of users and administrators."""

    def send(self, call: ClientCall) -> None:
        """Send a call, once more where it was sent before; it is lost where no pool manager runs."""
        if self.services is None:
            return
        call.in_flight += 1
        self.start_task(self._send(self.services, call))

    async def _send(self, services: PoolServices, call: ClientCall) -> None:
        lost = self.rng.random() < 0.1
        command = call.command()
        if isinstance(command, c.ReleaseLease):
            self.observed[command.lease_id].release_sent = True
        try:
            answer = await services.commands.submit(command, call.key)
        except CallerError as refusal:
            self.log(f"{call.kind} {call.key}: refused: {refusal}")
            call.refused = True
            self._close(call)
        except FastGPUError as fault:
            self.log(f"{call.kind} {call.key}: {fault}")
            if isinstance(fault, InternalError) and not self.has_bug:
                self.violation = self.violation or InvariantViolation(f"internal error: {fault}")
        else:
            if lost:
                self.log(f"{call.kind} {call.key}: the answer {answer} is lost")
            else:
                self._guarded(lambda: self.answered(call, answer))
        call.in_flight -= 1

    def answered(self, call: ClientCall, answer: str | None) -> None:
        """Note the answer of a call and check it against earlier ones."""
        self.log(f"{call.kind} {call.key}: {answer}")
        self.answers += 1
        if call.process is not None:
            require(answer is not None, "a request was answered without a lease")
            require(call.answer in {None, answer}, f"one idempotency key has two leases: {call.answer} and {answer}")
            call.answer = answer
            assert answer is not None
            self.observed.setdefault(answer, ObservedLease(requested_ms=self.host.true_ms, boot=self.host.boots))
        elif call.kind == "release":
            assert call.lease_id is not None
            self.observed[call.lease_id].release_answered = True
        call.answered = True
        self._close(call)

    def _close(self, call: ClientCall) -> None:
        if call in self.open_calls:
            self.open_calls.remove(call)

    def submit(self, call: ClientCall) -> None:
        """Send a new call, sometimes twice at once."""
        self.calls.append(call)
        self.open_calls.append(call)
        self.send(call)
        if self.rng.random() < 0.15:
            self.send(call)

    def repeat(self) -> None:
        """Send a call again that was not answered yet."""
        if self.open_calls:
            self.send(self.rng.choice(self.open_calls))

    def repeat_answered(self) -> None:
        """Send a request again that was answered already."""
        done = [call for call in self.calls if call.answered and call.process is not None]
        if done:
            self.send(self.rng.choice(done))

    # -- the calls ----------------------------------------------------------------------------------------------------

    def request(self) -> None:
        """Request a lease for a new or a running process."""
        number = self.next_number()
        process = self.rng.choice(self.processes) if self.processes and self.rng.random() < 0.4 else self.spawn()
        profile = self.rng.choice(
            ("full", "half", "half", "quarter", "quarter", "eighth", "2xany", "70GiB", "1g.10gb", "2g.20gb", "3g.40gb")
        )
        wait_ms_max = self.rng.choice((None, None, None, 0, 5000))
        priority = self.rng.choice((Priority.LOW, Priority.NORMAL, Priority.NORMAL, Priority.HIGH))
        job = f"job {number}" if priority is Priority.LOW else None
        request = LeaseRequest(profile, None, None, f"{number}.ipynb", priority, wait_ms_max, job=job)
        tenant, holder = self.rng.choice("abc"), process.holder
        call = ClientCall(f"key-{number}", c.Tick, "request", process=process)
        call.command = lambda: c.RequestLease(f"lease-{number}.{self.next_number()}", tenant, request, holder, "0" * 64)
        self.submit(call)

    def change_lease(self) -> None:
        """Release, bind, resize, transfer, park, resume, use, migrate or snooze a lease, or end it as idle."""
        if not self.observed:
            return
        lease_id = self.rng.choice(list(self.observed)[-12:])
        kind = self.rng.choice(
            (
                "release",
                "release",
                "bind",
                "resize",
                "transfer",
                "park",
                "resume",
                "use",
                "use",
                "move",
                "snooze",
            )
        )
        holder = self.rng.choice(self.processes).holder if self.processes else None
        profile, tenant = self.rng.choice(("half", "quarter", "full")), self.rng.choice("abc")
        busy = self.rng.random() < 0.4
        snooze_ms = self.rng.choice((0, 60_000, 600_000))
        if kind == "bind" and holder is None:
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
            "snooze": lambda: c.SnoozeLease(lease_id, snooze_ms) if snooze_ms else c.EndIdleLease(lease_id),
        }
        self.submit(ClientCall(f"key-{self.next_number()}", commands[kind], kind, lease_id=lease_id))

    def administer(self) -> None:
        """Change a device or a quota, as an administrator does."""
        device, health = self.rng.choice((*SPECS, *MIG_SPECS)).id, self.rng.choice(list(Health))
        drained, limit = self.rng.random() < 0.3, self.rng.choice((None, 500, 2000))
        fault = self.rng.choice((WRONG_ADDRESS, MEMORY_ERRORS, BAD_MEMORY))
        kind, command = self.rng.choice(
            (
                ("health", lambda: c.SetHealth(device, health, Message.of_text("observed"))),
                ("fault", lambda: c.ReportFault(device, fault)),
                ("restore", lambda: c.RestoreDevice(device)),
                ("drain", lambda: c.DrainDevice(device, drained)),
                ("entitle", lambda: c.SetTenant("a", 100, limit)),
            )
        )
        self.submit(ClientCall(f"key-{self.next_number()}", command, kind))

    def change_money(self) -> None:
        """Set a budget, or reserve capacity or cancel that."""
        tenant, number = self.rng.choice("abc"), self.next_number()
        budget_micro = self.rng.choice((None, 0, 1000, 100_000, 10_000_000))
        policy, plan = self.rng.choice(list(BudgetPolicy)), self.rng.choice(list(Plan))
        milli, model = self.rng.choice((250, 500, 1000)), self.rng.choice((None, SPECS[0].model))
        start_wall_ms = self.rng.choice((None, None, self.host.wall_ms() + 30_000))
        # SimulatedPartition or refused: one that is cancelled need not be there.
        reservation_id = f"reservation-{self.rng.randrange(number)}"
        lease_id = self.rng.choice(list(self.observed)[-12:]) if self.observed else None
        commands: dict[str, Callable[[], c.Command]] = {
            "budget": lambda: c.SetBudget(tenant, budget_micro, policy),
            "reserve": lambda: c.ReserveCapacity(
                f"reservation-{number}", tenant, milli, model, plan, 30, start_wall_ms
            ),
            "cancel": lambda: c.CancelReservation(reservation_id),
        }
        if lease_id is not None and budget_micro != 0:
            commands["lease budget"] = lambda: c.SetLeaseBudget(lease_id, budget_micro)
        kind = self.rng.choice(list(commands))
        self.submit(ClientCall(f"key-{number}", commands[kind], kind))

    def spawn(self, pid: int | None = None) -> SimulatedProcess:
        """Start a process that may hold leases."""
        process = self.host.spawn(pid=pid)
        self.processes.append(process)
        return process
