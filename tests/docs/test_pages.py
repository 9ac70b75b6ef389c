"""What the written pages and the README name exists: settings, commands, verbs, plugins and files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from traitlets import HasTraits

from fastgpu_jupyter.cli import FastGPUApp
from fastgpu_jupyter.kernel.cell_kinds import CELL_VERBS, JOB_VERBS
from fastgpu_jupyter.kernel.verbs import VERBS
from tests.docs.test_reference import load_extension

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "RELEASING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if ".generated" not in path.name),
]
README_LINES_MAX = 150


def names_in(pattern: str) -> set[str]:
    """Return what the first group of ``pattern`` matches in all pages."""
    return {name for page in PAGES for name in re.findall(pattern, page.read_text(encoding="utf-8"))}


@pytest.mark.slow
def test_settings_that_pages_name_exist() -> None:
    reference = load_extension()
    classes = reference.configurable_classes()
    known = {f"{cls.__name__}.{name}" for cls in classes for name, _ in reference.own_traits(cls)}
    mentioned = names_in(rf"`(?:--|c\.)?((?:{'|'.join(cls.__name__ for cls in classes)})\.\w+)")
    assert len(mentioned) > 10
    assert mentioned <= known
    assert all(issubclass(cls, HasTraits) for cls in classes)


def test_commands_that_pages_name_exist() -> None:
    mentioned = names_in(r"jupyter fastgpu ([a-z]+)")
    assert len(mentioned) > 10
    assert mentioned <= set(FastGPUApp.subcommands)


def test_verbs_that_pages_name_exist() -> None:
    mentioned = names_in(r"(?<!%)%fastgpu ([a-z]+)")
    assert len(mentioned) > 5
    assert mentioned <= set(VERBS)
    assert names_in(r"%%fastgpu ([a-z]+)") == {*CELL_VERBS, *JOB_VERBS}


def test_plugins_that_the_install_page_names_are_those_with_settings() -> None:
    page = (ROOT / "docs/admin/install.md").read_text(encoding="utf-8")
    for path in (ROOT / "labextension/schema").glob("*.json"):
        assert f"`{path.stem}`" in page


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_links_exist(page: Path) -> None:
    for name in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / name).is_file() or ".generated" in name, f"{page.name} links {name}"


def test_source_files_that_the_map_of_the_code_names_exist() -> None:
    text = (ROOT / "docs/contributing/code.md").read_text(encoding="utf-8")
    mentioned = set(re.findall(r"`((?:\w+/)+[\w.]*)`", text))
    assert len(mentioned) > 8
    assert [name for name in sorted(mentioned) if not (ROOT / "fastgpu_jupyter" / name).exists()] == []


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs/pictures").glob("*.png"))
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size >= 100_000] == []
