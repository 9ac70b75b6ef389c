"""The identity of processes, and a watcher that reports when one ends.

A process number is reused; an open pidfd is not. A process is identified by boot id, pid, start time and the inode of
its pidfd, and is watched through that descriptor, which becomes readable the moment the process ends.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
from collections.abc import Callable
from dataclasses import replace

from ...core.model.entities import Holder
from ...errors import FastGPUError, Forbidden, HostFault, LimitReached, Message, NotFound
from ...wire.unixsocket import peer_of

log = logging.getLogger("fastgpu.pool")
#: Errors of a system that has no descriptor or memory left; they say nothing about the process or file.
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_NO_SUCH_PROCESS = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})
#: When to try again what failed for lack of descriptors.
RETRY_S = 5

_SO_PEERPIDFD = 77  #: since Linux 6.5; not in Python's socket module


def peer_holder(sock: socket.socket, boot_id: str, known: Holder | None = None) -> Holder:
    """Return the process at the other end of a Unix socket. Raises :class:`NotFound` if it has ended.

    Its user is the one that connected. A process that has changed its user since, as by executing a program with the
    set-user-id bit, is refused with :class:`Forbidden`: it must not have the rights of an earlier user.

    ``known`` is what was returned for the same socket before, so that only what can change is read again.
    """
    try:
        pidfd = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        holder = holder_of(peer_of(sock).pid, boot_id)
    else:
        try:
            holder = _identify(peer_of(sock).pid, pidfd, boot_id) if known is None else _now(known, pidfd)
        finally:
            os.close(pidfd)
    if holder.uid != (peer_of(sock).uid if known is None else known.uid):
        raise Forbidden("The calling process has changed its user since it connected.")
    return holder


def holder_of(pid: int, boot_id: str) -> Holder:
    """Return the identity of the process with that number now. Raises :class:`NotFound` if there is none.

    Raises what :func:`unobservable` returns where that cannot be found out.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OverflowError as error:
        raise NotFound(f"There is no process {pid}.") from error
    except OSError as error:
        if says_ended(error):
            raise NotFound(f"There is no process {pid}.") from error
        raise unobservable(pid, error) from error
    try:
        return _identify(pid, pidfd, boot_id)
    finally:
        os.close(pidfd)


def says_ended(error: OSError) -> bool:
    """Return whether an error about a process says that there is none with that number."""
    return error.errno in _NO_SUCH_PROCESS


def unobservable(pid: int, error: OSError) -> FastGPUError:
    """Return the error for a process of which it cannot be found out whether it lives: that is not its end."""
    if error.errno in OUT_OF_RESOURCES:
        return LimitReached(Message.of("pool.out_of_descriptors", seconds=RETRY_S), RETRY_S)
    return HostFault(Message.of("process.unobservable", pid=str(pid), reason=error.strerror or str(error)))


def _identify(pid: int, pidfd: int, boot_id: str) -> Holder:
    try:
        # If the number passes to another process meanwhile, the pidfd becomes readable.
        stat = read_proc_file(f"/proc/{pid}/stat").decode(errors="replace")
        uid = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 (a Path takes longer than the call)
    except OSError as error:
        if not _has_ended(pidfd):
            raise unobservable(pid, error) from error
        raise NotFound(f"Process {pid} has ended.") from error
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX" or _has_ended(pidfd):
        raise NotFound(f"Process {pid} has ended.")
    return Holder(boot_id, pid, int(fields[18]), os.fstat(pidfd).st_ino, uid)


def _now(known: Holder, pidfd: int) -> Holder:
    """Return a process that was identified before as it is now: its user may have changed, or it has ended."""
    try:
        uid = os.stat(f"/proc/{known.pid}").st_uid  # noqa: PTH116 (a Path takes longer than the call)
    except OSError as error:
        if not _has_ended(pidfd):
            raise unobservable(known.pid, error) from error
        raise NotFound(f"Process {known.pid} has ended.") from error
    if _has_ended(pidfd):
        raise NotFound(f"Process {known.pid} has ended.")
    return known if uid == known.uid else replace(known, uid=uid)


def read_proc_file(path: str) -> bytes:
    """Return a small file of the kernel, without the cost of a Path and a text file, because each request reads one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def open_holder(holder: Holder, boot_id: str) -> int | None:
    """Return a pidfd of exactly that process, or ``None`` if it has ended, its number reused or not.

    Raises what :func:`unobservable` returns where that cannot be found out.
    """
    try:
        pidfd = os.pidfd_open(holder.pid)
    except OSError as error:
        if says_ended(error):
            return None
        raise unobservable(holder.pid, error) from error
    try:
        if _identify(holder.pid, pidfd, boot_id) == holder:
            return pidfd
    except NotFound:
        pass
    except FastGPUError:
        os.close(pidfd)
        raise
    os.close(pidfd)
    return None


class HolderWatcher:
    """A watcher of lease holders, for the event loop's thread only.

    ``ended`` is called once with a lease and its holder when the holder ends. One descriptor serves all leases of a
    holder, because a server may hold thousands.
    """

    def __init__(self, boot_id: str, ended: Callable[[str, Holder], None]) -> None:
        self._boot_id = boot_id
        self._ended = ended
        self._holders: dict[str, Holder] = {}
        self._watched: dict[Holder, tuple[int, set[str]]] = {}
        self._retries: dict[str, asyncio.TimerHandle] = {}  #: by lease whose holder could not be opened

    def watch(self, lease_id: str, holder: Holder) -> None:
        """Watch ``holder`` for ``lease_id`` in place of any earlier one; one that has ended is reported at once."""
        self.forget(lease_id)
        loop = asyncio.get_running_loop()
        if holder not in self._watched:
            try:
                pidfd = open_holder(holder, self._boot_id)
            except FastGPUError as error:
                # It is not known to have ended: it holds the lease until that can be found out.
                log.warning("The holder of lease %s cannot be watched yet: %s", lease_id, error)
                self._retries[lease_id] = loop.call_later(RETRY_S, self.watch, lease_id, holder)
                return
            if pidfd is None:
                loop.call_soon(self._ended, lease_id, holder)
                return
            self._watched[holder] = (pidfd, set())
            loop.add_reader(pidfd, self._has_ended, holder)
        self._holders[lease_id] = holder
        self._watched[holder][1].add(lease_id)

    def _has_ended(self, holder: Holder) -> None:
        for lease_id in list(self._watched[holder][1]):
            self.forget(lease_id)
            self._ended(lease_id, holder)

    def forget(self, lease_id: str) -> None:
        """Stop watching the holder of ``lease_id``."""
        if (retry := self._retries.pop(lease_id, None)) is not None:
            retry.cancel()
        holder = self._holders.pop(lease_id, None)
        if holder is None:
            return
        pidfd, lease_ids = self._watched[holder]
        lease_ids.discard(lease_id)
        if not lease_ids:
            del self._watched[holder]
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)

    def close(self) -> None:
        """Stop watching all holders."""
        for lease_id in [*self._holders, *self._retries]:
            self.forget(lease_id)
