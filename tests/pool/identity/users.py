"""A user database whose answers, failures and silence a test decides."""

from __future__ import annotations

import threading

from fastgpu_jupyter.errors import HostFault


class FakeUsers:
    """A user database with the given users, which may be removed, renamed, fail or hang."""

    def __init__(self, **users: int) -> None:
        self.users = dict(users)
        self.fault: str | None = None
        self.asked: list[int | str] = []
        self._answering = threading.Event()
        self._answering.set()

    def hang(self) -> None:
        """Answer nothing until :meth:`answer`."""
        self._answering.clear()

    def answer(self) -> None:
        """Answer everything that was asked meanwhile."""
        self._answering.set()

    def name_of(self, uid: int) -> str | None:
        self._ask(uid)
        return next((name for name, one in self.users.items() if one == uid), None)

    def uid_of(self, name: str) -> int | None:
        self._ask(name)
        return self.users.get(name)

    def _ask(self, question: int | str) -> None:
        self.asked.append(question)
        self._answering.wait()
        if self.fault is not None:
            raise HostFault(self.fault)


class FakeTime:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s
