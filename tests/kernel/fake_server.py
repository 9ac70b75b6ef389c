"""A program that starts one kernel, as a Jupyter server does: ``python -m tests.kernel.fake_server FOLDER SETTINGS``.

``SETTINGS`` are JSON: ``keep`` (the variables of a kernel that is kept, or null) and ``binds`` (whether the kernel
becomes the holder of its lease). It prints one line of JSON: ``connection_file``, ``pid``, ``lease_id`` and ``record``.
It is there to be killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any
from uuid import uuid4

from jupyter_client.manager import KernelManager
from msgspec.structs import replace

from fastgpu_jupyter.server.holder_binding import HolderBinding
from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.schemas.kept_kernel import KeptKernel
from fastgpu_jupyter.wire.variables import KEPT
from tests.helpers import provisioner_of


async def _forget_to_bind(_binding: HolderBinding, _pid: int) -> None:
    """Do nothing, like a server that is killed before it binds the kernel."""


def main() -> None:
    """Start the kernel, say where it is, and sleep."""
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    if not settings["binds"]:
        HolderBinding.bind_kernel = _forget_to_bind  # type: ignore[method-assign, assignment]
    manager = KernelManager(kernel_name="fastgpu", transport="ipc", ip=f"{folder}/kernel")
    server = kept_kernels.recorded(os.getpid())
    assert server is not None
    record = KeptKernel(
        kernel_id=str(uuid4()), kernelspec="fastgpu", user=os.getuid(), root=folder, keep="crash", orphan_after_s=3600,
        server=server, connection_file="", notebook="Untitled.ipynb", created_at=time.time_ns() // 10**6,
    )  # fmt: skip
    path = kept_kernels.write(record)
    keep = {**settings["keep"], KEPT: str(path)} if settings["keep"] else {}
    manager.start_kernel(kernel_id=record.kernel_id, env={**os.environ, **keep}, cwd=folder)
    kept_kernels.write(replace(record, connection_file=manager.connection_file))
    provisioner = provisioner_of(manager)
    started: dict[str, Any] = {
        "connection_file": manager.connection_file,
        "pid": provisioner.pid,
        "lease_id": provisioner.lease_id,
        "record": str(path),
    }
    sys.stdout.write(json.dumps(started) + "\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
