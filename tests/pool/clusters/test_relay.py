"""Processes on a node reach the pool manager by the agent's connection, with the rights of their lease only."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import CallerError, Forbidden, PoolUnreachable
from fastgpu_jupyter.pool.clusters.agent.relay import RELAY_CONNECTIONS_MAX
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.pool.clusters.agents import NAME, SMALL_KERNEL, Cluster, cluster_in, facts_of
from tests.pool.conftest import Serve
from tests.waiting import DEADLINE_S, async_wait_until, wait_until

pytestmark = pytest.mark.slow


async def relay_of(cluster: Cluster) -> Path:
    """Start an agent and a kernel that gets the path of the relay and a file, and return that path."""
    await cluster.agent()
    env = {"FASTGPU_SOCKET": "{relay}", "FASTGPU_TOKEN_FILE": "{folder}/token"}
    await cluster.start(argv=SMALL_KERNEL, env=env, files={"token": "a token"})
    environ = facts_of(cluster)["environ"]
    return checked(Path(environ["FASTGPU_TOKEN_FILE"]), Path(environ["FASTGPU_SOCKET"]))


def checked(token_file: Path, relay: Path) -> Path:
    """Return the path of the relay, which is private as the file is."""
    assert (token_file.read_text(), token_file.stat().st_mode & 0o777) == ("a token", 0o600)
    assert (relay.stat().st_mode & 0o777, relay.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    return relay


def test_relayed_caller_has_its_lease_only(tmp_path: Path, serve: Serve) -> None:
    """Without the token nothing is answered; with it, the own lease and readings, and none of other leases."""
    served = serve("2xA100-80GB")
    token = new_token()
    own = served.client.request("full", token=token)["id"]
    other = served.client.request("full", token=new_token())["id"]

    def calls(relay: Path) -> None:
        client = PoolClient(relay, timeout_s=DEADLINE_S, token=token)
        assert client.health() == {"status": "ok"}
        assert client.lease(own)["id"] == own
        assert client.activity(own, token, busy=True)["id"] == own
        assert client.sizes()
        assert [view["id"] for view in client.leases()] == [own]
        with closing(client.events(own)) as events:
            assert next(iter(events))["type"] == "snapshot"
        without, wrong = PoolClient(relay, timeout_s=DEADLINE_S), PoolClient(relay, token=new_token())
        for refused in (
            lambda: without.lease(own),
            without.leases,
            lambda: next(iter(without.events())),
            lambda: wrong.lease(own),
            lambda: wrong.release(own),
            lambda: client.lease(other),
            lambda: client.release(other),
            lambda: next(iter(client.events(other))),
            lambda: client.bind(own, token),
            lambda: client.end_kernel(own, token),
            lambda: client.request("full", token=token),
            lambda: client.drain("GPU-0", drained=True),
        ):
            assert_refused(refused)
        assert {view["state"] for view in served.client.leases()} == {"active"}

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            cluster.rendezvous.connect_relayed = lambda name: served.call(
                lambda: served.server.connect_relayed(own) if name == NAME else None
            )
            await asyncio.to_thread(calls, await relay_of(cluster))

    asyncio.run(story())


def assert_refused(call: Callable[[], Any]) -> None:
    """Assert that a call is refused as one of a caller without rights."""
    with pytest.raises(CallerError) as refused:
        call()
    assert isinstance(refused.value, Forbidden) or refused.value.status == 404


def test_relay_passes_bytes_within_limits(tmp_path: Path) -> None:
    """Megabytes pass both ways unchanged; a reader that does not read holds up itself only; connections are limited."""
    content = bytes(range(256)) * 8192  # 2 MiB: several windows
    servers: list[socket.socket] = []

    def connect(_: str) -> socket.socket:
        theirs, ours = socket.socketpair()
        ours.settimeout(DEADLINE_S)
        servers.append(ours)
        return theirs

    def opened(relay: Path) -> tuple[socket.socket, socket.socket]:
        client = unixsocket.connect(relay, DEADLINE_S)
        client.sendall(b"hello")
        wait_until(lambda: len(servers) > len(seen), "the connection is relayed")
        seen.append(servers[-1])
        assert read(servers[-1], 5) == b"hello"
        return client, servers[-1]

    def calls(relay: Path) -> None:
        slow_client, slow_server = opened(relay)
        slow_server.settimeout(1.0)
        with pytest.raises(TimeoutError):
            slow_server.sendall(content * 4)  # its client reads nothing
        client, server = opened(relay)
        for source, target in ((client, server), (server, client)):
            sending = threading.Thread(target=source.sendall, args=(content,))
            sending.start()
            assert read(target, len(content)) == content
            sending.join()
        server.close()
        assert client.recv(1) == b""
        more = [unixsocket.connect(relay, DEADLINE_S) for _ in range(RELAY_CONNECTIONS_MAX)]
        ended = [sock for sock in more if has_ended(sock)]
        assert len(ended) == 1, "one is relayed already"
        for sock in (slow_client, client, *more):
            sock.close()

    seen: list[socket.socket] = []

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            cluster.rendezvous.connect_relayed = connect
            await asyncio.to_thread(calls, await relay_of(cluster))

    asyncio.run(story())
    for sock in servers:
        sock.close()


def read(sock: socket.socket, count: int) -> bytes:
    """Return so many bytes of a connection."""
    found = b""
    while len(found) < count and (piece := sock.recv(count - len(found))):
        found += piece
    return found


def has_ended(sock: socket.socket) -> bool:
    """Return whether the other end closes a connection soon."""
    sock.settimeout(0.05)
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False


def test_relay_without_pool_manager_closes(tmp_path: Path) -> None:
    """A connection is closed when that of the agent is lost, and refused until it is back."""
    ends: list[socket.socket] = []

    def connect(_: str) -> socket.socket:
        theirs, ours = socket.socketpair()
        ends.append(ours)
        return theirs

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            cluster.rendezvous.connect_relayed = connect
            relay = await relay_of(cluster)
            sock = unixsocket.connect(relay, DEADLINE_S)
            await async_wait_until(lambda: ends, "the connection is relayed")
            await cluster.close()
            assert await asyncio.to_thread(sock.recv, 1) == b""
            with pytest.raises(PoolUnreachable):
                await asyncio.to_thread(PoolClient(relay, DEADLINE_S).health)
            sock.close()
            await cluster.open()

    asyncio.run(story())
    for end in ends:
        end.close()
