"""``compat.jax`` against the installed version, where there is one (``make test-versions`` can install it)."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastgpu_jupyter.compat.jax import backends_are_initialized

_PROGRAM = """
import jax
from fastgpu_jupyter.compat.jax import backends_are_initialized
before = backends_are_initialized(jax)
jax.devices()
print(before, backends_are_initialized(jax))
"""


@pytest.mark.slow
def test_backends_are_initialized_follows_the_first_use_of_a_device() -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True"]


def test_backends_are_initialized_of_an_unknown_version_returns_none() -> None:
    assert backends_are_initialized(SimpleNamespace()) is None
