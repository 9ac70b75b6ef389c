"""Processes that are never ended: by user, and by their executable, not by the name that they give themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import Holder
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.monitors import exemptions
from fastgpu_jupyter.pool.monitors.exemptions import FIRST_USER_UID, Exemptions, first_user_uid
from fastgpu_jupyter.pool.settings import Access
from tests.waiting import wait_until


@contextmanager
def running(program: Path | str, *words: str) -> Iterator[Holder]:
    with subprocess.Popen([program, *words], stdin=subprocess.PIPE) as process:
        wait_until(lambda: Path(f"/proc/{process.pid}/exe").readlink() == Path(program).resolve(), "the program runs")
        yield holder_of(process.pid, SystemClock().boot_id())
        process.kill()


def of_user(holder: Holder, uid: int = 20_001) -> Holder:
    return Holder(holder.boot_id, holder.pid, holder.start_time, holder.pidfd_inode, uid)


@pytest.mark.parametrize(("uid", "spared"), [(0, True), (999, True), (1000, False), (20_001, False), (61_184, True)])
def test_spare_root_and_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int, spared: bool) -> None:
    monkeypatch.setattr(exemptions, "LOGIN_DEFS", tmp_path / "none")
    with running("/bin/cat") as holder:
        assert Exemptions().spare(of_user(holder, uid)) is spared


def test_spare_users_that_are_exempt() -> None:
    with running("/bin/cat") as holder:
        assert Exemptions(["uid:20001"]).spare(of_user(holder))
        assert not Exemptions(["uid:2000"]).spare(of_user(holder))


def test_spare_a_program_by_its_executable_only() -> None:
    with running("/bin/cat") as holder:
        name = Path(f"/proc/{holder.pid}/exe").readlink().name
        assert Exemptions([name]).spare(of_user(holder))
        assert not Exemptions(["Xorg"]).spare(of_user(holder))
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'Xorg'); sys.stdin.read()"
    with running(sys.executable, "-I", "-c", code) as holder:
        wait_until(lambda: Path(f"/proc/{holder.pid}/comm").read_text() == "Xorg\n", "it calls itself so")
        assert not Exemptions().spare(of_user(holder))


def test_spare_no_copy_of_a_program_that_others_may_write(tmp_path: Path) -> None:
    copy = tmp_path / "Xorg"
    shutil.copy("/bin/cat", copy)
    with running(copy) as holder:
        copy.chmod(0o755)
        assert Exemptions().spare(of_user(holder)) is (os.getuid() == 0)
        copy.chmod(0o777)
        assert not Exemptions().spare(of_user(holder))


def test_spare_nothing_of_a_process_that_has_ended() -> None:
    with running("/bin/cat") as holder:
        pass
    assert not Exemptions().spare(of_user(holder))


@pytest.mark.parametrize(
    ("text", "first"),
    [("UID_MAX 60000\nUID_MIN\t\t  500 # people\n", 500), ("#UID_MIN 7\n", FIRST_USER_UID), ("", FIRST_USER_UID)],
)
def test_first_user_uid_is_that_of_the_system(tmp_path: Path, text: str, first: int) -> None:
    (tmp_path / "login.defs").write_text(text)
    assert first_user_uid(tmp_path / "login.defs") == first
    assert first_user_uid(tmp_path / "none") == FIRST_USER_UID


def test_default_setting_has_the_displays_and_the_daemons_of_drivers() -> None:
    programs = Access().foreign_exempt
    assert {"Xorg", "nvidia-persistenced", "nv-hostengine", "gdm3", "gnome-shell"} <= set(programs)
