"""Commands for quotas, rates, budgets, reservations and statements."""

from __future__ import annotations

import sys
import time
from calendar import timegm
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from traitlets import Bool, Enum, Float, Integer, Unicode

from ..errors import InvalidRequest, Message
from ..messages import say
from ..units import format_duration, format_money, parse_money
from ..wire.client import PoolClient
from ..wire.client.accounting import Entitlement
from ..wire.schemas import (
    GroupView,
    RateView,
    ReservationView,
    StatementLineView,
    StatementView,
    TenantView,
)
from ..wire.statement_advice import LeaseAdvice, advice_for_statement
from ..wire.statement_csv import AdviceCells, statement_rows
from .advice import advice_text, statement_lines
from .command import ClientApp, format_day_time, purpose, table
from .output import write_csv, write_progress

#: Seconds after which a command shows that it is still working.
PROGRESS_AFTER_S = 1.0


class QuotaApp(ClientApp):
    """The command that shows or sets the quotas of tenants and groups."""

    name = "jupyter-fastgpu-quota"
    description = (
        "Show quotas, or set one: jupyter fastgpu quota NAME --weight=100 --guaranteed=1 --limit=2.5 (GPUs). "
        "What is not named is kept. With --of-group, NAME is a group; a tenant joins one with --group=NAME."
    )

    weight = Integer(
        None, allow_none=True, help="Share of the capacity beyond guarantees, relative to other weights."
    ).tag(config=True)
    guaranteed = Float(None, allow_none=True, help="GPUs that it gets before tenants above their guarantee.").tag(
        config=True
    )
    limit = Float(None, allow_none=True, help="GPUs that it may hold at once; 0: no limit.").tag(config=True)
    group = Unicode(None, allow_none=True, help="The group that the tenant belongs to; '': none.").tag(config=True)
    of_group = Bool(False, help="The name is that of a group.").tag(config=True)
    aliases = {
        **ClientApp.aliases,
        "weight": "QuotaApp.weight",
        "guaranteed": "QuotaApp.guaranteed",
        "limit": "QuotaApp.limit",
        "group": "QuotaApp.group",
    }
    flags = {**ClientApp.flags, "of-group": ({"QuotaApp": {"of_group": True}}, "The name is that of a group.")}

    def run(self, client: PoolClient) -> None:
        """Set the quota of the named tenant or group, if any; print all quotas."""
        for name in self.extra_args[:1]:
            if self.of_group:
                known_group = next((one for one in client.groups() if one["group"] == name), None)
                client.set_group(name, self._changed(known_group))
            else:
                names = (one for one in client.tenants() if name in (one["tenant"]["name"], one["tenant"]["key"]))
                known = next(names, None)
                group = (known["group"] if known else None) if self.group is None else self.group
                client.set_tenant(name, {**self._changed(known), "group": group or None})
        tenants, groups = client.tenants(), client.groups()
        rows = [*map(_quota_row, tenants), *map(_quota_row, groups)]
        self.show({"tenants": tenants, "groups": groups}, *table(_quota_head(), rows, say("cli.no_tenants")), indent=2)

    def _changed(self, known: TenantView | GroupView | None) -> Entitlement:
        """Return the entitlement with what the options name; the rest is as it is known, or as without a quota."""
        changed: Entitlement = {}
        if known is not None:
            changed = {
                "weight": known["weight"],
                "guaranteed_milli": known["guaranteed_milli"],
                "limit_milli": known["limit_milli"],
            }
        if self.weight is not None:
            changed["weight"] = self.weight
        if self.guaranteed is not None:
            changed["guaranteed_milli"] = round(self.guaranteed * 1000)
        if self.limit is not None:
            changed["limit_milli"] = round(self.limit * 1000) if self.limit else None
        return changed


class RatesApp(ClientApp):
    """The command that shows the rates of devices."""

    name = "jupyter-fastgpu-rates"
    description = (
        "Show what each model of GPU costs for an hour: by use, and reserved by the month and by the year. "
        "Set by Accounting.rates_per_hour, month_discount_percent and year_discount_percent."
    )

    def run(self, client: PoolClient) -> None:
        """Print the rates as a table or as JSON."""
        rates = client.rates()
        self.show({"rates": rates}, *table(_rates_head(), map(_rate_row, rates), say("cli.no_rates")), indent=2)


