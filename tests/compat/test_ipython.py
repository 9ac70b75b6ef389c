"""IPython's history begins in the background, with the number, the row and the failures that it has otherwise."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.history import HistoryManager
from IPython.core.interactiveshell import InteractiveShellABC

from fastgpu_jupyter.compat.ipython import history_begins_in_background


class Shell:
    """What a history needs of a shell."""

    def push(self, variables: dict[str, str], *, interactive: bool) -> None:
        """Take variables such as ``_i``."""


InteractiveShellABC.register(Shell)
shell: Any = Shell()


@contextlib.contextmanager
def begun(file: Path) -> Iterator[Any]:
    with history_begins_in_background():
        history: Any = HistoryManager(shell=shell, hist_file=str(file))
    yield history
    history.close()


def sessions(file: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [number for (number,) in database.execute("SELECT session FROM sessions ORDER BY session")]


def test_session_has_its_row_and_its_number(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    for number in (1, 2):
        with begun(file) as history:
            assert history.session_number == number
            assert sessions(file)[-1] == number
            history.store_inputs(1, "1 + 1")
            history.end_session()
    with begun(file) as history:
        assert [line for _, _, line in history.get_tail(2, include_latest=True)] == ["1 + 1", "1 + 1"]
        history.reset()  # with a session of its own, begun as always
        assert history.session_number == 4


def test_begin_does_not_wait_for_a_database_that_is_locked(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    with begun(file) as history:
        assert history.session_number == 1
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with begun(file) as history:
            assert "session_number" not in history._trait_values
            other.rollback()
            assert history.session_number == 2


@pytest.mark.slow
def test_history_of_a_database_that_stays_locked_is_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "history.sqlite"
    with begun(file) as history:
        assert history.session_number == 1
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with history_begins_in_background():
            history = HistoryManager(
                shell=shell, hist_file=str(file), connection_options={"timeout": 0.1, "check_same_thread": False}
            )
        caplog.set_level(logging.ERROR)
        history.log = logging.getLogger()
        assert history.session_number == 0
        assert "History will not be saved" in caplog.text
        history.store_inputs(1, "1 + 1")
        history.end_session()
        history.close()
        other.rollback()
    assert sessions(file) == [1]


def test_history_in_memory_begins_at_once() -> None:
    with history_begins_in_background():
        history: Any = HistoryManager(shell=shell, hist_file=":memory:")
    assert history._trait_values["session_number"] == 1
    history.close()


def test_new_session_is_ipythons_again_afterwards() -> None:
    before = HistoryManager.new_session
    with contextlib.suppress(ZeroDivisionError), history_begins_in_background():
        assert HistoryManager.new_session is not before
        raise ZeroDivisionError
    assert HistoryManager.new_session is before
