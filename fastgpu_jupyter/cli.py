"""``jupyter fastgpu …``: the command line for people and scripts.

``pool`` runs the pool manager; everything else talks to one over its socket like any other client.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread
from typing import Any

from jupyter_core.application import JupyterApp, base_aliases
from traitlets import Bool, Enum, Float, Integer, Unicode

from . import __version__
from .doctor import DoctorApp
from .errors import FastGPUError, InvalidRequest, PoolUnreachable
from .pool.app import FastGPUPool
from .pool.devices.nvml import NoDriver, NvmlDriver
from .pool.host import single
from .pool.journal.fsck import Finding, cut, examine
from .units import format_duration, format_memory, format_money, parse_money
from .wire.client import Entitlement, PoolClient
from .wire.locate import pool_socket, user_state_dir
from .wire.views import (
    LeaseView,
    RateView,
    ReservationView,
    StatementLineView,
    StatementView,
    StatusView,
    TenantView,
)

_QUEUE = ("PLACE", "LEASE", "PROFILE", "PRIORITY", "WAIT", "REASON")
_RATES = ("MODEL", "DEVICES", "PER HOUR", "BY THE MONTH", "BY THE YEAR")
_RESERVED = ("RESERVATION", "TENANT", "SIZE", "PLAN", "PER HOUR", "FROM", "UNTIL", "STATE")
_BUDGETS = ("TENANT", "BUDGET", "AT THE LIMIT", "SPENT", "PASSED")
_STATEMENT = ("LEASE", "PROFILE", "NOTEBOOK", "FROM", "ACTIVE", "PER HOUR", "AMOUNT")
_QUOTA = ("TENANT", "GROUP", "WEIGHT", "GUARANTEED", "LIMIT", "HOLDS")
PROBE_NO_DRIVER = 3
PROBE_BROKEN = 4
#: What takes longer is worth a line.
PATIENCE_S = 1.0


class _ClientApp(JupyterApp):
    """A command that talks to the pool and ends with one clear line where it cannot."""

    version = __version__
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    aliases = dict(base_aliases)
    flags = {"json": ({"_ClientApp": {"as_json": True}}, "Print JSON for programs.")}

    def start(self) -> None:
        super().start()
        try:
            self.run(PoolClient(pool_socket()))
        except FastGPUError as error:
            print(f"jupyter fastgpu: {error}", file=sys.stderr)
            sys.exit(2 if isinstance(error, PoolUnreachable) else 1)

    def run(self, client: PoolClient) -> None:
        """Do the command."""
        raise NotImplementedError


class StatusApp(_ClientApp):
    """Show devices, leases and the queue."""

    name = "jupyter-fastgpu-status"
    description = "Show the pool's devices, your leases and the queue."

    def run(self, client: PoolClient) -> None:
        """Print the status as a table or as one JSON object."""
        status = client.status()
        print(json.dumps(status, indent=2) if self.as_json else "\n".join(_tables(status)))


class ReleaseApp(_ClientApp):
    """Give a lease back."""

    name = "jupyter-fastgpu-release"
    description = "Give back the lease with the given id; its kernel and its variables stay."

    def run(self, client: PoolClient) -> None:
        """Release each lease that is named."""
        if not self.extra_args:
            print("jupyter fastgpu release: name a lease; `jupyter fastgpu status` lists them.", file=sys.stderr)
            sys.exit(1)
        for lease_id in self.extra_args:
            lease = client.release(lease_id)
            cost = format_money(lease["cost_micro"], lease["currency"])
            print(
                json.dumps(lease)
                if self.as_json
                else f"Released {lease['id']} ({lease['state']}) after {format_duration(lease['active_ms'])}, {cost}."
            )


class QueueApp(_ClientApp):
    """Show who waits."""

    name = "jupyter-fastgpu-queue"
    description = "Show the queue: places, reasons, and estimates where there are any."

    def run(self, client: PoolClient) -> None:
        """Print the queue as a table or as JSON."""
        queue = client.queue()
        print(
            json.dumps({"queue": queue}, indent=2)
            if self.as_json
            else "\n".join(_table(_QUEUE, map(_queue_row, queue)))
        )


class DrainApp(_ClientApp):
    """Take a device out of service."""

    name = "jupyter-fastgpu-drain"
    description = (
        "Grant nothing new on the device that is named; its leases stay. --undo puts it back into service, also after "
        "an error, where it is well again."
    )

    undo = Bool(False, help="Put the device back into service.").tag(config=True)
    flags = {**_ClientApp.flags, "undo": ({"DrainApp": {"undo": True}}, "Put the device back into service.")}

    def run(self, client: PoolClient) -> None:
        """Drain each device that is named."""
        if not self.extra_args:
            raise InvalidRequest("Name a device; `jupyter fastgpu status` lists them.")
        for device_id in self.extra_args:
            device = client.drain(device_id, drained=not self.undo)
            left = len(device["holdings"])
            said = "is in service again" if self.undo else f"gets no new leases; {left} still hold it"
            print(json.dumps(device) if self.as_json else f"{device['id']} {said}.")


class MigApp(_ClientApp):
    """Switch MIG mode of a device."""

    name = "jupyter-fastgpu-mig"
    description = (
        "Show what MIG mode of a device is and what switching it would disturb: jupyter fastgpu mig DEVICE on|off. "
        "It is switched with --yes only, and never while anything is on the device."
    )

    yes = Bool(False, help="Do it.").tag(config=True)
    flags = {**_ClientApp.flags, "yes": ({"MigApp": {"yes": True}}, "Do it.")}

    def run(self, client: PoolClient) -> None:
        """Show, and with ``--yes`` switch."""
        if len(self.extra_args) != 2 or self.extra_args[1] not in ("on", "off"):
            raise InvalidRequest("Name a device, and on or off; `jupyter fastgpu status` lists devices.")
        device_id, wanted = self.extra_args
        view = client.divide(device_id, on=wanted == "on") if self.yes else client.division(device_id)
        print(json.dumps(view) if self.as_json else "\n".join(_division(view, wanted, done=self.yes)))


class QuotaApp(_ClientApp):
    """Show or set what tenants, and groups of them, are entitled to."""

    name = "jupyter-fastgpu-quota"
    description = (
        "Show quotas, or set one: jupyter fastgpu quota NAME --weight=100 --guaranteed=1 --limit=2.5 (GPUs). "
        "With --of-group, NAME is a group; a tenant joins one with --group=NAME."
    )

    weight = Integer(100, help="The part of what is wanted by several, in relation to others' weights.").tag(
        config=True
    )
    guaranteed = Float(0.0, help="How many GPUs it gets before those who have what they are guaranteed.").tag(
        config=True
    )
    limit = Float(0.0, help="How many GPUs it may hold at once; 0: no limit.").tag(config=True)
    group = Unicode("", help="The group that the tenant belongs to.").tag(config=True)
    of_group = Bool(False, help="The name is that of a group.").tag(config=True)
    aliases = {
        **_ClientApp.aliases,
        "weight": "QuotaApp.weight",
        "guaranteed": "QuotaApp.guaranteed",
        "limit": "QuotaApp.limit",
        "group": "QuotaApp.group",
    }
    flags = {**_ClientApp.flags, "of-group": ({"QuotaApp": {"of_group": True}}, "The name is that of a group.")}

    def run(self, client: PoolClient) -> None:
        """Set the quota where a name is given; print all."""
        for name in self.extra_args[:1]:
            entitlement: Entitlement = {
                "weight": self.weight,
                "guaranteed_milli": round(self.guaranteed * 1000),
                "limit_milli": round(self.limit * 1000) if self.limit else None,
            }
            if self.of_group:
                client.set_group(name, entitlement)
            else:
                client.set_tenant(name, {**entitlement, "group": self.group or None})
        tenants, groups = client.tenants(), client.groups()
        if self.as_json:
            print(json.dumps({"tenants": tenants, "groups": groups}, indent=2))
        else:
            print("\n".join(_table(_QUOTA, [*map(_quota_row, tenants), *map(_quota_row, groups)])))


class ResizeApp(_ClientApp):
    """Give a lease another size."""

    name = "jupyter-fastgpu-resize"
    description = "Give a lease another size while its kernel goes on: jupyter fastgpu resize LEASE half."

    def run(self, client: PoolClient) -> None:
        """Resize, or say why not."""
        if len(self.extra_args) != 2:
            raise InvalidRequest("Name a lease and its new size, like half or 24GiB.")
        lease = client.resize(*self.extra_args)
        has = format_memory(lease["memory_bytes"] or 0)
        print(json.dumps(lease) if self.as_json else f"{lease['id']} is {lease['profile']} now ({has}).")


class _LeaseApp(_ClientApp):
    """A command that does the same with each lease that is named."""

    def run(self, client: PoolClient) -> None:
        """Do it and say what the lease is now."""
        if not self.extra_args:
            raise InvalidRequest("Name a lease; `jupyter fastgpu status` lists them.")
        for lease_id in self.extra_args:
            lease = self.change(client, lease_id)
            print(json.dumps(lease) if self.as_json else f"{lease['id']} {self.said(lease)}.")

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """The lease after it."""
        raise NotImplementedError

    def said(self, lease: LeaseView) -> str:
        """What is to be said of the lease."""
        return f"is {lease['state']}"


class ParkApp(_LeaseApp):
    """Give the device of a lease to others for a while."""

    name = "jupyter-fastgpu-park"
    description = (
        "Move a lease's device memory to the host's and give its device to others; the next cell wants it back."
    )

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Park it."""
        return client.park(lease_id)


