"""The thread of a driver: one that an administrator released is not used until it is to be used again."""

from __future__ import annotations

import asyncio

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.driver_thread import DriverThread


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
