"""A wheel of this source tree, and an environment that it was installed into.

With ``FASTGPU_FROM_CLONE=1`` the wheel is built from what a clone holds, its front end included, and installed alone
into a fresh environment, with what it needs from the package index: that takes minutes, and is part of ``make
test-long``. Otherwise they are the wheel that ``make`` built and the environment that it was installed into.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FROM_CLONE = os.environ.get("FASTGPU_FROM_CLONE") == "1"


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
    """An environment without Jupyter configuration and Python path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "FASTGPU", "PYTHON", "VIRTUAL_ENV"))}
    return kept | {"HOME": str(home), "JUPYTER_NO_CONFIG": "1", "PIP_CACHE_DIR": _pip_cache()}


def _pip_cache() -> str:
    return call(sys.executable, "-m", "pip", "cache", "dir").strip()


def copy_source(target: Path) -> None:
    """Copy what a clone would hold, plus what is not committed yet; nothing that was built."""
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


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `make` built, or the one that `pip wheel .` builds from a clone: front end included."""
    folder = ROOT / "dist"
    if FROM_CLONE:
        source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
        copy_source(source)
        call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        pytest.fail(f"There are {len(wheels)} wheels in {folder}: run `make .make/wheel` first.", pytrace=False)
    return wheels[0]


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command of an environment that has the wheel; from a clone, one that has nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    env = clean_environment(folder)
    prefix = Path(sys.prefix)
    if FROM_CLONE:
        prefix = folder / "venv"
        call(sys.executable, "-m", "venv", "--without-pip", prefix)
        call(sys.executable, "-m", "pip", "--python", prefix / "bin/python", "install", "--quiet", wheel, env=env)

    def run(*command: str) -> str:
        if command[0] == "pip":
            return call(sys.executable, "-m", "pip", "--python", prefix / "bin/python", *command[1:], env=env)
        return call(prefix / "bin" / command[0], *command[1:], cwd=folder, env=env)

    return run