class ResumeApp(_LeaseApp):
    """Want a parked lease back."""

    name = "jupyter-fastgpu-resume"
    description = "Let a parked lease wait for a device, without a cell that wants it."

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Resume it."""
        return client.resume(lease_id)

    def said(self, lease: LeaseView) -> str:
        """With its place, where it waits."""
        return super().said(lease) + (f" at place {lease['place']}" if lease["place"] else "")


class PinApp(_LeaseApp):
    """Keep a lease's device although it is idle."""

    name = "jupyter-fastgpu-pin"
    description = "Never park a lease for others; it is billed all the time."
    pinned = True

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Pin it, or not."""
        return client.pin(lease_id, pinned=self.pinned)

    def said(self, lease: LeaseView) -> str:
        """What follows from it."""
        if lease["retention"] == "hold":
            return "is pinned: it keeps its GPU although no cell runs"
        return "is not pinned: it may be parked while no cell runs"


class UnpinApp(PinApp):
    """Let an idle lease be parked for others."""

    name = "jupyter-fastgpu-unpin"
    description = "Let a lease be parked for others while no cell runs; this is how leases begin."
    pinned = False


class RatesApp(_ClientApp):
    """Show what devices cost."""

    name = "jupyter-fastgpu-rates"
    description = (
        "Show what each model of GPU costs for an hour: by use, and reserved by the month and by the year. "
        "Set by FastGPUPool.rates, month_discount_percent and year_discount_percent."
    )

    def run(self, client: PoolClient) -> None:
        """Print the rates."""
        rates = client.rates()
        print(
            json.dumps({"rates": rates}, indent=2) if self.as_json else "\n".join(_table(_RATES, map(_rate_row, rates)))
        )


class BudgetApp(_ClientApp):
    """Show or set what tenants may spend in a month, and what a lease may cost."""

    name = "jupyter-fastgpu-budget"
    description = (
        "Show budgets, or set one: jupyter fastgpu budget TENANT AMOUNT --policy=stop (an amount of money for a month, "
        "or none). With --lease, the name is that of a lease, and the amount is what it may cost in all."
    )

    policy = Enum(
        ["warn", "stop", "park"],
        "warn",
        help="At the limit: warn only, stop new leases, or park what it has as well.",
    ).tag(config=True)
    of_lease = Bool(False, help="The name is that of a lease.").tag(config=True)
    aliases = {**_ClientApp.aliases, "policy": "BudgetApp.policy"}
    flags = {**_ClientApp.flags, "lease": ({"BudgetApp": {"of_lease": True}}, "The name is that of a lease.")}

    def run(self, client: PoolClient) -> None:
        """Set the budget that is named, and print it; or print all."""
        if len(self.extra_args) not in (0, 2):
            raise InvalidRequest("Name a tenant and an amount, like `jupyter fastgpu budget ann 250`, or `ann none`.")
        if self.of_lease:
            self._of_lease(client)
            return
        if self.extra_args:
            client.set_budget(self.extra_args[0], _amount_micro(self.extra_args[1]), self.policy)
        tenants, currency = client.tenants(), client.pool()["currency"]
        if self.as_json:
            print(json.dumps({"tenants": tenants, "currency": currency}, indent=2))
        else:
            print("\n".join(_table(_BUDGETS, (_budget_row(one, currency) for one in tenants))))

    def _of_lease(self, client: PoolClient) -> None:
        if not self.extra_args:
            raise InvalidRequest("Name a lease and an amount, like `jupyter fastgpu budget --lease LEASE 5`.")
        lease = client.set_lease_budget(self.extra_args[0], _amount_micro(self.extra_args[1]))
        may = (
            "as much as it does" if lease["budget_micro"] is None else _money(lease["budget_micro"], lease["currency"])
        )
        cost = _money(lease["cost_micro"], lease["currency"])
        print(json.dumps(lease) if self.as_json else f"{lease['id']} may cost {may}; so far it is {cost}.")


class ReserveApp(_ClientApp):
    """Show, make or end reservations."""

    name = "jupyter-fastgpu-reserve"
    description = (
        "Show reservations, or make one: jupyter fastgpu reserve TENANT SIZE --plan=month holds 2xa100, a100 or "
        "a100:1/2 for a tenant from now, or --from=2026-12-01 (UTC). --cancel ends the one that is named."
    )

    plan = Enum(["month", "year"], "month", help="For how long, and at which discount.").tag(config=True)
    start_date = Unicode("", help="The day from which it holds, like 2026-12-01, in UTC; default: now.").tag(
        config=True
    )
    cancel = Bool(False, help="End the reservation that is named.").tag(config=True)
    aliases = {**_ClientApp.aliases, "plan": "ReserveApp.plan", "from": "ReserveApp.start_date"}
    flags = {**_ClientApp.flags, "cancel": ({"ReserveApp": {"cancel": True}}, "End the reservation that is named.")}

    def run(self, client: PoolClient) -> None:
        """Make or end the reservation that is named, and print it; or print all."""
        if not self.extra_args:
            found = client.reservations()
        elif self.cancel:
            found = [client.cancel_reservation(name) for name in self.extra_args]
        elif len(self.extra_args) == 2:
            tenant, size = self.extra_args
            found = [client.reserve(tenant, size, self.plan, _day_ms(self.start_date))]
        else:
            raise InvalidRequest("Name a tenant and a size, like `jupyter fastgpu reserve ann 2xa100 --plan=month`.")
        if self.as_json:
            print(json.dumps({"reservations": found}, indent=2))
        else:
            print("\n".join(_table(_RESERVED, map(_reservation_row, found))))


class StatementApp(_ClientApp):
    """Show what was used in a month."""

    name = "jupyter-fastgpu-statement"
    description = "Show what was used in a month and what it cost: a table, --json, or --csv."

    month = Unicode("", help="The month, like 2026-11, in UTC; default: this one.").tag(config=True)
    as_csv = Bool(False, help="Print a line of CSV for each lease and reservation; they sum to the total.").tag(
        config=True
    )
    aliases = {**_ClientApp.aliases, "month": "StatementApp.month"}
    flags = {**_ClientApp.flags, "csv": ({"StatementApp": {"as_csv": True}}, "Print CSV.")}

    def run(self, client: PoolClient) -> None:
        """Print the statements."""
        with _patience("The pool reads its whole history"):
            found = client.statements(self.month or time.strftime("%Y-%m", time.gmtime()))
        if self.as_json:
            print(json.dumps({"statements": found}, indent=2))
        elif self.as_csv:
            csv.writer(sys.stdout).writerows(_csv_rows(found))
        else:
            print("\n\n".join("\n".join(_statement_table(one)) for one in found) or "Nothing was used.")


def _csv_rows(found: list[StatementView]) -> Iterator[list[Any]]:
    names = list(StatementLineView.__annotations__)
    yield ["tenant", "month", "currency", *names]
    for statement in found:
        for line in statement["lines"]:
            values = {**line, "device_ids": " ".join(line["device_ids"])}
            yield [statement["tenant"], statement["month"], statement["currency"], *(values[name] for name in names)]


def _statement_table(statement: StatementView) -> list[str]:
    currency = statement["currency"]
    rows = [_statement_row(line, currency) for line in statement["lines"]]
    total = (
        "Total",
        "",
        "",
        "",
        format_duration(statement["active_ms"]),
        "",
        _money(statement["total_micro"], currency),
    )
    return [f"{statement['tenant']}, {statement['month']}", *_table(_STATEMENT, [*rows, total])]


def _statement_row(line: StatementLineView, currency: str) -> tuple[str, ...]:
    reserved = line["kind"] == "reservation"
    name = f"(reserved {line['reservation_id']})" if reserved else line["lease_id"] or ""
    notebook = "-" if line["notebook"] is None else line["notebook"]
    rate, amount = _money(line["rate_micro_per_hour"], currency), _money(line["amount_micro"], currency)
    return name, line["profile"], notebook, _time(line["started_at"]), format_duration(line["active_ms"]), rate, amount


def _rate_row(rate: RateView) -> tuple[str, ...]:
    prices = (rate["rate_micro_per_hour"], rate["month_micro_per_hour"], rate["year_micro_per_hour"])
    return rate["model"], str(rate["devices"]), *(_money(price, rate["currency"]) for price in prices)


def _budget_row(tenant: TenantView, currency: str) -> tuple[str, ...]:
    budget, passed = tenant["budget_micro_per_month"], tenant["budget_percent"]
    return (
        tenant["tenant"],
        "-" if budget is None else _money(budget, currency),
        "-" if budget is None else tenant["budget_policy"],
        _money(tenant["spent_micro"], currency),
        "-" if passed is None else f"{passed} %",
    )


def _reservation_row(one: ReservationView) -> tuple[str, ...]:
    return (
        one["id"],
        one["tenant"],
        f"{one['milli'] / 1000:g} {one['model'] or 'any'}",
        one["plan"],
        _money(one["rate_micro_per_hour"], one["currency"]),
        _time(one["started_at"]),
        _time(one["ends_at"]),
        one["state"],
    )


def _money(amount_micro: int, currency: str) -> str:
    return format_money(amount_micro, currency)


def _time(wall_ms: int) -> str:
    """In UTC, as months are."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(wall_ms // 1000))


