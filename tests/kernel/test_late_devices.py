"""Which libraries do not see a device that becomes visible later."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.kernel.late_devices import blind_libraries
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


def jax(looked: bool | None) -> Any:
    bridge = SimpleNamespace() if looked is None else SimpleNamespace(backends_are_initialized=lambda: looked)
    return SimpleNamespace(_src=SimpleNamespace(xla_bridge=bridge))


@pytest.mark.parametrize(
    ("loaded", "modules", "named"),
    [
        (False, {}, []),
        (False, {"torch": None, "jax": jax(looked=False)}, []),
        (False, {"jax": jax(looked=None)}, []),
        (False, {"torch": None, "jax": jax(looked=True)}, ["JAX"]),
        (True, {"torch": None, "numba": None}, ["PyTorch", "Numba"]),
        (True, {}, ["A library"]),
    ],
)
def test_blind_libraries(
    loaded: bool, modules: dict[str, Any], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.compat.torch.driver_is_loaded", lambda: loaded)
    assert blind_libraries(modules) == named
