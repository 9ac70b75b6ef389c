"""Where the files of a pool are: whatever the host name is, and apart from those of other systems."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import host_identity, locate

MACHINE = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Ask for the identity again in each test, and after it."""

    def clear() -> None:
        host_identity.running_system.cache_clear()
        host_identity.installation.cache_clear()

    clear()
    yield
    clear()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with a machine id, in the folder that is returned; it is no container."""
    (tmp_path / "machine-id").write_text(f"{MACHINE}\n")
    (tmp_path / "boot_id").write_text("boot-1\n")
    monkeypatch.setattr(host_identity, "MACHINE_ID_FILES", (tmp_path / "machine-id", tmp_path / "dbus"))
    monkeypatch.setattr(host_identity, "BOOT_ID_FILE", tmp_path / "boot_id")
    monkeypatch.setattr(host_identity, "FIRST_PID_NAMESPACE", host_identity._pid_namespace())
    return tmp_path


def names() -> tuple[str, str]:
    """Return the names of the running system and of the installation, asked for again."""
    host_identity.running_system.cache_clear()
    host_identity.installation.cache_clear()
    return host_identity.running_system(), host_identity.installation()


def test_names_stay_when_the_host_name_changes(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names()
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert names() == before
    assert MACHINE[:8] not in "".join(before), "a machine id is confidential"


def test_boot_gives_another_socket_and_the_same_journal(system: Path) -> None:
    running, installed = names()
    (system / "boot_id").write_text("boot-2")
    assert names()[0] != running
    assert names()[1] == installed


def test_machines_with_one_home_have_folders_of_their_own(system: Path) -> None:
    before = names()
    (system / "machine-id").write_text(MACHINE[::-1])
    assert not set(before) & set(names())


def test_container_has_folders_of_its_own(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names()
    monkeypatch.setattr(host_identity, "_pid_namespace", lambda: 4026532999)
    first = names()
    assert not set(before) & set(first)
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert (names()[0], names()[1] != first[1]) == (first[0], True), "its image's machine id says little"


def test_slurm_job_has_folders_of_its_own_that_are_removed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("FASTGPU_SOCKET", raising=False)
    monkeypatch.setattr(locate, "SYSTEM_SOCKET", tmp_path)  # there is one
    sockets = set()
    for job in ("12", "13"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        names()
        sockets.add(locate.pool_socket())
        assert locate.pool_socket() == locate.user_socket(), "not the system's, which has other GPUs"
        assert locate.user_state_dir().parent == locate.user_socket().parent
    assert len(sockets) == 2
    monkeypatch.delenv("SLURM_JOB_ID")
    names()
    assert locate.user_socket() not in sockets


@pytest.mark.parametrize("content", ["", "uninitialized", "0" * 32, MACHINE[:-1], "\xff"])
def test_unfinished_machine_id_is_none(system: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "machine-id").write_text(content, encoding="latin-1")
    without = names()
    (system / "machine-id").unlink()
    assert names() == without
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert (names()[0], names()[1] != without[1]) == (without[0], True)
    (system / "dbus").write_text(MACHINE)
    found = names()
    monkeypatch.setattr("socket.gethostname", lambda: "a third")
    assert names() == found


def test_system_without_proc_has_its_host_name(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "boot_id").unlink()
    (system / "machine-id").unlink()
    before = names()
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert not set(before) & set(names())


def test_process_keeps_the_socket_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTGPU_SOCKET", raising=False)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(locate, "SYSTEM_SOCKET", tmp_path / "system")
    began_with = locate.pool_socket()
    assert began_with == locate.user_socket()
    (tmp_path / "system").touch()
    assert locate.pool_socket() == began_with, "its leases are there"
    locate._chosen_socket.cache_clear()
    assert locate.pool_socket() == tmp_path / "system"
    (tmp_path / "system").unlink()
    assert locate.pool_socket() == tmp_path / "system"
    locate._chosen_socket.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_socket_stays_when_the_host_is_renamed() -> None:
    ask = f"{sys.executable} -c 'from fastgpu_jupyter.wire.locate import user_socket; print(user_socket())'"
    command = f"hostname first && {ask} && hostname second && {ask}"
    done = subprocess.run(["unshare", "--uts", "sh", "-c", command], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == second
