"""The addresses of this host at which agents reach the pool manager."""

from __future__ import annotations

import asyncio
import socket

from ...errors import HostFault, Message
from .engine import Engine
from .engine_thread import EngineThread

#: Nothing is sent to it: a route is looked up.
_PORT = 9


async def own_addresses(configured: str, thread: EngineThread, engine: Engine) -> list[str]:
    """Return the configured addresses, else the one from which a host of the engine is reached.

    Raises :class:`HostFault` where there is none, and :class:`EngineUnavailable`.
    """
    if given := [one for one in configured.replace(",", " ").split() if one]:
        return given
    host = await thread.call(engine.controller) or socket.gethostname()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, _PORT, type=socket.SOCK_DGRAM)
        family, kind, _, _, target = found[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return [str(probe.getsockname()[0])]
    except OSError as error:
        raise HostFault(Message.of("cluster.no_address", host=host, reason=str(error))) from error
