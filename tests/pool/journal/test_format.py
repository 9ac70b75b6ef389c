"""The format of the journal: what was written in it stays readable."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from fastgpu_jupyter.pool.journal.database import FORMAT
from tests.golden.format import describe, incompatibilities, path_of


def test_journal_of_this_format_is_read_by_this_version() -> None:
    """The format is frozen: ``make golden`` adds to its description and changes nothing that is there."""
    described = json.loads(path_of(FORMAT).read_text())
    assert list(incompatibilities(described, json.loads(json.dumps(describe())))) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the format of this version with one change; ``None`` removes what is there."""
    new = deepcopy(describe())
    *folders, name = path.split("/")
    place: Any = new
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[name]
    else:
        place[name] = value
    return new


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("format", 99, "format: "),
        ("tables/record", "seq INTEGER", "tables: "),
        ("events", ["Ticked"], "the event BudgetSet is unknown"),
        ("types/LeaseEnded", None, "LeaseEnded is unknown"),
        ("types/LeaseEnded/properties/lease_id", None, "LeaseEnded.lease_id is now None"),
        ("types/LeaseEnded/properties/lease_id", {"type": "integer"}, "LeaseEnded.lease_id is now"),
        ("types/LeaseForgotten/required", ["lease_id", "why"], "LeaseForgotten.why is required"),
        ("types/EndReason/enum", ["released"], "EndReason.cancelled is unknown"),
    ],
)
def test_change_that_old_journals_do_not_survive_is_named(path: str, value: Any, says: str) -> None:
    found = list(incompatibilities(describe(), changed(path, value)))
    assert any(one.startswith(says) for one in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("types/New", {"type": "object", "properties": {}}),
        ("types/LeaseForgotten/properties/why", {"type": "string", "default": ""}),
        ("types/LeaseForgotten/properties/lease_id", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ],
)
def test_addition_that_old_journals_survive_is_allowed(path: str, value: Any) -> None:
    assert list(incompatibilities(describe(), changed(path, value))) == []
