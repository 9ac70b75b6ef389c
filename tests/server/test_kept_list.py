"""The list of kernels that run without a server, over REST, and how one of them is ended."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import Conflict
from fastgpu_jupyter.wire import kept_kernels, kept_list
from fastgpu_jupyter.wire.schemas.kept_kernel import KeptKernel, RecordedProcess
from tests.server.conftest import Running

KERNEL = "00000000-0000-4000-8000-00000000000{}"


def write_orphan(notebook: str, kernel: RecordedProcess | None, number: int = 9) -> Path:
    """Write the record of a kernel whose server, of another root folder, has ended; return its path."""
    with subprocess.Popen(["true"]) as server:
        gone = kept_kernels.recorded(server.pid)
    assert gone is not None
    kept = KeptKernel(
        kernel_id=KERNEL.format(number), kernelspec="fastgpu", user=os.getuid(), root="/elsewhere", keep="crash",
        orphan_after_s=60, server=gone, kernel=kernel, connection_file="/nowhere.json",
        notebook=f"/elsewhere/{notebook}", created_at=0,
    )  # fmt: skip
    return kept_kernels.write(kept)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in place of a kernel."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_kernels_without_a_server_are_listed_and_ended(running: Running, sleeper: subprocess.Popen[bytes]) -> None:
    jupyter = running.jupyter
    assert jupyter.call("GET", "fastgpu/api/kept_kernels") == (200, {"kernels": []})
    path = write_orphan("1.ipynb", kept_kernels.recorded(sleeper.pid), 1)
    stated = json.dumps({"boot_id": "", "pid": 1, "start_time": 1, "orphaned_at": 17, "ends_at": True}).encode()
    kept_kernels.identity_path(path).write_bytes(stated)
    ended = write_orphan("2.ipynb", RecordedProcess(boot_id="another", pid=sleeper.pid, start_time=1), 2)
    starting = write_orphan("3.ipynb", None, 3)

    _, answer = jupyter.call("GET", "fastgpu/api/kept_kernels")
    first, second = answer["kernels"]
    assert first["memory_bytes"] > 0
    known = {"kernelspec": "fastgpu", "root": "/elsewhere", "ends_at": None, "lease_id": None}
    assert first == known | {
        "kernel_id": KERNEL.format(1), "notebook": "/elsewhere/1.ipynb", "state": "unknown", "since": 17,
        "memory_bytes": first["memory_bytes"],
    }  # fmt: skip
    assert second == known | {
        "kernel_id": KERNEL.format(3), "notebook": "/elsewhere/3.ipynb", "state": "starting", "since": None,
        "memory_bytes": None,
    }  # fmt: skip

    assert kept_list.found_by("1.ipynb").path == path
    with pytest.raises(Conflict):
        kept_list.found_by(KERNEL.format("")[:20])
    status, answer = jupyter.call("DELETE", f"fastgpu/api/kept_kernels/{KERNEL.format(3)}")
    assert (status, answer["message"].startswith("The kernel ")) == (409, True)
    status, answer = jupyter.call("DELETE", f"fastgpu/api/kept_kernels/{KERNEL.format(2)}")
    assert (status, answer["code"]) == (404, "not_found")
    starting.unlink()
    ended.unlink()
    assert jupyter.call("DELETE", f"fastgpu/api/kept_kernels/{KERNEL.format(1)}") == (200, {"kernels": []})
    assert sleeper.wait(10) != 0
    assert not path.exists()
