"""Finds the leases of a process: those in whose kernel, or in a child of whose kernel, it runs.

What a process cannot choose comes first, then what it was given:

1. its nearest relation, itself first, then its ancestors, that is a lease's holder, or whose environment names a lease
   that its user holds: a process never counts for the lease of another user by what it says of itself;
2. the control group, if it is the lease's own: neither the parent of its holder nor another holder is in it.

A kernel that gave one lease back and requested another holds both until the first has ended; its environment names the
first as long as it lives. All numbers are those of this process's PID namespace, which drivers use too if that is the
host's; a kernel in a namespace of its own has one here as well. Not safe for several threads.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...core.model.entities import Holder
from ...errors import NotFound
from ...wire.variables import ANCESTOR_LEASES, LEASE
from .process import read_proc_file

#: Processes that are remembered; beyond this number all are read again.
KNOWN_MAX = 8192
#: The longest chain of ancestors that is followed.
ANCESTORS_MAX = 256
#: How an environment names a lease: that of a kernel, and those of the kernels from which a process descends.
_LEASE, _ANCESTORS = f"{LEASE}=".encode(), f"{ANCESTOR_LEASES}=".encode()
_NS_GET_PARENT = 0xB702  #: ioctl of a namespace's file


class NotHere(NotFound):
    """There is no process of that number here: it has ended, or is hidden, as one of another PID namespace is."""


class Key(NamedTuple):
    """The identity of a process, which stays valid when its number is reused."""

    pid: int
    start_time: int  #: clock ticks after boot


class _Facts(NamedTuple):
    """The facts that are read of a process once."""

    parent: Key | None
    uid: int
    lease_id: str | None  #: that its environment names
    cgroup: tuple[str, ...]  #: its path in each hierarchy; empty where that cannot be read


_GONE = _Facts(None, -1, None, ())


class Attribution:
    """A memory of processes and their leases, so that each process is read once."""

    def __init__(self) -> None:
        self._known: dict[Key, _Facts] = {}
        self._unsettled: set[Key] = set()  #: of those, the ones whose environment is to be read once more
        self._holders: dict[str, Holder] = {}
        self._leases_of_holder: dict[Key, set[str]] = {}
        self._own_cgroups: dict[Key, tuple[str, ...]] | None = {}
        self._found: dict[Key, frozenset[str]] = {}  #: whose each was that is some lease's, by these holders

    def follow(self, holders: Mapping[str, Holder]) -> None:
        """Take over the leases that there are now, by id, each with its holder."""
        if holders == self._holders:
            return
        self._holders = dict(holders)
        self._leases_of_holder = {}
        for lease_id, holder in holders.items():
            self._leases_of_holder.setdefault(_key(holder), set()).add(lease_id)
        self._own_cgroups = None
        self._found.clear()

    def leases_of(self, pid: int, *, by_cgroup: bool = True) -> frozenset[str]:
        """Return the leases of a process; none if it has none.

        Raises :class:`NotHere` if there is no such process here: it has ended, or is of another PID namespace.
        """
        return self.leases_of_process(self.identify(pid), by_cgroup=by_cgroup)

    def leases_of_process(self, key: Key, *, by_cgroup: bool = True) -> frozenset[str]:
        """Return the leases of a process that was identified before; one that has ended since has those that it had."""
        known = self._found.get(key) if by_cgroup else None
        if known is not None:
            return known
        found = self._find(key) or (self._leases_of_cgroup(self._read(key).cgroup) if by_cgroup else frozenset())
        if found and by_cgroup and key not in self._unsettled:
            self._found[key] = found
        return found

    def _find(self, key: Key) -> frozenset[str]:
        """Return the leases of the nearest relation that has any."""
        own = self._read(key).lease_id
        for one, facts in self._ancestry(key):
            found = set(self._leases_of_holder.get(one, ()))
            if one != key and facts.lease_id is None and own not in (None, *found):
                found.clear()  # a server holds leases for kernels to come, and this process is none of those kernels
            named = self._holders.get(facts.lease_id or "")
            if named is not None and named.uid == facts.uid:
                found.add(str(facts.lease_id))
            if found:
                return frozenset(found)
        return frozenset()

    def _ancestry(self, key: Key) -> Iterator[tuple[Key, _Facts]]:
        one: Key | None = key
        for _ in range(ANCESTORS_MAX):
            if one is None or one.pid == 1:  # the parent of processes whose parent has ended
                return
            facts = self._read(one)
            yield one, facts
            one = facts.parent

    def _leases_of_cgroup(self, cgroup: tuple[str, ...]) -> frozenset[str]:
        if self._own_cgroups is None:
            self._own_cgroups = self._find_own_cgroups()
        holder = next((key for key, own in self._own_cgroups.items() if _inside(cgroup, own)), None)
        return frozenset() if holder is None else frozenset(self._leases_of_holder[holder])

    def _find_own_cgroups(self) -> dict[Key, tuple[str, ...]]:
        groups = {key: self._read(key).cgroup for key in self._leases_of_holder}
        own = {}
        for key, group in groups.items():
            parent = self._read(key).parent
            around = [self._read(parent).cgroup if parent else (), *(groups[one] for one in groups if one != key)]
            if around[0] and not any(_inside(other, group) for other in around):
                own[key] = group
        return own

    # -- reading ------------------------------------------------------------------------------------------------------

    def identify(self, pid: int) -> Key:
        """Return the identity of the process with that number now. Raises :class:`NotHere` if there is none here."""
        start_time, _ = _stat(pid)
        return Key(pid, start_time)

    def _read(self, key: Key) -> _Facts:
        known = self._known.get(key)
        if known is not None and key not in self._unsettled:
            return known
        if known is None and len(self._known) >= KNOWN_MAX:
            self._known.clear()
            self._unsettled.clear()
            self._found.clear()
        facts, settled = _facts(key)
        if known is not None:  # the parent that was read first is the right one: it may have ended meanwhile
            facts = known if facts is _GONE else facts._replace(parent=known.parent)
        self._known[key] = facts
        (self._unsettled.discard if settled else self._unsettled.add)(key)
        return facts


def leases_of(pid: int, holders: Mapping[str, Holder]) -> frozenset[str]:
    """Return the leases of ``holders`` that a process has.

    Control groups are not considered: whether a group is a lease's own depends on all holders. Raises :class:`NotHere`
    if there is no such process here: it has ended, or cannot be seen.
    """
    once = Attribution()
    once.follow(holders)
    return once.leases_of(pid, by_cgroup=False)


def processes_of(lease_id: str, holder: Holder) -> list[int]:
    """Return the processes of a lease that can be seen here, by its holder and by what they name."""
    once, found = Attribution(), []
    once.follow({lease_id: holder})
    for pid in pids():
        with suppress(NotHere):
            if once.leases_of(pid, by_cgroup=False):
                found.append(pid)
    return found


def pids() -> Iterator[int]:
    """Yield the pids of all processes that can be seen here."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 (there are thousands)


