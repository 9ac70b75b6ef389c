"""The counters of frameworks: read where they are initialized, never with an effect, unknown where one fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fastgpu_jupyter.kernel.framework_memory import FrameworkMemory, read


def torch(*, initialized: bool = True) -> Any:
    def never() -> int:
        raise AssertionError("a call that initializes CUDA")

    cuda = SimpleNamespace(
        is_initialized=lambda: initialized,
        device_count=(lambda: 2) if initialized else never,
        max_memory_allocated=lambda device: 100 + device,
        max_memory_reserved=lambda device: 1000 + device,
    )
    return SimpleNamespace(cuda=cuda)


def jax(stats: dict[str, int] | None, *, initialized: bool = True, platform: str = "gpu") -> Any:
    device = SimpleNamespace(platform=platform, memory_stats=lambda: stats)
    bridge = SimpleNamespace(backends_are_initialized=lambda: initialized)
    return SimpleNamespace(local_devices=lambda: [device], _src=SimpleNamespace(xla_bridge=bridge))


PREALLOCATED = {"peak_bytes_in_use": 7, "bytes_limit": 60_000}


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ({}, None),
        ({"torch": torch()}, FrameworkMemory(201, 2001)),
        ({"torch": torch(initialized=False)}, None),
        ({"jax": jax(PREALLOCATED)}, FrameworkMemory(7, 60_000)),
        ({"jax": jax({**PREALLOCATED, "peak_pool_bytes": 50_000})}, FrameworkMemory(7, 50_000)),
        ({"jax": jax(PREALLOCATED, initialized=False)}, None),
        ({"jax": jax(None)}, None),
        ({"jax": jax(PREALLOCATED, platform="cpu")}, None),
        ({"torch": torch(), "jax": jax(PREALLOCATED)}, FrameworkMemory(208, 62_001)),
        ({"torch": torch(), "jax": jax({})}, FrameworkMemory(201, 2001)),
        ({"torch": torch(), "jax": jax({"bytes_limit": 1})}, None),  # one that fails: nothing is known of the sum
        ({"torch": SimpleNamespace()}, None),  # one that is still being imported
    ],
)
def test_counters_are_summed_over_initialized_frameworks(
    modules: dict[str, Any], expected: FrameworkMemory | None
) -> None:
    assert read(modules) == expected
