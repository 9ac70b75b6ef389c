"""The thread of a driver: one that an administrator released is not used until it is to be used again."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.driver_thread import DriverThread
from tests.waiting import DEADLINE_S, async_wait_until


def test_released_driver_is_closed_once_and_refuses_calls_until_it_is_used_again() -> None:
    closed: list[str] = []
    messages: list[str | None] = []

    async def scenario() -> None:
        thread = DriverThread()
        thread.subscribe(lambda: messages.append(thread.unresponsive_message))
        await thread.release(lambda: closed.append("closed"))
        with pytest.raises(HostFault, match="had the pool manager release the GPU driver"):
            await thread.call(int)
        thread.regain()
        assert await thread.call(int) == 0
        thread.regain()  # harmless
        thread.close()

    asyncio.run(scenario())
    assert closed == ["closed"]
    assert [message is None for message in messages] == [False, True]


def test_close_that_fails_is_reported_and_the_driver_stays_released() -> None:
    def close() -> None:
        raise HostFault("it cannot be closed")

    async def scenario() -> None:
        thread = DriverThread()
        with pytest.raises(HostFault, match="cannot be closed"):
            await thread.release(close)
        with pytest.raises(HostFault, match="had the pool manager release"):
            await thread.call(int)
        thread.close()

    asyncio.run(scenario())


def test_calls_at_once_wake_the_thread_up_once_and_an_error_is_its_own_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise HostFault("this one")

    async def scenario() -> None:
        thread = DriverThread()
        woken: list[object] = []
        submit = thread._thread.submit

        def wake(*call: Any) -> Any:
            woken.append(call)
            return submit(*call)

        monkeypatch.setattr(thread._thread, "submit", wake)
        held = threading.Event()
        first = asyncio.ensure_future(thread.call(held.wait, DEADLINE_S))
        await asyncio.sleep(0)
        calls = [thread.call(int, str(number)) for number in range(5)]
        answers = asyncio.gather(*calls, thread.call(fail), thread.call(int), return_exceptions=True)
        await asyncio.sleep(0)
        held.set()
        *numbers, error, last = await answers
        assert (await first, numbers, last, len(woken)) == (True, list(range(5)), 0, 1)
        assert isinstance(error, HostFault)
        thread.close()

    asyncio.run(scenario())


def test_close_cancels_the_calls_that_the_thread_has_not_begun() -> None:
    async def scenario() -> None:
        thread = DriverThread()
        held = threading.Event()
        first = asyncio.ensure_future(thread.call(held.wait, DEADLINE_S))
        behind = asyncio.ensure_future(thread.call(int))
        await asyncio.sleep(0)
        await async_wait_until(lambda: len(thread._calls) == 1, "the thread has begun")
        thread.close()
        with pytest.raises(asyncio.CancelledError):
            await behind
        held.set()
        assert await first

    asyncio.run(scenario())
