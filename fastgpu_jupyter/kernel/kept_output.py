"""The messages that a kernel keeps while no server is there: in order, and not more than a limit.

Consecutive writes to the same stream are joined. Where the limit is reached, the oldest stream output goes first, then
the oldest display; results and errors are kept as long as they fit. A :class:`Gap` is where the first message of a
request was dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

MESSAGES_MAX = 10_000
BYTES_MAX = 8 * 2**20
#: A piece of stream output is not extended beyond this size.
STREAM_BYTES = 2**16
#: What a message counts beside its text.
OVERHEAD_BYTES = 512
#: The types of messages that a cell shows.
OUTPUTS = frozenset({"stream", "display_data", "update_display_data", "execute_result", "error"})
#: Types -> how early they are dropped; what is not named here, such as the status, is dropped last.
_DROPPED_FIRST = {"stream": 0, "display_data": 1, "update_display_data": 1, "clear_output": 1, "comm_msg": 1}
_LAST = 2


class KeptMessage:
    """A message: the frames to send; ``to`` is the channel, ``parent`` the header of the request that it belongs to."""

    #: The display that the message updates.
    display: str | None = None

    def __init__(self, kind: str, to: str, parent: Mapping[str, Any], frames: list[bytes], at_ms: int) -> None:
        self.kind, self.to, self.parent, self.frames, self.at_ms = kind, to, parent, frames, at_ms

    @property
    def size(self) -> int:
        """Return what the message counts, in bytes."""
        return sum(map(len, self.frames)) + OVERHEAD_BYTES


class Stream(KeptMessage):
    """Text that the kernel wrote to ``stdout`` or ``stderr``; ``ident`` is the topic."""

    def __init__(self, name: str, text: str, parent: Mapping[str, Any], ident: Any, at_ms: int) -> None:
        super().__init__("stream", "iopub", parent, [], at_ms)
        self.name, self.ident, self._texts = name, ident, [text]
        self._bytes = len(text.encode(errors="replace"))

    @property
    def size(self) -> int:
        """Return what the message counts, in bytes."""
        return self._bytes + OVERHEAD_BYTES

    @property
    def text(self) -> str:
        """Return all that was written."""
        return "".join(self._texts)

    def extend(self, other: Stream) -> bool:
        """Add what was written next, if it is the same stream of the same request and not too much."""
        same = other.name == self.name and _request(other.parent) == _request(self.parent)
        if not same or self._bytes + other._bytes > STREAM_BYTES:
            return False
        self._texts += other._texts
        self._bytes += other._bytes
        return True


class Gap(KeptMessage):
    """Where messages were dropped: how many, and their size."""

    def __init__(self, first: KeptMessage) -> None:
        super().__init__("gap", "iopub", first.parent, [], first.at_ms)
        self.messages = self.bytes = 0

    def count(self, dropped: KeptMessage) -> None:
        """Add a dropped message to the counts."""
        self.messages += 1
        self.bytes += dropped.size - OVERHEAD_BYTES


class KeptOutput:
    """The kept messages of a kernel, oldest first. Not safe for threads."""

    def __init__(self, messages_max: int = MESSAGES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._entries: dict[int, KeptMessage] = {}
        self._queues: tuple[deque[int], ...] = (deque(), deque(), deque())
        self._gaps: dict[str, int] = {}
        #: Display -> its kept update, which a later one replaces.
        self._updates: dict[str | None, int] = {}
        self._next = 0
        self.bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: KeptMessage) -> None:
        """Append a message; older ones are dropped where the limit is reached."""
        last = next(reversed(self._entries.values()), None)
        if isinstance(entry, Stream) and isinstance(last, Stream):
            before = last.size
            if last.extend(entry):
                self.bytes += last.size - before
                self._make_room()
                return
        if entry.display in self._updates:
            self._remove(self._updates[entry.display])
        if entry.size > self._bytes_max:
            self._drop(self._append(entry))
            return
        key = self._append(entry)
        if entry.display is not None:
            self._updates[entry.display] = key
        self._make_room()

    def pop(self) -> KeptMessage | None:
        """Remove the oldest message and return it; None without any."""
        for key in self._entries:
            return self._remove(key)
        return None

    def first_output(self) -> KeptMessage | None:
        """Return the first message that a cell shows."""
        found = (entry for entry in self._entries.values() if entry.kind in OUTPUTS or isinstance(entry, Gap))
        return next(found, None)

    def _append(self, entry: KeptMessage) -> int:
        key, self._next = self._next, self._next + 1
        self._entries[key] = entry
        self._queues[_DROPPED_FIRST.get(entry.kind, _LAST)].append(key)
        self.bytes += entry.size
        return key

    def _make_room(self) -> None:
        while len(self._entries) > self._messages_max or self.bytes > self._bytes_max:
            key = self._to_drop()
            if key is None:
                return
            self._drop(key)

    def _to_drop(self) -> int | None:
        """Return the message to drop next, the newest never."""
        for queue in self._queues:
            while queue and queue[0] not in self._entries:
                queue.popleft()
            if queue and queue[0] != self._next - 1:
                return queue.popleft()
        return None

    def _drop(self, key: int) -> None:
        """Remove a message, and count it in the gap of its request, which is made in its place if there is none."""
        entry = self._entries[key]
        self.dropped += 1
        if isinstance(entry, Gap):
            self._remove(key)
            return
        request = _request(entry.parent)
        where = self._gaps.get(request)
        gap = None if where is None else self._entries.get(where)
        if isinstance(gap, Gap):
            gap.count(entry)
            self._remove(key)
            return
        gap = Gap(entry)
        gap.count(entry)
        self._forget(key, entry)
        self.bytes += gap.size - entry.size
        self._entries[key] = gap  # in its place
        self._gaps[request] = key
        self._queues[_LAST].append(key)

    def _remove(self, key: int) -> KeptMessage:
        entry = self._entries.pop(key)
        self.bytes -= entry.size
        self._forget(key, entry)
        return entry

    def _forget(self, key: int, entry: KeptMessage) -> None:
        if self._updates.get(entry.display) == key:
            del self._updates[entry.display]
        if isinstance(entry, Gap):
            self._gaps.pop(_request(entry.parent), None)


def _request(parent: Mapping[str, Any]) -> str:
    return str(parent.get("msg_id", ""))
