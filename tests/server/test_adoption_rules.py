"""Kernels that a server must not adopt: of other provisioners, root folders and users of the same account."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from fastgpu_jupyter.server.adoption import Adoption
from fastgpu_jupyter.server.kernel_records import KernelRecords
from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.schemas.kept_kernel import KeptKernel
from tests.helpers import alive
from tests.wire.test_kept_kernels import GONE


class Server:
    """The parts of a server that adoption needs, without kernels, and a process in place of a kernel."""

    def __init__(self, folder: Path, pid: int) -> None:
        managers: Any = AsyncMappingKernelManager
        self.kernels = managers(root_dir=str(folder))
        application = SimpleNamespace(
            kernel_manager=self.kernels,
            session_manager=None,
            kernel_websocket_connection_class=ZMQChannelsWebsocketConnection,
        )
        self._adoption = Adoption(
            application, KernelRecords("crash", 60, str(folder), logging.getLogger()), logging.getLogger()
        )
        self._kernel = kept_kernels.recorded(pid)
        self._folder = folder

    def adopt(self, **fields: Any) -> None:
        """Run with the record of one kernel, which must be as it was afterwards."""
        connection_file = self._folder / "kernel.json"
        connection_file.write_text('{"ip": "127.0.0.1", "transport": "tcp", "key": ""}')
        record = KeptKernel(
            kernel_id="one", kernelspec="fastgpu", user=os.getuid(), root=str(self._folder), keep="crash",
            orphan_after_s=60, server=GONE, kernel=self._kernel, connection_file=str(connection_file), created_at=1,
        )  # fmt: skip
        record = msgspec.structs.replace(record, **fields)
        path = kept_kernels.write(record)
        asyncio.run(self._adoption.run())
        self._adoption.stop()
        assert kept_kernels.read(path) == record, "the kernel is claimed"
        assert self.kernels.list_kernel_ids() == []
        assert self._kernel is not None
        assert alive(self._kernel.pid)


@pytest.fixture
def server(isolated: Path, installed: None) -> Iterator[Server]:
    """A server, and a process that is no kernel."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield Server(isolated, process.pid)
        process.kill()


def test_kernel_of_another_provisioner_is_left_alone(server: Server) -> None:
    """The kernelspec had FastGPU's provisioner when the kernel was started."""
    server.adopt(kernelspec="python3")


def test_kernel_of_another_server_is_left_alone(server: Server) -> None:
    server.adopt(root="/elsewhere")
    server.adopt(hub_prefix="/user/another/")
