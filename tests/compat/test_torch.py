"""``compat.torch`` against the installed version, where there is one (``make test-versions`` can install it)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastgpu_jupyter.compat.torch import call_when_cuda_initializes
from tests.libcuda.stub import CudaStub

_LOAD = """
import ctypes
from fastgpu_jupyter.compat.torch import driver_is_loaded
before = driver_is_loaded()
ctypes.CDLL("libcuda.so.1")
print(before, driver_is_loaded())
"""


@pytest.mark.slow
def test_driver_is_loaded_follows_the_loading_of_the_library(cuda_stub: CudaStub) -> None:
    environ = {**os.environ, **cuda_stub.environment()}
    done = subprocess.run([sys.executable, "-c", _LOAD], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.slow
def test_call_when_cuda_initializes_does_not_initialize_cuda() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    called: list[bool] = []
    call_when_cuda_initializes(torch, lambda: called.append(True))
    assert not torch.cuda.is_initialized()
    assert called == []
