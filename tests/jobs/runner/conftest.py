"""One pool manager, and the dispatcher that runners start, for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.jobs.client import running_dispatcher
from tests.conftest import isolate
from tests.helpers import PoolProcess, alive
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def shared_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A pool of one simulated device in an environment of its own."""
    folder = tmp_path_factory.mktemp("pool")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        process = PoolProcess(folder, "1xA100-80GB")
        process.start()
        yield process
        dispatcher = running_dispatcher()
        if dispatcher is not None:
            pid = dispatcher.ping()["pid"]
            dispatcher.stop()
            dispatcher.close()
            wait_until(lambda: not alive(pid), "the dispatcher ends")
        process.end()


@pytest.fixture
def pool(shared_pool: PoolProcess) -> Iterator[PoolProcess]:
    """The pool without any lease."""
    yield shared_pool

    def is_free() -> bool:
        try:
            return not shared_pool.live()
        except PoolUnreachable:  # it was killed, and is started again
            return False

    wait_until(is_free, "the leases of the test have ended")
