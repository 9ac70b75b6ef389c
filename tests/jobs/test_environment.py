"""The environment of a job: what is recorded of it, and that no secret is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastgpu_jupyter.jobs.environment import looks_secret, recorded, refused_names
from fastgpu_jupyter.wire import variables

ENVIRON = {
    "PATH": "/usr/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": "/code",
    "PYTHONSTARTUP": "/start.py",
    "OMP_NUM_THREADS": "4",
    "EDITOR": "vi",
    "MY_RATE": "0.1",
    "MY_API_KEY": "secret",
    "CONDA_TOKEN": "secret",
    "MY_STORE": "https://me:secret@host/",
}


def test_environment_has_the_variables_of_the_list_only(tmp_path: Path) -> None:
    found = recorded(ENVIRON, folder=tmp_path)
    assert found["interpreter"] == sys.executable
    assert found["cwd"] == str(tmp_path)
    assert sorted(found["variables"]) == ["LC_ALL", "OMP_NUM_THREADS", "PATH", "PYTHONPATH"]


def test_environment_has_what_the_user_names_and_no_secret() -> None:
    found = recorded(ENVIRON, ["MY_*", "CONDA_TOKEN", "EDITOR"])["variables"]
    assert found["MY_RATE"] == "0.1"
    assert found["EDITOR"] == "vi"
    assert not [value for value in found.values() if "secret" in value]
    assert refused_names(ENVIRON, ["MY_*", "CONDA_TOKEN"]) == ["CONDA_TOKEN", "MY_API_KEY", "MY_STORE"]
    assert refused_names(ENVIRON, []) == []


def test_environment_has_nothing_of_the_lease_of_the_kernel_that_submits() -> None:
    lease = {
        variables.LEASE: "1",
        variables.ANCESTOR_LEASES: "0 1",
        variables.REPLACED: '{"OMP_NUM_THREADS": "8", "TZ": null}',
        "TZ": "UTC",
    }
    found = recorded({**ENVIRON, **lease})["variables"]
    assert found["OMP_NUM_THREADS"] == "8"
    assert "TZ" not in found
    assert variables.LEASE not in found
    assert found[variables.ANCESTOR_LEASES] == "0 1"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("DB_PASSWORD", True),
        ("DB_PWD", True),
        ("SSH_AUTH_SOCK", True),
        ("WANDB_API_KEY", True),
        ("GOOGLE_APPLICATION_CREDENTIALS", True),
        ("KEYBOARD", False),
        ("MONKEYS", False),
        ("TORCH_HOME", False),
        ("PWD", True),
    ],
)
def test_secret_is_known_by_its_name(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret
