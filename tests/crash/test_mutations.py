"""Every deliberately broken build is found by the test that must find it (see :mod:`tests.crash.mutations`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.pool.journal.store import Journal
from tests.crash.mutations import MUTATIONS, PACKAGE, ROOT, Mutation, applied, caught, copy


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_there_is_something_to_break(mutation: Mutation) -> None:
    compile(applied(mutation, ROOT / PACKAGE), mutation.path, "exec")


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product that may be broken."""
    folder = tmp_path_factory.mktemp("breakable")
    copy(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_no_mutation_survives(mutation: Mutation, breakable: Path) -> None:
    found, said = caught(mutation, breakable)
    assert found, said


def test_the_journal_is_synced(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2, (
        "an acknowledged command must survive a power cut"
    )
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    journal.close()
