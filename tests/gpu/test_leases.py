"""The real pool manager and real kernels on a real GPU: leases by device and by part, and what each is seen to use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.units import GIB
from tests.gpu.conftest import Note
from tests.helpers import KernelHelper, PoolProcess
from tests.waiting import wait_until

TAKE = """
import torch
kept = torch.empty({bytes}, dtype=torch.uint8, device="cuda").fill_(7)
torch.cuda.synchronize()
print(torch.cuda.device_count(), torch.cuda.get_device_properties(0).total_memory)
"""


@pytest.fixture
def pool(gpu: str, isolated: Path) -> Iterator[PoolProcess]:
    """A pool manager of this machine's GPUs, serving."""
    pytest.importorskip("torch")
    process = PoolProcess(isolated, simulate="")
    process.start()
    yield process
    process.end()


@pytest.mark.parametrize("profile", ["full", "half"])
def test_kernel_on_a_lease_computes_and_is_measured(
    pool: PoolProcess, kernels: KernelHelper, note: Note, profile: str
) -> None:
    if profile != "full" and "shared" not in pool.client.devices()[0]["capabilities"]["mechanisms"]:
        pytest.skip("the GPUs of this pool are leased whole")
    both = [kernels.start() for _ in range(1 if profile == "full" else 2)]
    for kernel in both:
        if profile != "full":
            kernel.run("%fastgpu release")
            kernel.run(f"%fastgpu request {profile}")
        ran = kernel.run(TAKE.format(bytes=2 * GIB))
        assert ran.stream().split()[:1] == ["1"], ran.stream("stderr")
    for kernel in both:
        lease = wait_until(partial(seen, pool, kernel.pid, 2 * GIB), "its memory is seen")
        used_bytes = lease["memory"]["used_bytes"]
        note(f"memory of a lease of {profile} with 2 GiB in PyTorch", f"{used_bytes / GIB:.2f} GiB")
        assert profile == "full" or used_bytes < 4 * GIB
        pool.client.release(lease["id"])
        pool.wait_state(lease["id"], "draining")  # its memory is still there
    for kernel in both:
        kernels.stop(kernel)
    wait_until(lambda: not pool.live(), "what a kernel had on the GPU went with it")


def seen(pool: PoolProcess, pid: int, memory_bytes: int) -> Any:
    """The lease of the kernel, once it is seen to use as much."""
    mine = next((view for view in pool.live() if view["holder"]["pid"] == pid), None)
    return mine if mine is not None and (mine["memory"]["used_bytes"] or 0) >= memory_bytes else None