def _day_ms(day: str) -> int | None:
    """The first millisecond of a day of UTC; ``None`` where none is named."""
    if not day:
        return None
    try:
        return timegm(time.strptime(day, "%Y-%m-%d")) * 1000
    except ValueError:
        raise InvalidRequest(f"{day[:20]!r} is not a day; write it like 2026-12-01.") from None


def _amount_micro(text: str) -> int | None:
    """Millionths of the currency from ``250`` or ``0.5``; ``None`` for none."""
    return None if text.lower() == "none" else parse_money(text)


@contextmanager
def _patience(what: str) -> Iterator[None]:
    """Say on a terminal what takes so long, once it does, with the seconds."""
    done = Event()

    def tell() -> None:
        began_s = time.monotonic()
        told = False
        while not done.wait(PATIENCE_S):
            told = True
            print(f"\r{what}: {time.monotonic() - began_s:.0f} s ", end="", file=sys.stderr, flush=True)
        if told:
            print(file=sys.stderr)

    teller = Thread(target=tell, daemon=True)
    if sys.stderr.isatty():
        teller.start()
    try:
        yield
    finally:
        done.set()
        if teller.is_alive():
            teller.join()


class ProbeApp(JupyterApp):
    """Say in one line and by exit status whether GPUs answer on this machine."""

    name = "jupyter-fastgpu-probe"
    version = __version__
    description = "Exit 0 where NVIDIA GPUs answer, 3 where there is no driver, 4 where one does not work."

    def start(self) -> None:
        """Ask NVML, and nothing else."""
        super().start()
        try:
            driver = NvmlDriver({})
            specs, message = driver.inventory()
            driver.close()
        except NoDriver as error:
            print(error)
            sys.exit(PROBE_NO_DRIVER)
        except FastGPUError as error:
            print(error)
            sys.exit(PROBE_BROKEN)
        print(", ".join(spec.model for spec in specs) if specs else message)
        sys.exit(0 if specs else PROBE_BROKEN)