class BudgetApp(ClientApp):
    """The command that shows or sets the budgets of tenants and leases."""

    name = "jupyter-fastgpu-budget"
    description = (
        "Show budgets, or set one: jupyter fastgpu budget TENANT AMOUNT --policy=stop (an amount of money for a month, "
        "or none). Without --policy the one that was set is kept. With --lease, the name is that of a lease, and the "
        "amount is what it may cost in all."
    )

    policy = Enum(
        ["warn", "stop", "park"],
        None,
        allow_none=True,
        help="At the limit: warn only, stop new leases, or park what it has as well; default: as it was set, or warn.",
    ).tag(config=True)
    of_lease = Bool(False, help="The name is that of a lease.").tag(config=True)
    aliases = {**ClientApp.aliases, "policy": "BudgetApp.policy"}
    flags = {**ClientApp.flags, "lease": ({"BudgetApp": {"of_lease": True}}, "The name is that of a lease.")}

    def run(self, client: PoolClient) -> None:
        """Set the budget of the named tenant or lease, if any; print the budgets."""
        if len(self.extra_args) not in (0, 2):
            raise InvalidRequest(Message.of("cli.name_tenant_and_amount"))
        if self.of_lease:
            self._of_lease(client)
            return
        if self.extra_args:
            client.set_budget(self.extra_args[0], _amount_micro(self.extra_args[1]), self.policy)
        tenants, currency = client.tenants(), client.pool()["currency"]
        rows = (_budget_row(one, currency) for one in tenants)
        self.show(
            {"tenants": tenants, "currency": currency}, *table(_budgets_head(), rows, say("cli.no_tenants")), indent=2
        )

    def _of_lease(self, client: PoolClient) -> None:
        if not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_lease_and_amount"))
        lease = client.set_lease_budget(self.extra_args[0], _amount_micro(self.extra_args[1]))
        budget, currency = lease["money"]["budget_micro"], lease["money"]["currency"]
        cost = format_money(lease["money"]["cost_micro"], currency)
        if budget is None:
            self.show(lease, say("cli.may_cost_all", lease=lease["id"], cost=cost))
        else:
            text = say("cli.may_cost", lease=lease["id"], budget=format_money(budget, currency), cost=cost)
            self.show(lease, text)


class ReserveApp(ClientApp):
    """The command that shows, makes or ends reservations."""

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
    aliases = {**ClientApp.aliases, "plan": "ReserveApp.plan", "from": "ReserveApp.start_date"}
    flags = {**ClientApp.flags, "cancel": ({"ReserveApp": {"cancel": True}}, "End the reservation that is named.")}

    def run(self, client: PoolClient) -> None:
        """Make or end the named reservation and print it; without a name print all."""
        if not self.extra_args:
            found = client.reservations()
        elif self.cancel:
            found = [client.cancel_reservation(name) for name in self.extra_args]
        elif len(self.extra_args) == 2:
            tenant, size = self.extra_args
            found = [client.reserve(tenant, size, self.plan, _day_ms(self.start_date))]
        else:
            raise InvalidRequest(Message.of("cli.name_tenant_and_size"))
        self.show(
            {"reservations": found},
            *table(_reserved_head(), map(_reservation_row, found), say("cli.no_reservations")),
            indent=2,
        )


class StatementApp(ClientApp):
    """The command that prints the statements of a month."""

    name = "jupyter-fastgpu-statement"
    description = "Show what was used in a month and what it cost: a table, --json, or --csv."

    month = Unicode("", help="The month, like 2026-11, in UTC; default: this one.").tag(config=True)
    as_csv = Bool(False, help="Print a line of CSV for each lease and reservation; they sum to the total.").tag(
        config=True
    )
    aliases = {**ClientApp.aliases, "month": "StatementApp.month"}
    flags = {**ClientApp.flags, "csv": ({"StatementApp": {"as_csv": True}}, "Print CSV.")}

    def run(self, client: PoolClient) -> None:
        """Print the statements as a table, as JSON or as CSV."""
        with _progress(say("cli.reading_history")):
            current = time.strftime("%Y-%m", time.gmtime())
            found = client.statements(self.month or current)
        advice = advice_for_statement(client) if self.month in ("", current) and any(map(_has_lines, found)) else []
        if self.as_csv and not self.as_json:
            write_csv(statement_rows(found, {one.lease["id"]: _advice_cells(one) for one in advice}))
            return
        # An empty line between two statements.
        lines = [line for one in found for line in ("", *_statement_table(one))][1:]
        value = {"statements": found, "advice": {one.lease["id"]: one.view for one in advice}}
        self.show(value, *((lines + statement_lines(advice)) if lines else [say("cli.no_usage")]), indent=2)


def _has_lines(statement: StatementView) -> bool:
    return bool(statement["lines"])


def _advice_cells(one: LeaseAdvice) -> AdviceCells:
    assert one.view["advice"] is not None
    return AdviceCells(one.view["advice"]["size"], one.view["advice"]["saving_milli"], advice_text(one.view))


def _rates_head() -> tuple[str, ...]:
    return (
        say("column.model"),
        say("column.devices"),
        say("column.per_hour"),
        say("column.by_month"),
        say("column.by_year"),
    )


