"""The hook that checks the subject of a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[2] / ".ci/commit-subject"


def check(tmp_path: Path, message: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "message"
    path.write_text(message)
    return subprocess.run([HOOK, path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "message",
    [
        "scheduler: compute overdue requests once",
        "tests/kernel: wait for the grant\n\nThe body may have any length that the author finds useful for the reader.",
        "wire, pool/http: group the fields of a lease",
        "Merge branch 'main' into topic",
        "# a comment of the editor\ndocs: add the tutorial",
    ],
)
def test_commit_subject_accepts_area_and_imperative(tmp_path: Path, message: str) -> None:
    assert check(tmp_path, message).returncode == 0


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("Compute overdue requests once", "area"),
        ("scheduler: " + "x" * 62, "72 are allowed"),
        ("scheduler:compute", "area"),
        ("", "area"),
    ],
)
def test_commit_subject_refuses_other_forms(tmp_path: Path, message: str, says: str) -> None:
    done = check(tmp_path, message)
    assert done.returncode == 1
    assert says in done.stdout
