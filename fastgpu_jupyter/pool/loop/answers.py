"""The answers of a commit: to its commands, and to those of earlier commits whose answers waited for an effect.

They are made before the commit is written, so that the first answer to each key is written with it, and sent after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...core.model.entities import Instant, State
from ...core.model.events import Event
from ..journal.store import Entry
from .command_queue import Answer, QueuedCommand

Decided = Sequence[tuple[QueuedCommand, Entry]]


class Answers(NamedTuple):
    """The answers of one commit, and the calls that a later one answers, each with its lease."""

    ready: list[Answer]
    waiting: list[tuple[str, QueuedCommand]]

    def entries(self, decided: Decided, at: Instant) -> list[Entry]:
        """Return the entries to write, with the answers that are kept."""
        kept = {answer.call.done: answer for answer in self.ready if answer.first is not None}
        entries = []
        for call, entry in decided:
            answer = kept.pop(call.done, None) if entry.key is not None else None
            entries.append(entry if answer is None else entry._replace(answer=answer.first))
        return entries + [
            Entry(at, [], answer.call.key, answer.lease_id, answer.first)  # of a key that is on disk
            for answer in kept.values()
        ]


class AnswerMaker:
    """The maker of answers, which has the calls whose answers wait for an effect."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Future[object], tuple[QueuedCommand, asyncio.TimerHandle]]] = {}

    def make(self, state: State, at: Instant, decided: Decided, events: Iterable[Event]) -> Answers:
        """Return the answers from ``state``, the one after ``events``; :meth:`send` is to follow once it is durable."""
        ready: list[Answer] = []
        waiting: list[tuple[str, QueuedCommand]] = []
        for call, entry in decided:
            if entry.lease_id is not None and call.waits(state, entry.lease_id):
                waiting.append((entry.lease_id, call))
            else:
                ready.append(call.make_answer(state, at, entry.lease_id))
        if self._waiting:
            changed = {getattr(event, "lease_id", "") for event in events}
            for lease_id in changed & self._waiting.keys():
                calls = (call for call, _ in self._waiting[lease_id].values() if not call.waits(state, lease_id))
                ready += [call.make_answer(state, at, lease_id) for call in calls]
        return Answers(ready, waiting)

    def send(self, answers: Answers) -> None:
        """Send what is ready; the others wait for a later commit, or for the time that they wait at most."""
        for answer in answers.ready:
            answer.send()
            if answer.lease_id in self._waiting:
                self._forget(answer)
        for lease_id, call in answers.waiting:
            assert call.settling is not None
            last = Answer(call, lease_id, lease_id)
            timer = asyncio.get_running_loop().call_later(call.settling.within_s, self._give_up, last)
            self._waiting.setdefault(lease_id, {})[call.done] = call, timer

    def _give_up(self, last: Answer) -> None:
        last.send()
        self._forget(last)

    def _forget(self, answer: Answer) -> None:
        assert answer.lease_id is not None
        calls = self._waiting[answer.lease_id]
        if answer.call.done in calls:
            calls.pop(answer.call.done)[1].cancel()
        if not calls:
            del self._waiting[answer.lease_id]
