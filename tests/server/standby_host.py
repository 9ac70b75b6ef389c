"""A multi-kernel manager with standby kernels in a thread of the tests, as a Jupyter server has them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.multikernelmanager import AsyncMultiKernelManager

from fastgpu_jupyter.server import standby
from fastgpu_jupyter.server.standby import StandbyKernels
from fastgpu_jupyter.server.standby_process import StandbyProcess
from tests.helpers import Kernel
from tests.waiting import DEADLINE_S, wait_until

T = TypeVar("T")


class StandbyHost:
    """Starts kernels, with standby kernels or without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="standby-host")
        self._thread.start()
        self._clients: dict[str, BlockingKernelClient] = {}
        self.manager, self.standby = self.call(self._begin())

    async def _begin(self) -> tuple[AsyncMultiKernelManager, StandbyKernels]:
        manager = AsyncMultiKernelManager(connection_dir=os.environ["JUPYTER_RUNTIME_DIR"])
        kernels = StandbyKernels(manager, wait_for_quiet=False)
        kernels.start()
        return manager, kernels

    def call(self, awaitable: Awaitable[T]) -> T:
        """Return what is awaited, in the thread of the kernels."""

        async def result() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(result(), self._loop).result(DEADLINE_S)

    def ready(self, **variables: str) -> StandbyProcess:
        """Return the standby kernel that the next launch with these variables will take."""

        def found() -> StandbyProcess | None:
            for ready in self.standby.waiting:
                if ready.start.environment.items() >= variables.items():
                    return ready
            return None

        standby.REFILL_AFTER_S = 0.0
        return wait_until(found, "a standby kernel is ready")

    def look(self) -> None:
        """Look at the standby kernels now, not at the next regular time."""
        self._loop.call_soon_threadsafe(self.standby._changed.set)

    def start(
        self, name: str = "fastgpu", cwd: Path | None = None, encryption: str = "disabled", **variables: str
    ) -> str:
        """Start a kernel with these variables in its environment; return its id."""
        env = {**os.environ, "JPY_SESSION_NAME": f"{self.folder}/a.ipynb", **variables}
        env.pop("PYTEST_CURRENT_TEST", None)  # another one in each test
        arguments: dict[str, Any] = {"kernel_name": name, "cwd": str(cwd or self.folder), "env": env}
        if encryption != "disabled":
            arguments["transport_encryption"] = encryption
        return str(self.call(self.manager.start_kernel(**arguments)))

    def kernel(self, kernel_id: str, *, is_ready: bool = True) -> Kernel:
        """Return a client of a kernel, which answers, unless ``is_ready`` is false."""
        client = self._clients[kernel_id] = BlockingKernelClient()
        client.load_connection_file(self.of(kernel_id).connection_file)
        client.start_channels()
        kernel = Kernel(client)
        if is_ready:
            kernel.wait_ready()
        return kernel

    def of(self, kernel_id: str) -> AsyncKernelManager:
        """Return the manager of a kernel."""
        manager = self.manager.get_kernel(kernel_id)
        assert isinstance(manager, AsyncKernelManager)
        return manager

    def pid(self, kernel_id: str) -> int:
        """Return the process of a kernel."""
        provisioner: Any = self.of(kernel_id).provisioner
        return int(provisioner.pid)

    def shut_down(self, kernel_id: str) -> None:
        """End a kernel."""
        if kernel_id in self._clients:
            self._clients.pop(kernel_id).stop_channels()
        self.call(self.manager.shutdown_kernel(kernel_id))

    def end(self) -> None:
        """End all kernels, the standby kernels and the thread."""
        for kernel_id in self.manager.list_kernel_ids():
            self.shut_down(kernel_id)
        self.call(self.standby.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