class FsckApp(JupyterApp):
    """Verify, explain, export and mend a journal."""

    name = "jupyter-fastgpu-fsck"
    version = __version__
    description = "Verify the journal of the pool that is configured, explain damage, export it, cut a damaged end off."

    journal = Unicode("", help="The journal's file; default: that of your own pool.").tag(config=True)
    export = Unicode("", help="Write every sound record to this file, a line of JSON each.").tag(config=True)
    cut = Bool(False, help="Remove the first damaged record and all after it; the file is copied first.").tag(
        config=True
    )
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    aliases = {**base_aliases, "journal": "FsckApp.journal", "export": "FsckApp.export"}
    flags = {
        "json": ({"FsckApp": {"as_json": True}}, "Print JSON for programs."),
        "cut": ({"FsckApp": {"cut": True}}, "Cut a damaged end off; no pool may run."),
    }

    def start(self) -> None:
        """Examine, report, and exit with 0 only where the journal is sound."""
        super().start()
        path = Path(self.journal or user_state_dir() / "journal.db").absolute()
        try:
            with open(self.export, "x") if self.export else nullcontext() as export:  # noqa: PTH123 (may be nothing)
                finding = examine(path, self._progress, export)
            if sys.stderr.isatty() and finding.in_all:
                print(file=sys.stderr)
            backup = self._mend(path, finding)
        except (FastGPUError, OSError) as error:
            print(f"jupyter fastgpu fsck: {error}", file=sys.stderr)
            sys.exit(1)
        print(json.dumps({**finding._asdict(), "backup": backup}) if self.as_json else _report(path, finding, backup))
        sys.exit(0 if finding.sound or backup else 1)

    def _mend(self, path: Path, finding: Finding) -> str | None:
        if not self.cut or finding.damage is None:
            return None
        descriptor = single.lock(path.parent, "lock")
        try:
            return str(cut(path, finding.records))
        finally:
            os.close(descriptor)

    def _progress(self, done: int, in_all: int) -> None:
        if sys.stderr.isatty() and in_all:
            print(f"\r{100 * done // in_all:3} % of {in_all:,} records", end="", file=sys.stderr, flush=True)


