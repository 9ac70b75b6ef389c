"""Control groups in which a kernel can open the device files of its leases and of no other GPU.

The group is created *below the one that the kernel is in*: the limits, the accounting and the end of whatever started
the kernel (a login, a service, a hub's unit, a container) hold for it as before. It needs no systemd, only files and a
system call. Its name contains the process that it was created for, so that the next pool manager finds it again.

What is closed, and what is not:

* the kernel and all processes that it starts from then on, however they change their environment. A file that is open
  stays open, so the processes are examined once they are in the group, and open files are reported;
* only while its user cannot move processes out of the group. Root can, which is reported. A user who was given a group
  above it (by ``systemd --user``) can, too: such a kernel is not restricted, and the reason is reported;
* no process that is started in another way for the same user: by a terminal, ``ssh`` or ``cron``. The pool only sees
  those.

All calls block; use them in one thread.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...core.model.entities import Holder
from ...errors import HostFault, LimitReached, Message
from . import cgroup, device_filter
from .device_filter import DeviceFiles, Number
from .process import open_holder

log = logging.getLogger("fastgpu.pool")
#: Rounds in which processes are moved, for a kernel that starts others meanwhile.
MOVE_ROUNDS_MAX = 16


class DeviceAccess(NamedTuple):
    """Whether the device files of other GPUs are closed to a kernel."""

    detail: str | None = None  #: why files are not closed, if they were to be
    enforced: bool = False  #: whether those of other GPUs are closed, and the user cannot undo it


#: No file is closed; the lease only says which files it needs.
NOT_ENFORCED = DeviceAccess()


class LeaseGroups:
    """The control groups of one pool, which is identified by the folder of its journal."""

    def __init__(self, state_dir: Path, boot_id: str, files: DeviceFiles) -> None:
        tag = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:8]
        self._prefix = f"{cgroup.PREFIX}{tag}-"
        self._boot_id = boot_id
        self._files = files
        self._groups: dict[Holder, Path] = {}
        self._abandoned: set[Path] = set()

    def adopt(self, holders: Iterable[Holder]) -> None:
        """Find the groups of an earlier pool manager: keep those of ``holders``, and close all files to the others."""
        root = cgroup.root()
        if root is None:
            return
        names = {self._name(holder): holder for holder in holders}
        for folder, below, _ in os.walk(root):
            for name in [name for name in below if name.startswith(self._prefix)]:
                path = Path(folder, name)
                if name in names:
                    self._groups[names[name]] = path
                else:
                    self._abandoned.add(path)
        self.remove_empty()

    def remove_restrictions(self) -> None:
        """Remove the restrictions of an earlier pool manager, for one that closes no files."""
        self.adopt(())
        for group in self._abandoned:
            with suppress(HostFault):
                device_filter.detach(group)
        self._abandoned.clear()

    def has(self, holder: Holder) -> bool:
        """Return whether there is a group for that process, even of a lease that is over."""
        try:
            return holder in self._groups or cgroup.group_of(holder.pid).name == self._name(holder)
        except HostFault:
            return False

    def restrict(self, holder: Holder, nodes: Collection[str]) -> DeviceAccess:
        """Let the process, and what it starts, open the device files ``nodes`` of GPUs and no other."""
        try:
            allowed = {number for node in nodes if (number := self._files.number_of(node)) is not None}
            governed = {*self._files.majors(), *(number.major for number in allowed)}
            group = self._groups.get(holder) or self._create_group(holder)
            device_filter.attach(group, device_filter.program(governed, allowed))
            self._groups[holder] = group
            self._abandoned.discard(group)  # a kernel may have had no lease for a while
            self._move_process_tree(holder, group)
            opened = _opened(group, governed, allowed)
        except HostFault as error:
            return DeviceAccess(f"The device files of other GPUs are not closed to this lease: {error}")
        if opened is not None:
            return DeviceAccess(f"{opened} What is open stays open; every other one is closed.")
        if holder.uid == 0:
            return DeviceAccess(
                "The device files of other GPUs are closed, but root, whose kernel this is, can undo that."
            )
        return DeviceAccess(enforced=True)

    def release(self, holder: Holder) -> None:
        """Close all files to a process that has no lease any more, and remove its group once it is empty."""
        group = self._groups.pop(holder, None)
        if group is not None:
            self._abandoned.add(group)
            self.remove_empty()

    def remove_empty(self) -> bool:
        """Remove the abandoned groups that are empty, and return whether there are others."""
        for group in sorted(self._abandoned):
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # a process of it still runs
                with suppress(HostFault):
                    device_filter.attach(group, device_filter.program(self._files.majors(), ()))
                continue
            self._abandoned.discard(group)
        return bool(self._abandoned)

    def _name(self, holder: Holder) -> str:
        return f"{self._prefix}{holder.pid}-{holder.start_time}"

    def _create_group(self, holder: Holder) -> Path:
        """A new group below the one that the process is in, or the one that is there."""
        around = cgroup.group_of(holder.pid)
        if around.name == self._name(holder):
            return around
        root = cgroup.root()
        above = [around, *(folder for folder in around.parents if root is not None and folder.is_relative_to(root))]
        for folder in above:
            if holder.uid and _may_change(holder.uid, folder):
                raise HostFault(
                    f"its user may move processes in the control group {folder}. Start Jupyter where that is the "
                    "system's own, as a service or in a container, and not in `systemd --user`."
                )
        device_filter.require_no_other(above)
        group = around / self._name(holder)
        try:
            group.mkdir(exist_ok=True)
        except OSError as error:
            raise HostFault(f"no control group can be made below {around} ({error.strerror}).") from error
        return group

    def _move_process_tree(self, holder: Holder, group: Path) -> None:
        """Have the process, and all below it that are where it was, in the group."""
        try:
            pidfd = open_holder(holder, self._boot_id)
        except LimitReached as error:
            raise HostFault(error.message) from error
        if pidfd is None:
            raise HostFault(f"process {holder.pid} has ended.")
        os.close(pidfd)  # the number cannot have passed on between here and the move of a kernel that lives
        for _ in range(MOVE_ROUNDS_MAX):
            outside = [pid for pid in _tree(holder.pid) if _is_in(pid, group.parent)]
            if not outside:
                return
            for pid in outside:
                try:
                    (group / "cgroup.procs").write_text(str(pid))
                except ProcessLookupError:
                    continue  # it has ended
                except OSError as error:
                    raise HostFault(f"process {pid} cannot be moved to {group} ({error.strerror}).") from error
        raise HostFault(f"process {holder.pid} starts others faster than they can be moved.")


def unsupported_reason(files: DeviceFiles) -> Message | None:
    """Why device files cannot be closed here, as the end of a sentence; ``None`` where they can."""
    if os.geteuid():
        return Message.of("device_access.root_only")
    if cgroup.root() is None:
        return Message.of("device_access.no_cgroups")
    try:
        os.close(device_filter.load(device_filter.program(files.majors(), ())))
    except HostFault as error:
        return error.message
    return None


def _may_change(uid: int, group: Path) -> bool:
    """Whether that user may move processes in and out of what is below a group."""
    try:
        said = (group / "cgroup.procs").stat()
    except OSError:
        return True  # nothing is known of it
    return said.st_uid == uid or bool(said.st_mode & 0o022)


def _is_in(pid: int, group: Path) -> bool:
    try:
        return cgroup.group_of(pid) == group
    except HostFault:
        return False


def _tree(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError, ValueError):
            for child in [int(number) for number in tasks.read_text().split()]:
                yield from _tree(child)


def _opened(group: Path, governed: Collection[int], allowed: Collection[Number]) -> str | None:
    """What a process of the group has open, or mapped, of what is closed to it."""
    with suppress(OSError, ValueError):
        for pid in [int(number) for number in (group / "cgroup.procs").read_text().split()]:
            for path in _files(pid):
                with suppress(OSError):
                    device = path.stat().st_rdev
                    if os.major(device) in governed and Number(os.major(device), os.minor(device)) not in allowed:
                        return f"Process {pid} had {_target(path)} open before its lease said which GPU it may use."
    return None


def _files(pid: int) -> Iterator[Path]:
    """What it has open, and where what it has mapped was."""
    with suppress(OSError):
        yield from Path(f"/proc/{pid}/fd").iterdir()
    with suppress(OSError):
        mapped = Path(f"/proc/{pid}/maps").read_text(errors="replace").split()
        yield from map(Path, dict.fromkeys(word for word in mapped if word.startswith("/dev/")))


def _target(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 (it may be no path)
    except OSError:
        return str(path)
