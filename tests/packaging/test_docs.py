"""The README cannot rot: what can be configured, called or typed is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from traitlets import HasTraits
from traitlets.config import Configurable

from fastgpu_jupyter.cli import FastGPUApp
from fastgpu_jupyter.kernel.verbs import VERBS
from fastgpu_jupyter.pool.app import FastGPUPool
from fastgpu_jupyter.server.extension import FastGPUExtension
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from fastgpu_jupyter.server.routes import routes

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()


def own_settings(cls: type[Configurable]) -> list[str]:
    """What can be configured of a class and is not inherited."""
    bases = [base for base in cls.__bases__ if issubclass(base, HasTraits)]
    inherited = {name for base in bases for name in base.class_trait_names(config=True)}
    return sorted(f"{cls.__name__}.{name}" for name in set(cls.class_trait_names(config=True)) - inherited)


SETTINGS = [name for cls in (FastGPUPool, FastGPUProvisioner, FastGPUExtension) for name in own_settings(cls)]


def test_there_are_settings_to_look_for() -> None:
    assert "FastGPUPool.simulate" in SETTINGS
    assert len(SETTINGS) > 10


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_is_in_the_table(setting: str) -> None:
    assert f"\n| `{setting}` |" in README


def test_the_table_has_no_setting_that_is_gone() -> None:
    assert sorted(re.findall(r"\n\| `(FastGPU\w+\.\w+)` \|", README)) == sorted(SETTINGS)


@pytest.mark.parametrize("command", sorted(FastGPUApp.subcommands))
def test_each_command_is_in_the_table(command: str) -> None:
    assert f"\n| `jupyter fastgpu {command}" in README


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_each_verb_of_the_magic_is_in_the_table(verb: str) -> None:
    assert f"\n| `%fastgpu {verb}".rstrip() in README


def test_each_route_is_in_the_table() -> None:
    for pattern, handler in routes("/"):
        path = re.sub(r"\(\?P<lease_id>.*\)", "ID", pattern.removeprefix("/"))
        if "(" in path:
            continue  # the answer to anything else
        for method in ("GET", "DELETE", "POST"):
            if method.lower() in vars(handler):
                assert f"\n| `{method} {path}` |" in README


def test_each_plugin_is_named() -> None:
    for path in (ROOT / "labextension/schema").glob("*.json"):
        assert json.loads(path.read_text())["title"]
        assert f"`{path.stem}`" in README


def test_each_picture_and_file_that_it_names_is_there() -> None:
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / name).is_file()
    assert (ROOT / "docs/screenshot.png").stat().st_size < 150_000
