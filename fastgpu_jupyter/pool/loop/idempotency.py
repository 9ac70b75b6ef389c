"""The idempotency keys that were answered, so that a repeated command gets the first answer and does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..journal.store import Entry

#: How long a key is remembered, and how many of each user at most: twice what a tenant may change in a day, because a
#: period of 24 hours has a part of two days.
REMEMBER_KEYS_MS = 86_400_000
REMEMBER_KEYS_MAX = 100_000


class AnsweredKeys:
    """The lease id that each remembered key was answered with; the journal has the same."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._lease_ids = dict(answers)

    def find(self, key: str | None) -> str | None:
        """Return the lease id that ``key`` was answered with, empty for a command about no lease; ``None`` if new."""
        return None if key is None else self._lease_ids.get(key)

    def add(self, entries: Iterable[Entry]) -> None:
        """Remember the keys of ``entries``, which are durable."""
        self._lease_ids.update({entry.key: entry.lease_id or "" for entry in entries if entry.key})

    def replace(self, answers: Mapping[str, str]) -> None:
        """Remember exactly what the journal has."""
        self._lease_ids = dict(answers)
