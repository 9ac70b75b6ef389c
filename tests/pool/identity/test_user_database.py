"""The user database of this system: the users that are there, one that is not, and a call that fails."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
from typing import Any

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.identity import user_database
from fastgpu_jupyter.pool.identity.user_database import UserDatabase


@pytest.mark.parametrize("uid", [0, 65534])
def test_user_is_found_by_number_and_by_name(uid: int) -> None:
    database, name = UserDatabase(), pwd.getpwuid(uid).pw_name
    assert (database.name_of(uid), database.uid_of(name)) == (name, uid)


@pytest.mark.parametrize("name", ["no-such-user", "EXAMPLE\\dave", "דנה", "a" * 300, ""])
def test_user_that_does_not_exist_is_none(name: str) -> None:
    assert UserDatabase().uid_of(name) is None


def test_number_without_a_user_is_none() -> None:
    assert UserDatabase().name_of(1_000_770_000) is None


@pytest.mark.parametrize("status", [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EAGAIN])
def test_failed_call_is_a_fault_and_no_absence(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    database = UserDatabase()
    monkeypatch.setattr(database, "_by_name", lambda *_: status)
    with pytest.raises(HostFault, match=os.strerror(status)):
        database.uid_of("ann")


def test_long_entry_and_interruption_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def answer(_key: Any, entry: Any, _buffer: Any, size: int, result: Any) -> int:
        sizes.append(size)
        if len(sizes) < 4:
            return errno.EINTR if len(sizes) == 2 else errno.ERANGE
        ctypes.memmove(entry, ctypes.byref(user_database._Passwd(b"jos\xc3\xa9", None, 7)), 8 * 3)
        result._obj.value = 1
        return 0

    database = UserDatabase()
    monkeypatch.setattr(database, "_by_uid", answer)
    assert database.name_of(7) == "josé"
    assert sizes == [4096, 16384, 16384, 65536]