def lease_of(pid: int) -> str | None:
    """Return the lease that a process names in its environment, with which its kernel was started, or ``None``.

    This is the word of the process alone. It shows whether the process is a kernel; :func:`leases_of` finds its leases.
    """
    return _named(_environ(pid))


def _key(holder: Holder) -> Key:
    return Key(holder.pid, holder.start_time)


def _facts(key: Key) -> tuple[_Facts, bool]:
    """Return the facts that can be read, and whether they are final: of a process that has ended they are."""
    folder = Path(f"/proc/{key.pid}")
    try:
        start_time, parent_pid = _stat(key.pid)
        uid = folder.stat().st_uid
    except (NotFound, OSError):
        return _GONE, True
    if start_time != key.start_time:
        return _GONE, True
    parent = None
    with suppress(NotFound):
        parent_start, _ = _stat(parent_pid)
        # A younger process has the reused number of a parent that has ended.
        parent = Key(parent_pid, parent_start) if parent_start <= start_time else None
    environ = _environ(key.pid)
    # While a process executes another program its environment is empty for a moment.
    return _Facts(parent, uid, _named(environ), _cgroup(folder)), environ != b""


def _stat(pid: int) -> tuple[int, int]:
    """Return the start of a process in ticks since boot, and its parent's pid. Raises :class:`NotHere`."""
    try:
        text = read_proc_file(f"/proc/{pid}/stat")
    except OSError as error:
        raise NotHere(f"There is no process {pid}.") from error
    fields = text[text.rindex(b")") + 2 :].split(None, 20)
    return int(fields[19]), int(fields[1])


def _environ(pid: int) -> bytes | None:
    """Return the environment of a process, or ``None`` if it may not be read."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None


def _named(environ: bytes | None) -> str | None:
    """Return the lease that an environment names: the kernel's own, or that of the nearest kernel above."""
    items = (environ or b"").split(b"\0")
    own = next((item.removeprefix(_LEASE) for item in items if item.startswith(_LEASE)), None)
    above = (item.removeprefix(_ANCESTORS).split() for item in items if item.startswith(_ANCESTORS))
    name = own or next((names[-1] for names in above if names), None)
    return None if name is None else name.decode(errors="replace")


def _cgroup(folder: Path) -> tuple[str, ...]:
    """Return ``hierarchy:controllers:path`` of each hierarchy, sorted."""
    try:
        return tuple(sorted((folder / "cgroup").read_text().splitlines()))
    except OSError:
        return ()


def _inside(cgroup: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Return whether ``cgroup`` is ``outer`` or below it, in each hierarchy."""
    if not outer or len(cgroup) != len(outer):
        return False
    pairs = zip(cgroup, outer, strict=True)
    return all(one == other or one.startswith(other.rstrip("/") + "/") for one, other in pairs)


# -- PID namespaces ---------------------------------------------------------------------------------------------------


def host_pid(pid: int, seen_by: int) -> int:
    """Return the pid here of the process that process ``seen_by`` (a pid here) knows as ``pid``.

    They differ if ``seen_by`` is in a PID namespace of its own, as a server in a container is. Raises
    :class:`NotFound` if no such process is found.
    """
    depth = len(_numbers(seen_by))
    if depth <= 1:
        return pid
    namespace = _namespace(seen_by, 0)
    for folder in Path("/proc").glob("[0-9]*"):
        one = int(folder.name)
        with suppress(NotFound, OSError):
            numbers = _numbers(one)
            known_as = numbers[depth - 1] if len(numbers) >= depth else None
            if known_as == pid and _namespace(one, len(numbers) - depth) == namespace:
                return one
    raise NotFound(f"There is no process {pid} in the PID namespace of process {seen_by}.")


def _numbers(pid: int) -> list[int]:
    """Return the pids of a process, from this namespace's to its innermost. Raises :class:`NotFound`."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError as error:
        raise NotFound(f"There is no process {pid}.") from error
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), f"NSpid:\t{pid}")
    return [int(number) for number in line.split()[1:]]


def _namespace(pid: int, above: int) -> tuple[int, int]:
    """Return the PID namespace of a process, or the one ``above`` levels above it. Raises :class:`OSError`."""
    descriptor = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(above):
            parent = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return found.st_dev, found.st_ino
