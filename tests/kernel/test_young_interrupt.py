"""An interrupt of a kernel that has just started does not cost it what is parked meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.server import local_kernel
from tests.helpers import KernelHelper, PoolProcess
from tests.waiting import wait_until


@pytest.mark.slow
def test_interrupted_young_kernel_stays_the_holder(
    pool: PoolProcess, kernels: KernelHelper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_kernel, "BOOT_S", 3600.0)
    kernel = kernels.start()
    cell = kernel.run_until(tmp_path / "never")
    wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["busy"], "the pool knows of the cell")
    assert kernel.manager is not None
    kernel.manager.interrupt_kernel()
    # The process that holds the lease when it is parked is the one that gets its memory back.
    assert pool.lease(kernel.lease_id)["holder"]["pid"] == kernel.pid
    assert kernel.collect(cell).status == "error"
