"""``compat.jax`` against the installed version, where there is one (``make test-versions`` can install it)."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastgpu_jupyter.compat.jax import MEMORY_FRACTIONS, backends_are_initialized, set_memory_fraction

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


@pytest.mark.slow
def test_installed_jaxlib_reads_the_variable_that_is_set_for_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    jaxlib = pytest.importorskip("jaxlib", reason="JAX is not installed")
    from importlib import import_module

    options = import_module("jaxlib.xla_client").generate_pjrt_gpu_plugin_options
    for name in MEMORY_FRACTIONS:
        monkeypatch.delenv(name, raising=False)
    environ = dict.fromkeys(MEMORY_FRACTIONS, "0.9")
    set_memory_fraction(environ, "0.25", jaxlib.__version__)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert options()["memory_fraction"] == 0.25
