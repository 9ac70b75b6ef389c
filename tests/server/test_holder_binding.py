"""The order of the bindings of one lease."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from fastgpu_jupyter.server.holder_binding import HolderBinding


class FakeLease:
    """Records which process was made the holder."""

    def __init__(self) -> None:
        self.bound: list[int | None] = []

    def bind(self, pid: int | None) -> None:
        self.bound.append(pid)


def test_binding_of_a_process_is_not_made_after_a_later_one() -> None:
    lease = FakeLease()
    binding = HolderBinding(cast(Any, lease))
    outdated = binding._begin(77)
    asyncio.run(binding.bind_server())
    assert binding._bind(77, outdated) is None
    assert lease.bound == [None]


def test_binding_of_the_server_is_made_beside_another_one() -> None:
    lease = FakeLease()
    binding = HolderBinding(cast(Any, lease))
    first = binding._begin(None)
    asyncio.run(binding.bind_server())
    assert binding._bind(None, first) is None
    assert lease.bound == [None, None]
