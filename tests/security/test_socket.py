"""The path of the socket: what other users put there is not used, and none can replace the socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.host import single_instance
from fastgpu_jupyter.wire import unixsocket
from tests import refusals
from tests.helpers import fastgpu_process
from tests.waiting import DEADLINE_S

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
OTHER_UID = 65534
ROUNDS = 100

#: Tries to replace the socket, or to create files beside it, until it is stopped; prints how often it succeeded.
HIJACK = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
path, won = sys.argv[1], 0
print(flush=True)
while os.getppid() == int(sys.argv[3]) and not os.path.exists(path + ".over"):
    for attempt in (
        lambda: os.unlink(path),
        lambda: os.symlink("/dev/null", path),
        lambda: socket.socket(socket.AF_UNIX).bind(path),
        lambda: os.rename(path, path + ".gone"),
        lambda: os.link(path, path + ".mine"),
        lambda: os.close(os.open(path, os.O_WRONLY | os.O_CREAT)),
    ):
        try:
            attempt()
            won += 1
        except OSError:
            pass
print(won)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with refusals.refused(HostFault, match="is a link or belongs to another user"):
        single_instance.create_private_folder(tmp_path / "run")


def test_socket_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with refusals.refused(HostFault, match="cannot be made"):
        single_instance.create_private_folder(tmp_path / "run")


def test_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with refusals.refused(HostFault, match="cannot be opened"):
        single_instance.acquire_lock(tmp_path, "lock")
    assert target.read_text() == "precious"


def test_stale_socket_at_the_path_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pool.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
    with single_instance.listen(path, 0o600) as ours, unixsocket.connect(path, DEADLINE_S):
        assert path.lstat().st_mode & 0o777 == 0o600
        ours.settimeout(DEADLINE_S)
        ours.accept()[0].close()


@pytest.mark.parametrize("kind", ["link", "file", "folder", "pipe", "dangling link", "served socket"])
def test_what_is_no_stale_socket_at_the_path_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "pool.sock", tmp_path / "target"
    target.write_text("precious")
    with contextlib.ExitStack() as stack:
        match kind:
            case "link":
                path.symlink_to(target)
            case "dangling link":
                path.symlink_to(tmp_path / "missing")
            case "file":
                path.write_text("precious")
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "served socket":
                other = stack.enter_context(socket.socket(socket.AF_UNIX))
                other.bind(str(path))
                other.listen()
        before = path.lstat()
        with refusals.refused(HostFault, match="It was left as it is"):
            single_instance.listen(path, 0o600)
        assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert target.read_text() == "precious"
    assert {entry.name for entry in tmp_path.iterdir()} == {"pool.sock", "target"}


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o1777])
def test_mode_of_a_named_folder_is_not_changed(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    single_instance.create_private_folder(folder, named=True)
    assert folder.stat().st_mode & 0o7777 == mode


def test_named_folder_in_which_every_user_may_replace_files_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o777)
    with refusals.refused(HostFault, match="Its mode was not changed"):
        single_instance.create_private_folder(folder, named=True)
    assert folder.stat().st_mode & 0o777 == 0o777


def test_file_with_the_name_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("how to pick one")
    with refusals.refused(HostFault, match="It was left as it is"):
        single_instance.acquire_lock(tmp_path, "lock")
    assert (tmp_path / "lock").read_text() == "how to pick one"


@pytest.mark.slow
def test_pool_with_a_file_as_its_socket_changes_nothing(isolated: Path, tmp_path: Path) -> None:
    """What ``jupyter fastgpu pool --socket=notes.txt`` once did: the file deleted, its folder private."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    (home / "notes.txt").write_text("precious")
    ran = fastgpu_process("pool", "--simulate=1xA100-80GB", f"--socket={home / 'notes.txt'}")
    assert ran.returncode == 1
    assert f"There is something at {home / 'notes.txt'} that is not a socket" in ran.stderr
    assert [(entry.name, entry.read_text()) for entry in home.iterdir()] == [("notes.txt", "precious")]
    assert home.stat().st_mode & 0o777 == 0o755


@as_root
@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["own pool", "system pool"])
def test_socket_is_never_another_users_while_pools_start_and_end(place: Path, mode: int) -> None:
    folder = place / "run"
    single_instance.create_private_folder(folder, mode)
    path = folder / "pool.sock"
    command = [sys.executable, "-I", "-c", HIJACK, str(path), str(OTHER_UID), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as attacker:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        for _ in range(ROUNDS):
            with contextlib.closing(single_instance.listen(path, 0o666)):
                with contextlib.closing(unixsocket.connect(path, DEADLINE_S)) as client:
                    assert unixsocket.peer_of(client).uid == os.getuid()
                single_instance.remove_socket(path, single_instance.inode(path))
            assert not path.exists()
        Path(f"{path}.over").touch()
        if mode == 0o700:
            attacker.kill()  # it cannot see the file that ends it, because the folder is private
            assert attacker.wait() != 0
        else:
            assert attacker.communicate(timeout=DEADLINE_S)[0] == "0\n"
    assert [entry.name for entry in folder.iterdir()] == ["pool.sock.over"]
