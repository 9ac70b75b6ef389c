"""``compat.jupyter_client`` against the installed version."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.multikernelmanager import AsyncMultiKernelManager

from fastgpu_jupyter.compat.jupyter_client import forget_pending_kernel


class _RefusingManager(AsyncKernelManager):
    """A kernel manager whose kernels cannot be launched."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        raise RuntimeError("refused")

    _launch_kernel = _async_launch_kernel

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=["true"], display_name="none", language="none", metadata={})


@pytest.mark.slow
def test_forget_pending_kernel_after_a_failed_launch_lets_the_manager_stop(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))

    async def launch_and_stop() -> None:
        kernels = AsyncMultiKernelManager(connection_dir=str(tmp_path))
        kernels.kernel_manager_factory = _RefusingManager
        with pytest.raises(RuntimeError, match="refused"):
            await kernels.start_kernel(kernel_id="one", kernel_name="none")
        assert forget_pending_kernel(kernels, "one") is True
        await kernels.shutdown_all()

    asyncio.run(launch_and_stop())


def test_forget_pending_kernel_of_an_unknown_kernel_returns_false() -> None:
    kernels = AsyncMultiKernelManager()
    assert isinstance(kernels._pending_kernels, dict)
    assert forget_pending_kernel(kernels, "unknown") is False


def test_forget_pending_kernel_of_a_listed_kernel_removes_it() -> None:
    kernels = AsyncMultiKernelManager()
    kernels._pending_kernels["one"] = asyncio.Future(loop=(loop := asyncio.new_event_loop()))
    assert forget_pending_kernel(kernels, "one") is True
    assert kernels._pending_kernels == {}
    loop.close()


def test_forget_pending_kernel_without_a_multi_kernel_manager_returns_false() -> None:
    assert forget_pending_kernel(None, "one") is False
