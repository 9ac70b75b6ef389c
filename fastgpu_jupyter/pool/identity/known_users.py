"""The users that the user database named, remembered with an expiry, and asked for in threads that may hang.

An old answer stays in use until there is a new one: a directory service that is down changes no user's name.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from ...errors import HostFault, Message

#: How long an answer is used before the database is asked again, and how long one that is no user, or no answer.
FRESH_S = 600.0
ABSENT_S = 60.0
FAILED_S = 2.0
#: How long a caller waits for an answer.
ANSWER_S = 2.0
#: Answers that are remembered; those that were used least recently are forgotten.
ANSWERS_MAX = 4096
#: Questions that may be unanswered; a database that hangs keeps one thread for each of the first ones.
THREADS = 8
UNANSWERED_MAX = 64

#: A user's number, whose name is asked for, or a name, whose number is.
Question = int | str
Answer = int | str | None


class UserLookup(Protocol):
    """The user database, with calls that block."""

    def name_of(self, uid: int) -> str | None:
        """Return the name of a user, None if there is none. Raises :class:`HostFault`."""

    def uid_of(self, name: str) -> int | None:
        """Return the number of a user, None if there is none. Raises :class:`HostFault`."""


@dataclass(slots=True)
class _Remembered:
    answer: Answer = None
    answered: bool = False  #: there was an answer, which may be that there is no such user
    until_s: float = 0.0  #: the database is not asked again before this
    fault: HostFault | None = None  #: why the last question was not answered


class KnownUsers:
    """The answers of the user database. Safe for several threads."""

    def __init__(
        self,
        database: UserLookup,
        new_thread: Callable[[int, str], Executor],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._threads = new_thread(THREADS, "users")
        self._now_s = now_s
        self._known: OrderedDict[Question, _Remembered] = OrderedDict()
        self._asked: dict[Question, tuple[Future[None], float]] = {}
        self._lock = threading.Lock()

    def remembered(self, question: Question) -> Answer:
        """Return the last answer, however old, without waiting; begin to ask again if it is missing or old."""
        with self._lock:
            known = self._current(question)
        return known.answer

    async def ask(self, question: Question, wait_s: float = ANSWER_S) -> Answer:
        """Return the answer; while the database does not answer, the user that it named last.

        Waits until ``wait_s`` after the question, so that of several callers only the first waits for a database that
        hangs. Raises :class:`HostFault` if there is no answer then.
        """
        with self._lock:
            known = self._current(question)
            asked = self._asked.get(question)
        if asked is not None:
            future, asked_s = asked
            left_s = asked_s + wait_s - self._now_s()
            if left_s > 0:
                await asyncio.wait({asyncio.wrap_future(future)}, timeout=left_s)
        with self._lock:
            if known.answer is not None or (known.answered and known.fault is None and question not in self._asked):
                return known.answer
            raise known.fault or HostFault(Message.of("users.silent"))

    def _current(self, question: Question) -> _Remembered:
        """Return what is known, and ask unless that is fresh or was asked already; the lock is held."""
        known = self._known.setdefault(question, _Remembered())
        self._known.move_to_end(question)
        if len(self._known) > ANSWERS_MAX:
            self._known.popitem(last=False)
        now_s = self._now_s()
        if question not in self._asked and now_s >= known.until_s:
            if len(self._asked) >= UNANSWERED_MAX:
                known.fault = HostFault(Message.of("users.silent"))
            else:
                self._asked[question] = (self._threads.submit(self._look_up, question, known), now_s)
        return known

    def _look_up(self, question: Question, known: _Remembered) -> None:
        fault: HostFault | None = None
        answer: Answer = None
        try:
            answer = self._database.name_of(question) if isinstance(question, int) else self._database.uid_of(question)
        except HostFault as error:
            fault = error
        with self._lock:
            self._asked.pop(question, None)
            known.fault, now_s = fault, self._now_s()
            if fault is None:
                known.answer, known.answered = answer, True
                known.until_s = now_s + (ABSENT_S if answer is None else FRESH_S)
            else:
                known.until_s = now_s + FAILED_S

    def close(self) -> None:
        """Ask nothing more; a thread in which the database hangs is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)
