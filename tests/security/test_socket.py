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
    with pytest.raises(HostFault, match="is a link or belongs to another user"):
        single_instance.create_private_folder(tmp_path / "run")


def test_socket_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(HostFault, match="cannot be made"):
        single_instance.create_private_folder(tmp_path / "run")


def test_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(HostFault, match="cannot be opened"):
        single_instance.acquire_lock(tmp_path, "lock")
    assert target.read_text() == "precious"


@pytest.mark.parametrize("kind", ["link", "file", "socket"])
def test_existing_file_at_the_sockets_path_is_replaced(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "pool.sock", tmp_path / "target"
    target.write_text("precious")
    with contextlib.ExitStack() as stack:
        if kind == "link":
            path.symlink_to(target)
        elif kind == "file":
            path.write_text("x")
        else:
            other = stack.enter_context(socket.socket(socket.AF_UNIX))
            other.bind(str(path))
            other.listen()
        ours = stack.enter_context(single_instance.listen(path, 0o600))
        assert path.is_socket()
        assert path.lstat().st_mode & 0o777 == 0o600
        stack.enter_context(unixsocket.connect(path, DEADLINE_S))
        ours.settimeout(DEADLINE_S)
        ours.accept()[0].close()
    assert target.read_text() == "precious"


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
