"""What a kernel does with its lease when a server adopts it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from fastgpu_jupyter.kernel.orphan import Orphan
from fastgpu_jupyter.wire.process_identity import identify


def test_first_request_of_each_server_settles_the_lease() -> None:
    """Also where the kernel has known no other server: the one before it may have ended as the lease's holder."""
    server, done = identify(os.getpid()), []
    assert server is not None
    kernel = SimpleNamespace(session=SimpleNamespace(send=None), iopub_thread=SimpleNamespace(send_multipart=None))
    kernel.gate = None
    orphan = Orphan(kernel, None, [])
    lease: Any = orphan.lease
    lease._bind = lambda: done.append("holds it")
    lease._hold = lambda: done.append("has its retention")
    for _ in range(2):  # servers ask again until a browser is there
        orphan.accept(server)
    assert done == ["holds it", "has its retention"]
