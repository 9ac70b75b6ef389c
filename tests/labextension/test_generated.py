"""The generated TypeScript sources are what the definitions in Python produce."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.labextension.generate import FILES, OUTPUT, ROOTS, types

API = OUTPUT / "api.ts"


@pytest.mark.parametrize("path", [path for path in FILES if path != API], ids=lambda path: path.name)
def test_generated_file_is_current(path: Path) -> None:
    assert path.read_text() == FILES[path](), f"{path.name} is outdated: run `make generate`"


@pytest.mark.slow  # starts Node.js
def test_generated_types_are_current() -> None:
    assert API.read_text() == types(), "api.ts is outdated: run `make generate`"


def test_validation_covers_what_the_browser_reads() -> None:
    schemas = (OUTPUT / "schemas.ts").read_text()
    assert [root for root in ROOTS if f"  {root}: {{" not in schemas] == []