def _reserved_head() -> tuple[str, ...]:
    return (
        say("column.reservation"),
        say("column.tenant"),
        say("column.size"),
        say("column.plan"),
        say("column.per_hour"),
        say("column.from"),
        say("column.until"),
        say("column.state"),
    )


def _budgets_head() -> tuple[str, ...]:
    return (
        say("column.tenant"),
        say("column.budget"),
        say("column.at_limit"),
        say("column.spent"),
        say("column.passed"),
    )


def _statement_head() -> tuple[str, ...]:
    return (
        say("column.lease"),
        say("column.size"),
        say("column.notebook"),
        say("column.from"),
        say("column.active"),
        say("column.per_hour"),
        say("column.amount"),
    )


def _quota_head() -> tuple[str, ...]:
    return (
        say("column.tenant"),
        say("column.group"),
        say("column.weight"),
        say("column.guaranteed"),
        say("column.limit"),
        say("column.holds"),
    )


def _statement_table(statement: StatementView) -> list[str]:
    currency = statement["currency"]
    rows = [_statement_row(line, currency) for line in statement["lines"]]
    total = (
        say("cli.total"),
        "",
        "",
        "",
        format_duration(statement["active_ms"]),
        "",
        format_money(statement["total_micro"], currency),
    )
    return [
        f"{statement['tenant']['name']}, {statement['month']}",
        *table(_statement_head(), [*rows, total], say("cli.no_usage")),
    ]


def _statement_row(line: StatementLineView, currency: str) -> tuple[str, ...]:
    reserved = line["kind"] == "reservation"
    name = say("cli.reserved", reservation=line["reservation_id"] or "") if reserved else line["lease_id"] or ""
    used_for = purpose(line["job"], line["notebook"])
    rate, amount = format_money(line["rate_micro_per_hour"], currency), format_money(line["amount_micro"], currency)
    began, lasted = format_day_time(line["started_at"]), format_duration(line["active_ms"])
    return name, line["size"], used_for, began, lasted, rate, amount


def _rate_row(rate: RateView) -> tuple[str, ...]:
    prices = (rate["rate_micro_per_hour"], rate["month_micro_per_hour"], rate["year_micro_per_hour"])
    return rate["model"], str(rate["devices"]), *(format_money(price, rate["currency"]) for price in prices)


def _budget_row(tenant: TenantView, currency: str) -> tuple[str, ...]:
    budget, passed = tenant["budget_micro_per_month"], tenant["budget_percent"]
    return (
        tenant["tenant"]["name"],
        "-" if budget is None else format_money(budget, currency),
        "-" if budget is None else tenant["budget_policy"],
        format_money(tenant["spent_micro"], currency),
        "-" if passed is None else f"{passed} %",
    )


def _reservation_row(one: ReservationView) -> tuple[str, ...]:
    return (
        one["id"],
        one["tenant"]["name"],
        f"{one['milli'] / 1000:g} {one['model'] or 'any'}",
        one["plan"],
        format_money(one["rate_micro_per_hour"], one["currency"]),
        format_day_time(one["started_at"]),
        format_day_time(one["ends_at"]),
        one["state"],
    )


def _quota_row(quota: Any) -> tuple[str, ...]:
    name = quota["tenant"]["name"] if "tenant" in quota else say("cli.group", group=quota["group"])
    limit = "-" if quota["limit_milli"] is None else f"{quota['limit_milli'] / 1000:g}"
    guaranteed, held = f"{quota['guaranteed_milli'] / 1000:g}", f"{quota['held_milli'] / 1000:g}"
    group = (quota["group"] or "-") if "tenant" in quota else "-"
    return name, group, str(quota["weight"]), guaranteed, limit, held


def _day_ms(day: str) -> int | None:
    """Return the first millisecond of a day in UTC; None where no day is given."""
    if not day:
        return None
    try:
        return timegm(time.strptime(day, "%Y-%m-%d")) * 1000
    except ValueError:
        raise InvalidRequest(Message.of("cli.no_day", text=repr(day[:20]))) from None


def _amount_micro(text: str) -> int | None:
    """Return millionths of the currency from ``250`` or ``0.5``; None for ``none``."""
    return None if text.lower() == "none" else parse_money(text)


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Show on a terminal, after a second, what the command waits for and for how long."""
    done = Event()

    def show() -> None:
        began_s = time.monotonic()
        shown = False
        while not done.wait(PROGRESS_AFTER_S):
            shown = True
            write_progress(f"{what}: {time.monotonic() - began_s:.0f} s")
        if shown:
            write_progress("")

    thread = Thread(target=show, daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        done.set()
        if thread.is_alive():
            thread.join()
