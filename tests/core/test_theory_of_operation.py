"""The examples in the documentation of the packages do what they say."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from fastgpu_jupyter.core import placement, scheduling


@pytest.mark.parametrize("package", [placement, scheduling], ids=["placement", "scheduling"])
def test_documentation_examples_run_as_written(package: ModuleType) -> None:
    result = doctest.testmod(package)
    assert result.failed == 0
    assert result.attempted > 0
