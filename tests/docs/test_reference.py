"""The reference pages are made from the code: each page has what the code defines."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from fastgpu_jupyter.cli import FastGPUApp
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.kernel.verbs import VERBS
from fastgpu_jupyter.wire.openapi import document

ROOT = Path(__file__).resolve().parents[2]


def load_extension() -> ModuleType:
    """Return the Sphinx extension, which is not part of the package."""
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs/_ext/reference_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return load_extension()


@pytest.mark.slow
def test_command_line_page_has_every_command(reference: ModuleType) -> None:
    page = reference.command_line()
    assert [name for name in FastGPUApp.subcommands if f"\n## `jupyter fastgpu {name}`\n" not in page] == []


@pytest.mark.slow
def test_configuration_page_has_every_setting_with_its_meaning(reference: ModuleType) -> None:
    page = reference.configuration()
    for cls in reference.configurable_classes():
        for name, trait in reference.own_traits(cls):
            assert f"\n| `{cls.__name__}.{name}` | " in page
            assert len(trait.help.split()) >= 3, f"{cls.__name__}.{name} has no help"


@pytest.mark.slow
def test_magics_page_has_every_verb(reference: ModuleType) -> None:
    page = reference.magics()
    assert [verb for verb in VERBS if f"| `%fastgpu {verb}".rstrip() not in page] == []


@pytest.mark.slow
def test_rest_page_has_every_operation_with_a_summary(reference: ModuleType) -> None:
    page = reference.rest()
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            assert f"\n| `{method.upper()} {path}` | {operation['summary']} |" in page


@pytest.mark.slow
def test_events_page_has_every_event(reference: ModuleType) -> None:
    page = reference.events()
    assert [cls.__name__ for cls in get_args(Event) if f"\n| `{cls.__name__}` | " not in page] == []


@pytest.mark.slow
def test_documentation_builds_without_warnings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference/configuration.generated.html").is_file()
