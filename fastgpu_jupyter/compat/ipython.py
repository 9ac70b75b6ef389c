"""Private parts of IPython."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from IPython.core.history import HistoryManager


@contextlib.contextmanager
def history_begins_in_background() -> Iterator[None]:
    """Let the histories that are created meanwhile begin their session in a thread.

    IPython inserts a row for each session and waits until it is on the disk, which takes longer than the rest of a
    shell's start. The number of the session waits for that when it is first read, and not before. A history in memory
    or in a file that cannot be written begins as IPython's does.
    """
    managers: Any = HistoryManager
    begin = managers.new_session
    managers.new_session = _begin_in_thread(begin)
    try:
        yield
    finally:
        managers.new_session = begin


def _begin_in_thread(begin: Any) -> Any:
    def new_session(manager: Any, conn: Any = None) -> None:
        values = getattr(manager, "_trait_values", None)
        if conn is not None or values is None or not os.access(manager.hist_file, os.W_OK):
            begin(manager, conn)
            return
        session = _Session(begin, manager)
        values.pop("session_number", None)
        vars(manager)["_session_number_default"] = session.number  # traitlets asks it for a value that is not there
        session.start()

    return new_session


class _Session(threading.Thread):
    """The insertion of the row of one session, with a connection of its own."""

    def __init__(self, begin: Any, manager: Any) -> None:
        super().__init__(name="IPythonHistorySession", daemon=True)
        self._begin, self._manager = begin, manager

    def run(self) -> None:
        """Begin the session, which sets its number; what reads the number meets what fails."""
        with contextlib.suppress(Exception):
            connect = type(self._manager.db)
            connection = connect(str(self._manager.hist_file), **self._manager.connection_options)
            with contextlib.closing(connection):
                self._begin(self._manager, connection)

    def number(self, manager: Any) -> int:
        """Return the number of the session once there is one; 0, and a history that is not saved, if it failed."""
        if threading.current_thread() is not self:
            self.join()
        values = manager._trait_values  # noqa: SLF001 (where traitlets keeps them)
        if "session_number" not in values:
            manager.log.error("Failed to create history session in %s. History will not be saved.", manager.hist_file)
            manager.db.close()
            manager.enabled = False
            manager.init_db()  # none
        return int(values.get("session_number", 0))