def _report(path: Path, finding: Finding, backup: str | None) -> str:
    found = f"{path}: {finding.records:,} of {finding.in_all:,} records are sound, {finding.leases} leases."
    if finding.sound:
        return f"{found} Nothing is wrong."
    if backup:
        return f"{found} What came after them was cut off; the file as it was is kept as {backup}."
    wrong = finding.damage or f"They add up to something impossible: {'; '.join(finding.violations)}."
    after = finding.in_all - finding.records
    way_out = (
        f"Put a backup in its place, or give up the {after:,} records from the damaged one on: "
        "stop the pool and run `jupyter fastgpu fsck --cut`."
        if finding.damage
        else "Put a backup in its place, and report this as a bug."
    )
    return f"{found}\n{wrong}\n{way_out}"


class FastGPUApp(JupyterApp):
    """The command that has the others below it."""

    name = "jupyter-fastgpu"
    version = __version__
    description = "Lease logical GPUs to notebooks."
    subcommands = {
        "pool": (FastGPUPool, "Run the pool manager."),
        "status": (StatusApp, StatusApp.description),
        "release": (ReleaseApp, ReleaseApp.description),
        # By name: it needs all of jupyter_client, without which a pool manager starts sooner.
        "kernelspec": ("fastgpu_jupyter.kernelspec.KernelSpecApp", "Install kernelspecs that lease a GPU."),
        "queue": (QueueApp, QueueApp.description),
        "quota": (QuotaApp, QuotaApp.description),
        "budget": (BudgetApp, BudgetApp.description),
        "reserve": (ReserveApp, ReserveApp.description),
        "park": (ParkApp, ParkApp.description),
        "pin": (PinApp, PinApp.description),
        "unpin": (UnpinApp, UnpinApp.description),
        "resume": (ResumeApp, ResumeApp.description),
        "rates": (RatesApp, RatesApp.description),
        "resize": (ResizeApp, ResizeApp.description),
        "statement": (StatementApp, StatementApp.description),
        "drain": (DrainApp, DrainApp.description),
        "mig": (MigApp, MigApp.description),
        "fsck": (FsckApp, FsckApp.description),
        "probe": (ProbeApp, ProbeApp.description),
        "doctor": (DoctorApp, DoctorApp.description),
    }

    def start(self) -> None:
        """Run the subcommand, or say which there are."""
        if self.subapp is None:
            self.print_help()
            sys.exit(1)
        self.subapp.start()


