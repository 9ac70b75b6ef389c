"""A wheel of this source tree, and a fresh environment that it alone was installed into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def call(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command to its end and give what it printed; where it failed, that is the failure's text."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4000:]}", pytrace=False
        )
    return done.stdout


def clean_environment(home: Path) -> dict[str, str]:
    """Nobody's Jupyter configuration and nobody's Python path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "FASTGPU", "PYTHON", "VIRTUAL_ENV"))}
    return kept | {"HOME": str(home), "JUPYTER_NO_CONFIG": "1", "PIP_CACHE_DIR": _pip_cache()}


def _pip_cache() -> str:
    return call(sys.executable, "-m", "pip", "cache", "dir").strip()


@pytest.fixture(scope="session")
def source_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone would hold, plus what is not committed yet; nothing that was built."""
    target = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((ROOT / name).read_bytes())
            (target / name).chmod((ROOT / name).stat().st_mode)
    return target


@pytest.fixture(scope="session")
def wheel(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip wheel .` builds it from a clone: front end included, by the build hook."""
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source_copy)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command of an environment into which `pip install WHEEL` was all that was installed."""
    folder = tmp_path_factory.mktemp("fresh")
    env = clean_environment(folder)
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel, env=env)

    def run(*command: str) -> str:
        if command[0] == "pip":
            return call(sys.executable, "-m", "pip", "--python", python, *command[1:], env=env)
        return call(folder / "venv/bin" / command[0], *command[1:], cwd=folder, env=env)

    return run
