"""Look users up in the user database of the operating system, which may be a directory service on another machine.

The module :mod:`pwd` raises :class:`KeyError` both for a user that does not exist and for a database that does not
answer. Here these are two results, because no other tenant may be billed while a directory service is down. See
``getpwnam_r(3)``.

A call may take as long as the directory service takes, so none is for the thread of the event loop.
"""

from __future__ import annotations

import ctypes
import errno
import os

from ...errors import HostFault, Message

#: What the calls return for a user that does not exist, beside success without a result.
_NONE_FOUND = (errno.ENOENT, errno.ESRCH)
_BUFFER_BYTES = 4096
_BUFFER_BYTES_MAX = 2**20


class _Passwd(ctypes.Structure):
    """``struct passwd`` of glibc and musl."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("password", ctypes.c_char_p),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("gecos", ctypes.c_char_p),
        ("folder", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )


class UserDatabase:
    """The user database. Safe for several threads."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._by_uid, self._by_name = libc.getpwuid_r, libc.getpwnam_r
        for function, key in ((self._by_uid, ctypes.c_uint32), (self._by_name, ctypes.c_char_p)):
            rest = (ctypes.POINTER(_Passwd), ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p))
            function.argtypes, function.restype = (key, *rest), ctypes.c_int

    def name_of(self, uid: int) -> str | None:
        """Return the name of the user with that number, None if there is none. Raises :class:`HostFault`."""
        found = _look_up(self._by_uid, uid)
        return None if found is None else found[0].decode(errors="replace")

    def uid_of(self, name: str) -> int | None:
        """Return the number of the user of that name, None if there is none. Raises :class:`HostFault`."""
        found = _look_up(self._by_name, name.encode())
        return None if found is None else found[1]


def _look_up(function: ctypes._NamedFuncPointer, key: int | bytes) -> tuple[bytes, int] | None:
    """Return the name and number of a user, None if there is none."""
    size = _BUFFER_BYTES
    while True:
        buffer, entry, result = ctypes.create_string_buffer(size), _Passwd(), ctypes.c_void_p()
        status = function(key, ctypes.byref(entry), buffer, size, ctypes.byref(result))
        if status == errno.ERANGE and size < _BUFFER_BYTES_MAX:
            size *= 4
        elif status not in (0, errno.EINTR, *_NONE_FOUND):
            raise HostFault(Message.of("users.fault", reason=os.strerror(status)))
        elif status != errno.EINTR:
            return (entry.name, entry.uid) if status == 0 and result.value is not None else None
