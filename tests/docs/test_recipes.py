"""Each recipe of the contributor's guide is a patch that applies, passes the linters and the tests that it names.

A patch begins with lines that ``git apply`` ignores: ``Recipe:`` what it adds, ``Files-max:`` how many files it may
touch (generated files, tests and documentation do not count), ``Tests:`` the paths for pytest and, where files are
generated from what it changes, ``Then:`` the targets of make that write them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "docs/contributing/recipes"
PATCHES = sorted(RECIPES.glob("*.patch"))
#: Files that a recipe may change without limit.
NOT_COUNTED = re.compile(r"^(tests|docs)/|/generated/|^labextension/(openapi\.json|test/)|\.md$")


#: What a target of make runs, without the steps that prepare a clean clone.
GENERATORS = {"golden": (sys.executable, "-m", "tests.golden.make", "tests/golden", "next")}


def header(patch: Path, name: str, default: str | None = None) -> str:
    """Return the value of a line ``name: value`` before the first diff, or ``default`` where there is no such line."""
    match = re.search(rf"^{name}: (.+)$", patch.read_text(encoding="utf-8").partition("\ndiff --git")[0], re.MULTILINE)
    value = match[1] if match else default
    assert value is not None, f"{patch.name} has no line '{name}:'"
    return value


def touched(patch: Path) -> list[str]:
    """Return the files of the patch that count."""
    names = re.findall(r"^diff --git a/(\S+) b/", patch.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for name in names if not NOT_COUNTED.search(name)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout: committed files as they are, with the caches that make the linters quick."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder = tmp_path / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if (ROOT / ".mypy_cache").is_dir():
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    (folder / "labextension/node_modules").symlink_to(ROOT / "labextension/node_modules")
    return folder


def run(folder: Path, *command: str) -> None:
    """Run a command in ``folder``; fail with its output where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_there_is_a_recipe_for_an_action_a_driver_and_a_verb() -> None:
    assert {patch.stem for patch in PATCHES} >= {"lease-action", "device-driver", "magic-verb"}


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_recipe_touches_few_files(patch: Path) -> None:
    assert len(touched(patch)) <= int(header(patch, "Files-max")), touched(patch)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_recipe_applies_and_passes_linters_and_tests(patch: Path, checkout: Path) -> None:
    run(checkout, "git", "apply", "--whitespace=error", str(patch))
    python = sys.executable
    for target in header(patch, "Then", "").split():
        run(checkout, *GENERATORS[target])
    run(checkout, python, "-m", "ruff", "check", "--no-cache", ".")
    run(checkout, python, "-m", "ruff", "format", "--check", "--no-cache", ".")
    run(checkout, python, "-m", "mypy")
    if "labextension/src" in patch.read_text(encoding="utf-8"):
        run(checkout / "labextension", "npm", "run", "--silent", "lint")
        run(checkout / "labextension", "npx", "--no-install", "tsc", "--noEmit")
    run(checkout, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *shlex.split(header(patch, "Tests")))
