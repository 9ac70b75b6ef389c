"""A small program in the Linux kernel that decides which device files the processes of a control group may open.

Linux runs it whenever a process in the group, or below it, opens or creates a device file
(``BPF_PROG_TYPE_CGROUP_DEVICE``, control groups of version 2). The program *governs* some major numbers: of those, only
the named files may be opened; every other device is as before. A file that is open stays open. The program stays
attached when this process ends, and goes with the group.

The programs of groups above run as well, and all must agree, so nothing that is closed there is opened here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ...errors import HostFault, InternalError

#: The number of the system call, by machine.
_BPF = {"x86_64": 321, "aarch64": 280, "ppc64le": 361, "riscv64": 280}  #: all of them little-endian
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_QUERY = 5, 8, 9, 16
_TYPE_CGROUP_DEVICE, _AT_CGROUP_DEVICE = 15, 6
#: The flag of groups to which several programs are attached; without it a group has only one.
_ALLOW_MULTI = 2
_CHARACTER = 2  #: a kind of device, in the low half of the first word of the program's context
_INSTRUCTION = "<BBhi"
#: Operations of the program, by their numbers in the kernel's bpf_common.h.
_LOAD_WORD, _AND, _SET, _EXIT = 0x61, 0x57, 0xB7, 0x95
_JUMP, _JUMP_IF, _JUMP_UNLESS = 0x05, 0x15, 0x55
_CONTEXT, _KIND, _MAJOR, _MINOR = 1, 2, 3, 4  #: registers; the first is the context, and register 0 is the result
_LOG_BYTES = 4096


class Number(NamedTuple):
    """The number of the device that a file stands for."""

    major: int
    minor: int


class DeviceFiles(Protocol):
    """The device files of one kind of GPU, known by their numbers."""

    def majors(self) -> Collection[int]:
        """Return the major numbers of all files by which a program can use such a device."""

    def number_of(self, path: str) -> Number | None:
        """Return the number of a device file, which may not exist yet; ``None`` where it cannot be known yet."""


def program(governed: Collection[int], allowed: Collection[Number]) -> bytes:
    """Return a program that refuses every device of a governed major number except those that are allowed."""
    majors, numbers = sorted(set(governed)), sorted(set(allowed))
    if not majors:
        raise InternalError("A program that governs nothing is refused by the kernel.")
    code = [_word(_KIND, 0), _instruction(_AND, _KIND, value=0xFFFF), _word(_MAJOR, 4), _word(_MINOR, 8)]
    # Then follow: one test of the kind, one for each major and one jump; two for each number; then "no", and "yes".
    begin = len(code) + 1 + len(majors) + 1
    yes = begin + 2 * len(numbers) + 2

    def jump(operation: int, register: int, value: int, target: int) -> None:
        code.append(_instruction(operation, register, offset=target - len(code) - 1, value=value))

    jump(_JUMP_UNLESS, _KIND, _CHARACTER, yes)
    for major in majors:
        jump(_JUMP_IF, _MAJOR, major, begin)
    jump(_JUMP, 0, 0, yes)
    for number in numbers:
        jump(_JUMP_UNLESS, _MAJOR, number.major, len(code) + 2)
        jump(_JUMP_IF, _MINOR, number.minor, yes)
    for answer in (0, 1):
        code += [_instruction(_SET, 0, value=answer), _instruction(_EXIT)]
    return b"".join(code)


def _word(register: int, offset: int) -> bytes:
    return _instruction(_LOAD_WORD, register, _CONTEXT, offset)


def _instruction(operation: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack(_INSTRUCTION, operation, to | source << 4, offset, value)


def attach(group: Path, code: bytes) -> None:
    """Attach the program to a group, in place of the one that was attached. Raises :class:`HostFault`."""
    loaded = load(code)
    try:
        with _Folder(group) as target:
            _call(_PROG_ATTACH, struct.pack("<IIIII", target, loaded, _AT_CGROUP_DEVICE, 0, 0), f"attached to {group}")
    finally:
        os.close(loaded)


def detach(group: Path) -> None:
    """Detach the program from a group. Raises :class:`HostFault`, also if there is none."""
    with _Folder(group) as target:
        _call(_PROG_DETACH, struct.pack("<IIIII", target, 0, _AT_CGROUP_DEVICE, 0, 0), f"taken from {group}")


def require_no_other(groups: Sequence[Path]) -> None:
    """Raise :class:`HostFault` if a program of one of the groups would not run once a group below has one."""
    for group in groups:
        with _Folder(group) as target:
            asked = struct.pack("<IIIIQI", target, _AT_CGROUP_DEVICE, 0, 0, 0, 0)
            said = _call(_PROG_QUERY, asked, f"seen at {group}")[1]
        flags, count = struct.unpack_from("<I8xI", said, 12)
        if count and not flags & _ALLOW_MULTI:
            raise HostFault(f"another program decides in {group} which devices may be opened, and would no longer run.")


def load(code: bytes) -> int:
    """Return a descriptor of the program after the kernel verified it. Raises :class:`HostFault`."""
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"BSD")
    log = ctypes.create_string_buffer(_LOG_BYTES)
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        _TYPE_CGROUP_DEVICE, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence),
        1, _LOG_BYTES, ctypes.addressof(log), 0, 0, b"fastgpu_devices", 0, _AT_CGROUP_DEVICE,
    )  # fmt: skip
    return _call(_PROG_LOAD, attributes, "loaded")[0]


class _Folder:
    """A context manager that opens a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HostFault(f"the control group {self._path} cannot be opened ({error.strerror}).") from error
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _call(command: int, attributes: bytes, what: str) -> tuple[int, bytes]:
    """Return the result of the system call, and its attributes after it."""
    number = _BPF.get(platform.machine())
    if number is None:
        raise HostFault(f"device files cannot be closed on a machine of the kind {platform.machine()}.")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(ctypes.c_long(number), ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))
    if result < 0:
        raise HostFault(f"the program that closes device files cannot be {what} ({os.strerror(ctypes.get_errno())}).")
    return result, buffer.raw
