"""A thread that follows a server: when it pauses, and that it can be stopped while it reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fastgpu_jupyter.wire.stream_follower import PAUSE_MOST_S, StreamFollower


class Follower(StreamFollower):
    """A follower that does what ``steps`` say: an error, a pause, or None; ``heard`` before it where it is a pair."""

    def __init__(self, steps: list[Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("test", loop, 0.5)
        self.steps = iter(steps)
        self.reasons: list[Exception | None] = []
        self.pauses: list[float] = []

    def follow(self) -> float | None:
        """Do the next step."""
        step = next(self.steps, "stop")
        if step == "stop":
            self.stop()
            return None
        if isinstance(step, tuple):
            self.heard()
            step = step[1]
        if isinstance(step, Exception):
            raise step
        assert step is None or isinstance(step, float)
        return step

    def lost(self, error: Exception | None) -> None:
        """Note the reason."""
        self.reasons.append(error)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_pauses_grow_until_something_is_heard(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = OSError("broken")
    follower = Follower([broken, None, broken, ("heard", None), broken, 0.0, broken, *[None] * 9], loop)
    monkeypatch.setattr(follower._stopped, "wait", follower.pauses.append)
    follower.run()
    assert follower.pauses[:7] == [0.5, 1.0, 2.0, 0.5, 1.0, 0.0, 0.5]
    assert follower.pauses[-1] == PAUSE_MOST_S
    assert follower.reasons[:6] == [broken, None, broken, None, broken, broken]  # none for the one that named a pause


def test_stream_that_is_opened_after_the_stop_is_closed_at_once(loop: asyncio.AbstractEventLoop) -> None:
    class Stream:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    follower, early, late = Follower([], loop), Stream(), Stream()
    assert follower.opened(early) is early
    follower.stop()
    follower.opened(late)
    assert (early.closed, late.closed) == (1, 1)
    loop.close()
    follower.hand_over(print)  # a loop that has ended is no error
