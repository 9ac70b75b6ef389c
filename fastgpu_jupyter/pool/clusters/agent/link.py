"""The agent's one connection, which goes out to the pool manager: CurveZMQ with the token as the secret key."""

from __future__ import annotations

import json
import time
from typing import Any, Iterator

import zmq
from zmq.utils.monitor import parse_monitor_message

from .node import accepts, host_and_port

MESSAGE_BYTES_MAX = 2**20
MESSAGES_MAX = 1000
#: How long the pool manager may be silent before another of its addresses is tried, and an attempt may take.
ADDRESS_S = 15.0
PROBE_S = 3.0
RETRY_S = 1.0
#: How often in succession the pool manager refuses the token before the agent gives up.
REFUSALS = 4
WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED


class OutgoingLink:
    """The connection to the pool manager that has the key ``server_key`` at one of ``addresses``."""

    def __init__(self, addresses: list[str], server_key: str, token: str) -> None:
        self._addresses = addresses
        self._keys = server_key.encode(), zmq.curve_public(token.encode()), token.encode()
        self._context = zmq.Context()
        self._next = 0
        self._tried = float("-inf")
        self._refusals = 0
        self.address: str | None = None
        self.connected = False  #: the handshake is done
        self.socket: Any = None
        self.monitor: Any = None

    @property
    def refused(self) -> bool:
        """Return whether the pool manager itself keeps refusing the token."""
        return self._refusals >= REFUSALS

    def connect(self) -> None:
        """Connect to the next address that accepts connections, if no connection was made or answered for a while."""
        now = time.monotonic()
        if now - self._tried < (RETRY_S if self.address is None else ADDRESS_S):
            return
        self._tried = now
        address = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        if accepts(*host_and_port(address), PROBE_S):
            self._open(address)
            self._tried = time.monotonic()

    def heard(self) -> None:
        """Note that the pool manager answers at this address."""
        self._tried = time.monotonic()
        self._refusals = 0

    def send(self, message: dict[str, Any], payload: bytes = b"") -> bool:
        """Send a message, or drop it and return False where there is no connection or it does not take more."""
        if self.socket is None:
            return False
        try:
            self.socket.send_multipart([json.dumps(message).encode(), payload], zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def receive(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the messages that have come; what is none is left out."""
        while self.socket is not None:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            try:
                message = json.loads(frames[0])
                payload = frames[1]
            except (ValueError, IndexError):
                continue
            if isinstance(message, dict):
                yield message, payload

    def changed(self) -> bool:
        """Note what became of the connection; return whether it was made or lost since the last call."""
        before = self.connected
        lost = refused = False
        while self.monitor is not None:
            try:
                event = parse_monitor_message(self.monitor.recv_multipart(zmq.NOBLOCK))["event"]
            except zmq.ZMQError:
                break
            self.connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            lost = lost or not self.connected
            refused = refused or event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
        if refused:  # libzmq does not try again
            self._refusals += 1
            self.close(0)
        return lost or self.connected != before

    def close(self, linger_ms: int = 1000) -> None:
        """Close the connection once what was sent has gone out, or that time is over."""
        if self.socket is not None:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(linger_ms)
        self.socket = self.monitor = self.address = None
        self.connected = False
        if linger_ms:
            self._context.term()

    def _open(self, address: str) -> None:
        self.close(0)
        self.socket = self._context.socket(zmq.DEALER)
        self.monitor = self.socket.get_monitor_socket(WATCHED)
        for option, value in (
            (zmq.SNDHWM, MESSAGES_MAX), (zmq.RCVHWM, MESSAGES_MAX), (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.IMMEDIATE, 1),  # nothing is kept for a pool manager that is not there: it asks again
            (zmq.RECONNECT_IVL, 200), (zmq.RECONNECT_IVL_MAX, 5000), (zmq.CONNECT_TIMEOUT, 5000),
            (zmq.HANDSHAKE_IVL, 10000), (zmq.HEARTBEAT_IVL, 2000), (zmq.HEARTBEAT_TIMEOUT, 10000),
            (zmq.IPV6, int(address.startswith("["))),
        ):  # fmt: skip
            self.socket.setsockopt(option, value)
        self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = self._keys
        self.socket.connect("tcp://" + address)
        self.address = address