def _tables(status: StatusView) -> list[str]:
    pool = status["pool"]
    lines = [f"FastGPU pool {pool['version']} ({pool['scope']}{', simulated' if pool['simulated'] else ''})"]
    if pool["message"]:
        lines.append(pool["message"])
    lines += ["", *_table(("DEVICE", "MODEL", "FREE", "OF", "USE", "HEALTH"), map(_device_row, status["devices"]))]
    lines += [_foreign(device, one) for device in status["devices"] for one in device.get("foreign", ())]
    lines += [f"{one['id']}: {one['health_reason']}" for one in status["devices"] if one["health_reason"]]
    lines += [f"{one['id']}: {one['fault_message']}" for one in status["leases"] if one["fault_message"]]
    lines += ["", *_table(("LEASE", "STATE", "PROFILE", "DEVICE", "LIMIT", "NOTEBOOK", "ACTIVE", "COST"),
                          map(_lease_row, status["leases"]))]  # fmt: skip
    lines += [f"{one['id']}: {one['limit_message']}" for one in status["leases"] if one.get("limit_message")]
    lines += ["", *_table(_QUEUE, map(_queue_row, status["queue"]))]
    return lines


def _foreign(device: Any, one: Any) -> str:
    memory = "an unknown amount" if one["memory_bytes"] is None else format_memory(one["memory_bytes"])
    whose = f"lease {one['lease_id']} of another GPU" if one["lease_id"] else "no lease"
    return f"{device['id']}: process {one['pid']} of {one['user']} has {memory} there and {whose}."


