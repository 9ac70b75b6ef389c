"""Every deliberately broken build is found by the test that must find it (see :mod:`tests.crash.mutations`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.pool.journal.store import Journal
from tests.crash.mutations import MUTATIONS, PACKAGE, ROOT, Mutation, applied, survivors


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_there_is_something_to_break(mutation: Mutation) -> None:
    compile(applied(mutation, ROOT / PACKAGE), mutation.path, "exec")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_mutation_survives() -> None:
    assert survivors([]) == []


def test_the_journal_is_synced(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2, (
        "an acknowledged command must survive a power cut"
    )
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    journal.close()
