"""Journals of every format that was ever released: they open, and say what they always said."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.pool.journal.codec import encode_state
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import replay
from tests.golden.make import summary

GOLDEN = Path(__file__).parents[2] / "golden"


def test_golden_journal_has_every_event() -> None:
    """An event that is new is added to the history, and the history is written once more under another name."""
    kept: set[str] = set()
    for path in GOLDEN.glob("*.db"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            for (payload,) in database.execute("SELECT payload FROM record"):
                kept.update(event["type"] for event in json.loads(payload)["events"])
    assert {event.__name__ for event in get_args(Event)} == kept


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.db")))
def test_journal_of_an_earlier_release_is_read_and_continued(name: str, tmp_path: Path) -> None:
    for kept in GOLDEN.glob(f"{name}.db*"):
        shutil.copy(kept, tmp_path / kept.name.replace(name, "journal"))
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    journal = Journal(tmp_path / "journal.db")
    state = replay(journal)
    assert json.loads(msgspec.json.encode(summary(state))) == expected
    assert list(violations(state)) == []
    journal.snapshot(encode_state(state))
    journal.close()
    again = Journal(tmp_path / "journal.db")
    assert replay(again) == state
    assert again.seq == again.verify()
    again.close()
