"""Peers that are no agents: garbage, huge frames, wrong keys, slow ones, many. They neither stop nor grow the pool."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from fastgpu_jupyter.pool.clusters.listening import BACKLOG
from fastgpu_jupyter.pool.clusters.rendezvous import CONNECTIONS_SPARE, MESSAGE_BYTES_MAX
from tests.pool.clusters.agents import NAME, SMALL_KERNEL, cluster_in
from tests.waiting import DEADLINE_S, async_wait_until

pytestmark = pytest.mark.slow
#: The greeting of ZMTP 3.1 (https://rfc.zeromq.org/spec/37/) of a client with the CURVE mechanism.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)
#: A command frame of 8 GiB, whose length the receiver would have to reserve.
HUGE = b"\x06" + struct.pack(">Q", 8 << 30)
PEERS = 300
GROWTH_BYTES_MAX = 24 << 20


@contextlib.contextmanager
def connections() -> Iterator[list[socket.socket]]:
    """Yield sockets that are not connected yet."""
    made = [socket.socket() for _ in range(PEERS)]
    try:
        yield made
    finally:
        for sock in made:
            sock.close()


def connect(sockets: Sequence[socket.socket], port: int) -> None:
    """Begin to connect; the other end may accept some only."""
    for sock in sockets:
        sock.settimeout(0)
        sock.connect_ex(("127.0.0.1", port))


def send(sock: socket.socket, content: bytes) -> None:
    """Send what the system takes at once; the other end may have closed the connection."""
    with contextlib.suppress(OSError):
        sock.send(content)


def test_hostile_peers_neither_stop_nor_grow_the_pool(tmp_path: Path) -> None:
    process = psutil.Process()

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            rendezvous = cluster.rendezvous
            await cluster.agent()
            descriptors, memory = process.num_fds(), process.memory_info().rss
            with connections() as peers:
                half = PEERS // 2
                await asyncio.to_thread(connect, peers[:half], rendezvous.port)
                await async_wait_until(lambda: not rendezvous.accepts, "no more connections are made")
                # libzmq may have accepted some more until the loop had its turn, but none of those that come now.
                assert process.num_fds() >= descriptors + PEERS + CONNECTIONS_SPARE
                await asyncio.to_thread(connect, peers[half:], rendezvous.port)
                assert process.num_fds() <= descriptors + PEERS + half + BACKLOG
                started = await cluster.start(argv=SMALL_KERNEL)  # agents that are there are served
                for number, peer in enumerate(peers):
                    send(peer, (os.urandom(4096), GREETING + HUGE, GREETING[:5], b"GET / HTTP/1.1\r\n\r\n")[number % 4])
                # Those that say nothing are closed after the time of a handshake.
                await async_wait_until(lambda: rendezvous.accepts, "connections are made again")
            await asyncio.to_thread(speak_with_wrong_keys, json.loads(rendezvous.expect("other")))
            assert process.memory_info().rss - memory <= GROWTH_BYTES_MAX
            assert rendezvous.dropped["unknown_token"] >= 1
            assert (await cluster.start(argv=SMALL_KERNEL)) == started
            second = f"{NAME}0"
            await cluster.agent(second)
            await async_wait_until(lambda: rendezvous.is_connected(second), "the second agent is there")

    asyncio.run(story())


def speak_with_wrong_keys(spec: dict[str, Any]) -> None:
    """Try the handshake with an unknown key of the server, an unknown one of a client, and no encryption."""
    address = spec["addresses"][0]
    events = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED
    with zmq.Context() as context:
        for server_key in (str(spec["server_key"]).encode(), zmq.curve_keypair()[0], None):
            with context.socket(zmq.DEALER) as dealer, dealer.get_monitor_socket(events) as monitor:
                if server_key is not None:
                    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
                    dealer.curve_serverkey = server_key
                dealer.linger = 0
                dealer.connect(f"tcp://{address}")
                dealer.send_multipart([b"x" * 1000, b""])
                assert monitor.poll(int(1000 * DEADLINE_S)), "the connection was kept"
                dealer.disable_monitor()


def test_hostile_agent_breaks_nothing(tmp_path: Path) -> None:
    """What an agent itself sends is checked: garbage, unknown commands, wrong types, too much, too large."""

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            rendezvous = cluster.rendezvous
            await asyncio.to_thread(speak_nonsense, json.loads(rendezvous.expect("other")))
            await async_wait_until(lambda: rendezvous.dropped["malformed"] >= 5, "the messages are dropped")
            await cluster.agent()
            assert not [name for name, _ in cluster.events.hellos if name == "other"]

    asyncio.run(story())


def speak_nonsense(spec: dict[str, Any]) -> None:
    """Send what no agent sends, with the token of one, and return when the connection was closed for it."""
    address = spec["addresses"][0]
    hello = {"op": "hello", "protocol": 1, "instance": "x", "host": "n1" * 500}
    messages = (b"\xff\xfe", b"[]", b'{"op": "none"}', b"{" * 9000, json.dumps(hello).encode())
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = dealer.rcvhwm = 0  # it notices the end although it reads no answers
        dealer.curve_secretkey = secret = str(spec["token"]).encode()
        dealer.curve_publickey, dealer.curve_serverkey = zmq.curve_public(secret), str(spec["server_key"]).encode()
        with dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
            dealer.connect(f"tcp://{address}")
            for message in messages:
                dealer.send_multipart([message, b""])
            dealer.send(b'{"op": "data"}')
            for number in range(2000):
                dealer.send_multipart([b'{"op": "data", "c": %d}' % number, bytes(1000)])
            dealer.send_multipart([bytes(MESSAGE_BYTES_MAX + 1), b""])
            assert monitor.poll(int(1000 * DEADLINE_S)), "a message over the limit was taken"
            dealer.disable_monitor()
