"""Two Jupyter servers of one user that are started at once: both run cells, with one pool manager."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import ServerProcess
from tests.server.kernel_socket import kernel_socket


@pytest.mark.slow
def test_kernels_of_two_servers_that_start_at_once_run_cells(
    isolated: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pool manager serves before: each server starts one, and one of them stays."""
    monkeypatch.setenv("FASTGPU_SIMULATE", "2xA100-80GB")
    servers = []
    for name in ("one", "two"):
        (isolated / name).mkdir()
        servers.append(ServerProcess(isolated / name))
    try:
        with ThreadPoolExecutor(len(servers)) as threads:
            list(threads.map(ServerProcess.start, servers))
        for server in servers:
            kernel = server.start_session("same.ipynb")["kernel"]["id"]
            with kernel_socket(server, kernel, "page") as page:
                assert page.run("print(6 * 7)") == "42\n"
        leases = PoolClient(user_socket()).leases()
        assert [lease["state"] for lease in leases] == ["active", "active"]
    finally:
        for server in servers:
            server.end()
