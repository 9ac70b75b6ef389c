"""Statements from a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.cli import accounts
from fastgpu_jupyter.core.accounting import calendar
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import BudgetPolicy, Instant, Plan, Priority
from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.http import statements as statement_views
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.pool.loop.changes import changes_of
from fastgpu_jupyter.units import MS_PER_HOUR
from fastgpu_jupyter.wire.statement_csv import AdviceCells, statement_rows
from tests.core.world import World, spec

WALL = 10**12  # 2001-09-09


@pytest.mark.parametrize(
    ("month", "begin", "days"),
    [("1970-01", 0, 31), ("2001-09", 999_302_400_000, 30), ("2024-12", 1_733_011_200_000, 31)],
)
def test_month_of_gives_its_begin_and_length(month: str, begin: int, days: int) -> None:
    found = statement_views.month_of(month)
    assert (found.begins_wall_ms, found.ends_wall_ms) == (begin, begin + days * 86_400_000)
    assert calendar.text(found) == month


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "26-01", "2026-11-01", "x" * 1000])
def test_month_of_another_text_is_refused(month: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        statement_views.month_of(month)
    assert "write it like 2026-11" in text_of(caught.value)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.active("anns", "half", tenant="ann")
    world.active("bobs", tenant="bob")
    journal = Journal(tmp_path / "journal.db")
    for at, events in world.history:
        journal.append([Entry(at, events)])
    return journal


def test_statements_within_a_tenant_and_within_all_tenants(journal: Journal) -> None:
    until = Instant(1000 + MS_PER_HOUR, WALL + 1000 + MS_PER_HOUR)
    ann = statement_views.statements(
        journal, "2001-09", until, AccessScope("ann", 1001), currency="USD", name_of=str.upper
    )
    assert [(one["tenant"]["key"], one["total_micro"], one["active_ms"]) for one in ann] == [
        ("ann", 1_800_000, MS_PER_HOUR)
    ]
    everybody = statement_views.statements(
        journal, "2001-09", until, AccessScope("root", 0, all_tenants=True), currency="USD", name_of=str.upper
    )
    assert [one["tenant"]["key"] for one in everybody] == ["ann", "bob"]
    assert [line["lease_id"] for line in everybody[1]["lines"]] == ["bobs"]
    assert (
        statement_views.statements(
            journal, "2001-10", until, AccessScope("ann", 1001), currency="USD", name_of=str.upper
        )
        == []
    )
    journal.close()


def test_statement_of_a_job_names_it_in_every_form(tmp_path: Path) -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.active("of-job", priority=Priority.LOW, job="job 17 · train")
    world.active("of-notebook")
    journal = Journal(tmp_path / "journal.db")
    for at, events in world.history:
        journal.append([Entry(at, events)])
    until = Instant(1000 + MS_PER_HOUR, WALL + 1000 + MS_PER_HOUR)
    access = AccessScope("ann", 1001)
    found = statement_views.statements(journal, "2001-09", until, access, currency="USD", name_of=str.upper)
    journal.close()
    (statement,) = found
    names = {line["lease_id"]: (line["job"], line["notebook"]) for line in statement["lines"]}
    assert names == {"of-job": ("job 17 · train", "of-job.ipynb"), "of-notebook": (None, "of-notebook.ipynb")}
    head, *rows = statement_rows(found)
    assert [row[head.index("job")] for row in rows] == ["job 17 · train", None]
    advised = {"of-notebook": AdviceCells("half", 500, "A half would do.")}
    _, of_job, of_notebook = statement_rows(found, advised)
    assert dict(zip(head, of_job, strict=True))["advised_size"] == ""
    shown = dict(zip(head, of_notebook, strict=True))
    assert (shown["advised_size"], shown["advised_saving_milli"], shown["advice"]) == ("half", 500, "A half would do.")
    text = "\n".join(accounts._statement_table(statement))
    assert "job 17 · train" in text
    assert "of-job.ipynb" not in text
    assert "of-notebook.ipynb" in text


def test_changes_of_a_budget_include_the_tenants_leases() -> None:
    world = World(spec("gpu0"), spec("gpu1", index=1))
    world.active("anns", "half", tenant="ann")
    world.active("bobs", tenant="bob")
    world.do(c.SetBudget("ann", 1_800_000))
    world.now_ms += MS_PER_HOUR
    changes = changes_of(world.do(c.Tick()), world.state)
    assert changes.lease_ids == {"anns"}
    assert changes_of(world.do(c.SetBudget("bob", None, BudgetPolicy.STOP)), world.state).lease_ids == {"bobs"}


def test_changes_of_a_month_include_the_leases_of_tenants_with_budgets() -> None:
    world = World(spec("gpu-0"), spec("gpu-1", index=1))
    world.active("anns")
    world.active("bobs", tenant="bob")
    world.do(c.SetBudget("ann", 1_800_000, BudgetPolicy.STOP))
    world.now_ms += 32 * 86_400_000
    changes = changes_of(world.do(c.Tick()), world.state)
    assert "anns" in changes.lease_ids
    assert "bobs" not in changes.lease_ids


def test_reservation_is_a_line_of_the_tenants_statement(tmp_path: Path) -> None:
    world = World(spec("gpu0"))
    world.do(c.ReserveCapacity("r", "ann", 1000, "a100", Plan.MONTH, 50))
    world.active("anns", "half", tenant="ann")
    journal = Journal(tmp_path / "journal.db")
    for at, events in world.history:
        journal.append([Entry(at, events)])
    until = Instant(1000 + MS_PER_HOUR, WALL + 1000 + MS_PER_HOUR)
    (statement,) = statement_views.statements(
        journal, "2001-09", until, AccessScope("ann", 1001), currency="USD", name_of=str.upper
    )
    leased, reserved = statement["lines"]
    assert (leased["kind"], leased["covered_milli"], leased["amount_micro"]) == ("lease", 500, 0)
    assert (reserved["kind"], reserved["lease_id"], reserved["size"]) == ("reservation", None, "1 a100")
    assert statement["total_micro"] == reserved["amount_micro"] == 1_800_000
    assert statement["active_ms"] == MS_PER_HOUR
    journal.close()
