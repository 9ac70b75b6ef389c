"""Listening TCP sockets for the rendezvous, at a port that stays the same over restarts of the pool manager."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress

from ...errors import HostFault, Message

BACKLOG = 32
#: Options of ``socket(7)`` that the standard library does not name.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
#: The program of one instruction that accepts 0 bytes of each packet: ``BPF_RET | BPF_K``.
_REFUSE_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)


class AcceptGate:
    """Stops and resumes the making of connections at listening sockets that another library serves.

    While it is closed, the system drops what would begin a connection; clients try again by themselves, and the
    connections that are open go on.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = [listener.dup() for listener in listeners]
        self.is_open = True

    def set_open(self, value: bool) -> None:
        """Let connections be made, or not."""
        if value == self.is_open:
            return
        self.is_open = value
        for listener in self._listeners:
            if value:
                listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            else:
                program = ctypes.create_string_buffer(_REFUSE_ALL)
                pointer = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)

    def close(self) -> None:
        """Close its descriptors; those of the other library stay."""
        for listener in self._listeners:
            listener.close()


async def listening_sockets(hosts: Sequence[str], port: int, last_port: int) -> list[socket.socket]:
    """Return a listening socket for each host, all with the same port.

    The port is ``port``; where that is 0, it is ``last_port`` if that is free, else any. Raises :class:`HostFault`.
    """
    addresses = [await _resolve(host) for host in hosts]
    if port == 0 and last_port:
        with suppress(HostFault):
            return _listen(addresses, last_port)
    return _listen(addresses, port)


async def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HostFault(Message.of("cluster.address_unknown", host=host, reason=str(error))) from error
    family, _, _, _, address = found[0]
    return family, str(address[0])


def _listen(addresses: Sequence[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, host in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            made.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(BACKLOG)
            sock.settimeout(0)
            port = int(sock.getsockname()[1])
    except OSError as error:
        for sock in made:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            raise HostFault(Message.of("cluster.port_taken", host=host, port=port, reason=str(error))) from error
        raise HostFault(Message.of("cluster.address_not_ours", host=host, port=port, reason=str(error))) from error
    return made
