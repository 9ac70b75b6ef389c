"""``jupyter fastgpu statement``: its JSON and its CSV carry the advice that its text has."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest

from fastgpu_jupyter.cli.accounts import StatementApp
from fastgpu_jupyter.wire.schemas import StatementLineView

SENTENCE = "Half of it would do."


class FakeClient:
    """A pool with one active lease, of which less than half was ever used."""

    def statements(self, month: str) -> list[Any]:
        line: dict[str, Any] = dict.fromkeys(StatementLineView.__annotations__)
        line |= {"kind": "lease", "lease_id": "a", "size": "full", "notebook": "a.ipynb", "device_ids": ["GPU-0"]}
        line |= dict.fromkeys(("started_at", "active_ms", "rate_micro_per_hour", "amount_micro"), 0)
        totals = dict.fromkeys(("active_ms", "busy_micro", "idle_micro", "total_micro"), 0)
        tenant = {"key": "uid:1", "name": "ann"}
        return [{"tenant": tenant, "mine": True, "month": month, "currency": "USD", "lines": [line], **totals}]

    def leases(self) -> list[Any]:
        return [{"id": "a", "state": "active", "holder": {"notebook": "a.ipynb", "job": None}}]

    def advice(self, lease_id: str) -> Any:
        basis = {"code": "host.detail", "params": {"text": SENTENCE}, "text": SENTENCE}
        return {"advice": {"size": "half", "saving_milli": 500, "basis": basis}, "reason": None, "silenced": False}


def printed(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """Return what the command prints with these options."""
    StatementApp(**options).run(FakeClient())  # type: ignore[arg-type]
    return capsys.readouterr().out


def test_statement_has_the_advice_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys).splitlines()[-1] == f"a.ipynb: {SENTENCE}"
    assert json.loads(printed(capsys, as_json=True))["advice"]["a"]["advice"]["size"] == "half"
    (row,) = csv.DictReader(io.StringIO(printed(capsys, as_csv=True)))
    assert (row["advised_size"], row["advised_saving_milli"], row["advice"]) == ("half", "500", SENTENCE)


def test_statement_of_an_earlier_month_has_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    assert time.strftime("%Y-%m") != "2001-09"
    assert json.loads(printed(capsys, as_json=True, month="2001-09"))["advice"] == {}
