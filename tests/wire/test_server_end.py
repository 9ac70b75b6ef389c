"""What ends together with a Jupyter server: containers and services as /proc and systemd show them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import server_end
from fastgpu_jupyter.wire.host_identity import FIRST_PID_NAMESPACE, PID_NAMESPACE_FILE

PID = 4242
IN_CONTAINER = PID_NAMESPACE_FILE.stat().st_ino != FIRST_PID_NAMESPACE


def proc(folder: Path, *, cgroup: str = "0::/\n", parent: int = 7, first: str = "systemd") -> Path:
    own = folder / str(PID)
    (own / "ns").mkdir(parents=True)
    (own / "ns/pid").symlink_to("/proc/self/ns/pid")
    (own / "cgroup").write_text(cgroup)
    (own / "stat").write_text(f"{PID} (jupyter lab) S {parent} 1 1 0")
    (folder / "1").mkdir()
    (folder / "1/comm").write_text(f"{first}\n")
    return folder


def code_of(folder: Path, mode: str | None = "control-group") -> str | None:
    found = server_end.end_with_server(PID, folder, lambda unit, of_user: mode)
    return None if found is None else found.code


def test_first_process_of_a_container_ends_it() -> None:
    found = server_end.end_with_server(1)
    assert found is not None
    assert found.code == "kept.ends_with_container"


@pytest.mark.parametrize(
    ("cgroup", "mode", "code"),
    [
        ("0::/system.slice/jupyter-alice.service\n", "control-group", "kept.ends_with_service"),
        ("0::/system.slice/jupyter-alice.service\n", "mixed", "kept.ends_with_service"),
        ("0::/system.slice/jupyter-alice.service\n", "process", None),
        ("0::/system.slice/jupyter-alice.service\n", None, "kept.may_end_with_service"),
        ("12:cpu:/x\n1:name=systemd:/system.slice/jupyter.service\n", "control-group", "kept.ends_with_service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "control-group", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal.scope\n", "control-group", None),
        ("0::/system.slice/docker-0123.scope\n", "control-group", "kept.ends_with_container"),
        ("0::/\n", "control-group", None),
        ("", "control-group", None),
        ("damaged\n", "control-group", None),
    ],
)
def test_end_with_server_follows_the_control_group(
    tmp_path: Path, cgroup: str, mode: str | None, code: str | None
) -> None:
    assert code_of(proc(tmp_path, cgroup=cgroup), mode) == code


def test_service_of_the_user_is_asked_of_the_users_manager(tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    def mode(unit: str, of_user: bool) -> str:
        asked.append((unit, of_user))
        return "control-group"

    cgroup = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/lab.service\n"
    assert server_end.end_with_server(PID, proc(tmp_path, cgroup=cgroup), mode) is not None
    assert asked == [("lab.service", True)]


@pytest.mark.parametrize(("first", "ends"), [("tini", IN_CONTAINER), ("systemd", False)])
def test_only_child_of_a_containers_first_process_ends_it(tmp_path: Path, first: str, ends: bool) -> None:
    assert (code_of(proc(tmp_path, parent=1, first=first)) == "kept.ends_with_container") is ends


def test_process_that_cannot_be_seen_is_not_known_to_end_anything(tmp_path: Path) -> None:
    assert code_of(tmp_path) is None


def test_running_servers_are_those_whose_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for pid in (os.getpid(), 2**22 + 1):
        (tmp_path / f"jpserver-{pid}.json").write_text(json.dumps({"pid": pid, "root_dir": "/notebooks"}))
    (tmp_path / "jpserver-1.json").write_text("{")
    assert list(server_end.running_servers()) == [(os.getpid(), "/notebooks")]
