"""``compat.torch`` against the installed version, where there is one (``make test-versions`` can install it)."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.compat.torch import call_when_cuda_initializes


@pytest.mark.slow
def test_call_when_cuda_initializes_does_not_initialize_cuda() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    called: list[bool] = []
    call_when_cuda_initializes(torch, lambda: called.append(True))
    assert not torch.cuda.is_initialized()
    assert called == []
