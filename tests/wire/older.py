"""The package as it was before processes stated their version, from the history of this repository."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fastgpu_jupyter.wire.locate import user_socket

ROOT = Path(__file__).resolve().parents[2]
#: The last commit without a version in requests and answers.
BEFORE = "d5e6a7a1fee712cb80fd18d89aaebfc2c2083ddc"


def older_package(folder: Path) -> Path:
    """Return a folder with the former package; skip the test in a checkout without that commit."""
    command = ["git", "-C", str(ROOT), "archive", BEFORE, "fastgpu_jupyter"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the history of this checkout does not have commit {BEFORE}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def start_older_pool(folder: Path, simulate: str) -> subprocess.Popen[bytes]:
    """Start the pool manager of the former package at the socket of this user, which it named otherwise."""
    user_socket().parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate", simulate, f"--socket={user_socket()}"]
    with (folder / "pool.out").open("wb") as out:
        return subprocess.Popen(command, env=older_environment(folder), cwd=folder, stdout=out, stderr=out)


def older_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that imports the former package from ``folder``."""
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "FASTGPU_SOCKET": str(user_socket())}


def run_older(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``jupyter fastgpu WORDS`` of the former package to its end."""
    command = [sys.executable, "-m", "fastgpu_jupyter", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=older_environment(folder), cwd=folder, timeout=60, check=False
    )