def _device_row(device: Any) -> tuple[str, ...]:
    name = device["model"] + (" (simulated)" if device["simulated"] else " (mig)" if device["partitions"] else "")
    use = "-" if device["utilization_percent"] is None else f"{device['utilization_percent']} %"
    free, total = format_memory(device["memory_free_bytes"]), format_memory(device["memory_bytes"])
    health = "drained" if device["drained"] and device["health"] == "healthy" else device["health"]
    return device["id"], name, free, total, use, health


def _lease_row(lease: Any) -> tuple[str, ...]:
    cost = format_money(lease["cost_micro"], lease["currency"])
    active = format_duration(lease["active_ms"])
    return (
        lease["id"],
        lease["state"] + _why_so(lease),
        lease["profile"] + _partition(lease),
        lease["device_id"] or "-",
        f"{lease['mechanism']}, {lease['enforcement']}" if lease["mechanism"] else "-",
        lease["notebook"] or "-",
        active,
        cost,
    )


def _division(view: Any, wanted: str, *, done: bool) -> Iterator[str]:
    if not view["capable"]:
        yield f"{view['device_id']} cannot be divided by MIG."
        return
    now = "on" if view["on"] else "off"
    yield f"MIG mode of {view['device_id']} is {now}."
    if view["pending"] != view["on"]:
        yield f"It will be {'on' if view['pending'] else 'off'} once the GPU is reset: nvidia-smi --gpu-reset -i UUID."
    if done or now == wanted:
        return
    yield f"To switch it {wanted}:"
    yield f"  leases that must be released first: {', '.join(view['leases']) or 'none'}"
    yield f"  processes that must end first: {', '.join(map(str, view['processes'])) or 'none'}"
    yield "  the GPU must be reset after" if view["needs_reset"] else "  no reset is needed"
    yield "  it outlives a restart" if view["lasts"] else "  it does not outlive a restart of the machine or driver"
    yield "Nothing was changed; say it again with --yes to do it."


def _partition(lease: Any) -> str:
    return f" ({lease['mechanism']} {lease['partition']})" if lease["partition"] else ""


def _why_so(lease: Any) -> str:
    """What there is to say of the lease's state, in parentheses."""
    reason = lease["end_reason"]
    if lease["state"] in ("parking", "parked"):
        reason = lease["park_reason"]
    elif lease["state"] == "active" and lease["retention"] == "hold":
        reason = "pinned"
    return f" ({reason})" if reason else ""


def _queue_row(ticket: Any) -> tuple[str, ...]:
    wait = "-" if ticket["estimate_ms"] is None else f"about {format_duration(ticket['estimate_ms'])}"
    name = ticket["lease_id"] or "(somebody else's)"
    return str(ticket["place"]), name, ticket["profile"], ticket["priority"], wait, ticket["detail"]


def _quota_row(quota: Any) -> tuple[str, ...]:
    name = quota["tenant"] if "tenant" in quota else f"group {quota['group']}"
    limit = "-" if quota["limit_milli"] is None else f"{quota['limit_milli'] / 1000:g}"
    guaranteed, held = f"{quota['guaranteed_milli'] / 1000:g}", f"{quota['held_milli'] / 1000:g}"
    group = (quota["group"] or "-") if "tenant" in quota else "-"
    return name, group, str(quota["weight"]), guaranteed, limit, held


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    table = [head, *rows]
    if len(table) == 1:
        return [f"{head[0].capitalize()}s: none."] if head[0] != "PLACE" else ["Nobody waits."]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def main() -> None:
    """Entry point of ``jupyter-fastgpu``."""
    FastGPUApp.launch_instance()
