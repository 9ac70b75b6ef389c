"""Where agents connect to: one CurveZMQ ROUTER in the pool manager; every agent has a connection of its own.

The pool manager never connects to a node. Only the agents of expected jobs get through the handshake: their public keys
are asked for in :class:`~.agent_tokens.AgentTokens`, and libzmq says for each message which key it came with. Messages
may be lost with a connection, so that an agent says its whole state in each beat, and commands are repeated until they
are answered; the agent carries each out once. Port and keys are stored: agents find the next pool manager there.

Everything has a limit: the size of a message, the messages that wait on each side, the time of a handshake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils.monitor import parse_monitor_message

from ...errors import Conflict, HostFault, InvalidRequest, Message, NotFound
from .agent_messages import (
    AgentAnswer,
    AgentBeat,
    AgentBye,
    AgentHello,
    Incoming,
    KernelStart,
    KernelStarted,
    KernelState,
    RelayMessage,
    Started,
)
from .agent_tokens import AgentTokens
from .listening import AcceptGate, listening_sockets
from .relay import AgentRelay, ConnectRelayed

log = logging.getLogger(__name__)

PROTOCOL = 1
MESSAGE_BYTES_MAX = 2**20
#: Messages that wait for the pool manager, and for an agent.
MESSAGES_MAX = 256
HANDSHAKE_MS = 5000
#: Connections beside two for each expected agent, of which one tries whether the port is reached.
CONNECTIONS_SPARE = 32
#: After this silence of an agent the engine is asked; the silence itself ends nothing.
SILENT_S = 10.0
WATCH_S = 1.0
#: How long a command other than a start may take, and after which time it is sent again.
COMMAND_S = 15.0
REPEAT_S = 3.0
RELAY_OPERATIONS = frozenset({"open", "data", "ack", "close"})
COMMANDS_MAX = 16
#: So many messages are handled before other tasks of the pool manager have their turn.
BATCH = 32


class AgentEvents(Protocol):
    """What happens to agents, as calls in the thread of the event loop."""

    def on_hello(self, name: str, hello: AgentHello) -> None:
        """Handle that the agent of job ``name`` is there: for the first time, or again."""

    def on_beat(self, name: str, beat: AgentBeat) -> None:
        """Handle the state of an agent."""

    def on_exit(self, name: str, code: int, output: str) -> None:
        """Handle the end of a kernel that had been started, once for each kernel."""

    def on_gone(self, name: str) -> None:
        """Handle that an agent has been silent for :data:`SILENT_S`, which says nothing about its kernel."""

    def on_bye(self, name: str, reason: str) -> None:
        """Handle that an agent ends, and why: ``released``, ``orphaned``, ``terminated``, ``lost`` and the like."""


@dataclass(slots=True)
class _Command:
    message: dict[str, Any]
    answer: asyncio.Future[AgentAnswer]


@dataclass(slots=True)
class _Agent:
    """An agent that is connected, or was a moment ago."""

    route: bytes  #: the routing id of its connection
    hello: AgentHello | None = None
    kernel: KernelState | None = None
    silent_s: float = 0.0
    gone: bool = False
    said_bye: bool = False
    relay: AgentRelay | None = None
    commands: dict[str, _Command] = field(default_factory=dict)

    def end(self) -> None:
        """End what waits for it."""
        if self.relay is not None:
            self.relay.close()
        for command in self.commands.values():
            command.answer.cancel()


class Rendezvous:
    """The agents of expected jobs, by the names of the jobs. ``folder`` has the keys; ``addresses`` are hosts of ours.

    :meth:`open` begins to listen; :meth:`steps` are called for ever from then on.
    """

    def __init__(
        self, folder: Path, events: AgentEvents, *, addresses: Sequence[str], port: int = 0, orphan_after_s: float
    ) -> None:
        self._tokens = AgentTokens(folder)
        self._events = events
        self._addresses = addresses
        self._port = port
        self._orphan_after_s = orphan_after_s
        #: Connects a process on a node to the HTTP server; without it, none is connected.
        self.connect_relayed: ConnectRelayed = lambda _: None
        self._agents: dict[str, _Agent] = {}
        self._context: zmq.asyncio.Context | None = None
        self._socket: zmq.asyncio.Socket | None = None
        self._monitor: zmq.asyncio.Socket | None = None
        self._gate: AcceptGate | None = None
        self._connections: set[int] = set()  #: the descriptors of the connections, of agents and of others
        self._authenticator: AsyncioAuthenticator | None = None
        #: Messages that were dropped, by reason.
        self.dropped: Counter[str] = Counter()

    async def open(self) -> None:
        """Begin to listen. Raises :class:`HostFault` where an address or the port cannot be had."""
        sockets = await listening_sockets(self._addresses, self._port, self._tokens.server.port)
        self.port = int(sockets[0].getsockname()[1])
        self._tokens.keep_port(self.port)
        self._context = zmq.asyncio.Context()
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.log = _silent_log()
        self._authenticator.configure_curve_callback(credentials_provider=self)
        self._authenticator.start()  # before the first handshake, which without it would admit every key
        self._socket = router = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX),
            (zmq.RCVHWM, MESSAGES_MAX),
            (zmq.SNDHWM, MESSAGES_MAX),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, 5000),
            (zmq.HEARTBEAT_TIMEOUT, 15000),
            (zmq.LINGER, 0),
            (zmq.ROUTER_MANDATORY, 1),
        ):
            router.setsockopt(option, value)
        router.curve_server = True
        router.curve_secretkey = self._tokens.server.secret.encode()
        router.curve_publickey = self._tokens.server.public.encode()
        self._gate = AcceptGate(sockets)
        self._monitor = router.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        for listener in sockets:
            host = listener.getsockname()[0]
            router.setsockopt(zmq.IPV6, int(":" in host))
            router.setsockopt(zmq.USE_FD, listener.detach())
            router.bind(f"tcp://[{host}]:{self.port}" if ":" in host else f"tcp://{host}:{self.port}")

    def close(self) -> None:
        """Stop listening; agents and kernels live on and connect to the next pool manager."""
        for agent in self._agents.values():
            agent.end()
        if self._monitor is not None:
            self._monitor.close(0)
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(0)
        if self._gate is not None:
            self._gate.close()
        if self._authenticator is not None:
            self._authenticator.stop()
        if self._context is not None:
            self._context.term()
        self._socket = self._authenticator = self._context = self._monitor = self._gate = None
        self._connections.clear()

    # -- expected agents -----------------------------------------------------------------------------------------------

    def expect(self, name: str) -> bytes:
        """Return the specification (JSON, secret) for the agent of job ``name``; an earlier one for it is void."""
        if (agent := self._agents.pop(name, None)) is not None:
            agent.end()
        token = self._tokens.new(name)
        addresses = [f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}" for host in self._addresses]
        return msgspec.json.encode(
            {
                "name": name,
                "addresses": addresses,
                "server_key": self._tokens.server.public,
                "token": token,
                "orphan_after_s": self._orphan_after_s,
            }
        )

    def forget(self, name: str) -> None:
        """Make the token of job ``name`` void; its agent, if there is one, gives its allocation back."""
        agent = self._agents.pop(name, None)
        self._tokens.forget(name)
        if agent is not None:
            self._send(agent.route, {"op": "refused"})
            agent.end()

    def names(self) -> list[str]:
        """Return the names of the jobs whose agents are expected or there."""
        return self._tokens.names()

    def is_connected(self, name: str, job_id: str | None = None) -> bool:
        """Return whether the agent of job ``name`` was heard within the last :data:`SILENT_S` and has not ended.

        With ``job_id`` it must not be that of another job with the same name.
        """
        agent = self._agents.get(name)
        if agent is None or agent.hello is None or agent.gone or agent.said_bye:
            return False
        return job_id is None or agent.hello.job_id in ("", job_id)

    @property
    def accepts(self) -> bool:
        """Return whether connections can be made: there are not too many."""
        return self._gate is not None and self._gate.is_open

    def callback(self, _domain: str, key: bytes) -> bool:
        """Return whether a client with that public key is an expected agent; called in the handshake."""
        known = self._tokens.name_of(key.decode()) is not None
        if not known:
            self.dropped["unknown_token"] += 1
        return known

    # -- commands ------------------------------------------------------------------------------------------------------

    async def start(self, name: str, start: KernelStart) -> KernelStarted:
        """Start a kernel, or start it again, and return it once it has its ports.

        Raises :class:`HostFault` with the end of its output if it fails, :class:`Conflict` if another one runs,
        :class:`NotFound` for a job that is not expected.
        """
        message: dict[str, Any] = {**start._asdict(), "argv": list(start.argv), "files": dict(start.files)}
        curve = message.pop("curve")
        if curve is not None:
            message["curve_publickey"], message["curve_secretkey"] = curve
        answer = await self._do(name, "start", start.timeout_s + COMMAND_S, message)
        try:
            started = msgspec.convert(answer, Started)
        except msgspec.ValidationError as error:
            raise HostFault(Message.of("cluster.agent_unclear", reason=str(error))) from error
        if (agent := self._agents.get(name)) is not None and (agent.kernel is None or agent.kernel.state == "starting"):
            agent.kernel = KernelState(started.generation, "running", started.pid, None, 0.0)
        return KernelStarted(started.connection.info(), started.pid, started.generation)

    async def signal(self, name: str, signum: int) -> None:
        """Send a signal to the kernel's process group. Raises :class:`Conflict` where no kernel runs."""
        await self._do(name, "signal", COMMAND_S, {"signum": signum})

    async def end_kernel(self, name: str) -> None:
        """Begin to end the kernel: SIGTERM, after 2 s SIGKILL. Its end is reported as the end of any kernel."""
        await self._do(name, "end", COMMAND_S, {})

    async def release(self, name: str) -> None:
        """Let the agent end the kernel and give its allocation back.

        Raises :class:`HostFault` where the agent does not answer; it may have ended all the same.
        """
        await self._do(name, "release", COMMAND_S, {})

    async def _do(self, name: str, command: str, timeout_s: float, values: Mapping[str, Any]) -> dict[str, Any]:
        if name not in self._tokens:
            raise NotFound(Message.of("cluster.no_agent"))
        agent = self._agents.get(name)
        if agent is None or agent.hello is None:
            raise HostFault(Message.of("cluster.agent_silent"))
        if len(agent.commands) >= COMMANDS_MAX:
            raise Conflict(Message.of("cluster.agent_busy"))
        identity = uuid.uuid4().hex
        message = {**values, "op": "do", "id": identity, "command": command}
        if len(msgspec.json.encode(message)) > MESSAGE_BYTES_MAX // 2:
            raise InvalidRequest(Message.of("cluster.start_too_large"))
        pending = _Command(message, asyncio.get_running_loop().create_future())
        agent.commands[identity] = pending
        try:
            answer = await self._repeat(agent, pending, timeout_s)
        finally:
            agent.commands.pop(identity, None)
        if answer.error is not None:
            raise _error_of(answer.error.code, answer.error.text)
        return answer.result or {}

    async def _repeat(self, agent: _Agent, pending: _Command, timeout_s: float) -> AgentAnswer:
        """Send a command until it is answered: it, or its answer, may be lost with a connection."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            self._send(agent.route, pending.message)
            left_s = deadline - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait({pending.answer}, timeout=max(0.0, min(REPEAT_S, left_s)))
            if done:
                if pending.answer.cancelled():
                    raise HostFault(Message.of("cluster.agent_gone"))
                return pending.answer.result()
            if left_s <= REPEAT_S:
                raise HostFault(Message.of("cluster.agent_silent"))

    def steps(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return what is to be called again and again while the rendezvous is open, by the name of the task.

        All of them are needed: libzmq serves no connection while its events wait for :meth:`limit_connections`.
        """
        return {
            "agents": self.receive,
            "agents_silence": self.watch,
            "agents_connections": self.limit_connections,
        }

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def receive(self) -> None:
        """Handle the messages that come next, after waiting for the first of them."""
        assert self._socket is not None
        await self._socket.poll()
        for _ in range(BATCH):
            try:
                frames = await self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            try:
                self._handle(frames)
            except (msgspec.MsgspecError, UnicodeDecodeError, IndexError, zmq.ZMQError):
                self.dropped["malformed"] += 1
            except OSError as error:  # other agents must be heard; this one says it again
                if not self.dropped["not_stored"]:
                    log.error("An agent that reports for the first time cannot be noted: %s", error)  # noqa: TRY400
                self.dropped["not_stored"] += 1
        await asyncio.sleep(0)

    async def watch(self) -> None:
        """After a pause, report the agents that have been silent."""
        await asyncio.sleep(WATCH_S)
        for name, agent in list(self._agents.items()):
            # A pause in which this process was stopped does not count: what came meanwhile is not read yet.
            agent.silent_s += WATCH_S
            if agent.silent_s >= SILENT_S and not agent.gone:
                agent.gone = True
                self._events.on_gone(name)

    async def limit_connections(self) -> None:
        """Handle the next connection that is made or lost: above a limit no more are made until some are lost.

        A peer that is no agent has :data:`HANDSHAKE_MS`, then its connection is closed.
        """
        assert self._monitor is not None
        assert self._gate is not None
        event = parse_monitor_message(await self._monitor.recv_multipart())
        if event["event"] == zmq.EVENT_ACCEPTED:
            self._connections.add(event["value"])
        else:
            self._connections.discard(event["value"])
        most = CONNECTIONS_SPARE + 2 * len(self._tokens)
        if len(self._connections) >= most:
            self._connections = {each for each in self._connections if _is_socket(each)}  # an event may be lost
        self._gate.set_open(len(self._connections) < most)

    def _handle(self, frames: Sequence[Any]) -> None:
        route, body = bytes(frames[0].buffer), bytes(frames[1].buffer)
        name = self._tokens.name_of(str(frames[1].get("User-Id")))
        if name is None:  # forgotten since the handshake
            self.dropped["forgotten"] += 1
            self._send(route, {"op": "refused"})
            return
        operation = msgspec.json.decode(body, type=Incoming).op
        if operation == "hello":
            self._on_hello(name, route, msgspec.json.decode(body, type=AgentHello))
            return
        agent = self._agents.get(name)
        if agent is None or agent.hello is None or agent.route != route:
            # The first message of a connection is not its hello where the pool manager was started again.
            self._send(route, {"op": "pong", "hello": True})
            return
        agent.silent_s, agent.gone = 0.0, False
        if agent.relay is not None and operation in RELAY_OPERATIONS:
            payload = bytes(frames[2].buffer) if len(frames) > 2 else b""
            agent.relay.on_message(msgspec.json.decode(body, type=RelayMessage), payload)
        elif operation == "beat":
            self._send(route, {"op": "pong"})
            beat = msgspec.json.decode(body, type=AgentBeat)
            self._note_kernel(name, agent, beat.kernel)
            self._events.on_beat(name, beat)
        elif operation == "answer":
            answer = msgspec.json.decode(body, type=AgentAnswer)
            command = agent.commands.get(answer.id)
            if command is not None and not command.answer.done():
                command.answer.set_result(answer)
        elif operation == "bye":
            bye = msgspec.json.decode(body, type=AgentBye)
            agent.said_bye = True
            for identity, command in agent.commands.items():
                if command.message["command"] == "release" and not command.answer.done():  # its answer may be lost
                    command.answer.set_result(AgentAnswer(bye.instance, identity))
            self._events.on_bye(name, bye.reason)

    def _on_hello(self, name: str, route: bytes, hello: AgentHello) -> None:
        if hello.protocol != PROTOCOL or not self._tokens.claim(name, hello.instance):
            self.dropped["reused_token"] += 1
            self._send(route, {"op": "refused"})
            return
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = _Agent(route)
        if agent.relay is not None and agent.route != route:
            agent.relay.close()
            agent.relay = None
        if agent.relay is None:
            agent.relay = AgentRelay(name, self._connect_relayed, partial(self._send, route))
        agent.route, agent.hello, agent.silent_s, agent.gone = route, hello, 0.0, False
        self._send(route, {"op": "pong"})
        for command in agent.commands.values():
            self._send(route, command.message)
        self._events.on_hello(name, hello)
        self._note_kernel(name, agent, hello.kernel)

    def _connect_relayed(self, name: str) -> socket.socket | None:
        return self.connect_relayed(name)

    def _note_kernel(self, name: str, agent: _Agent, kernel: KernelState | None) -> None:
        """Report the end of a kernel that was seen alive, or that ended unseen, once."""
        before, agent.kernel = agent.kernel, kernel
        if kernel is None or kernel.exit_code is None:
            return
        if before is None or before.generation != kernel.generation or before.exit_code is None:
            self._events.on_exit(name, kernel.exit_code, kernel.output)

    def _send(self, route: bytes, message: Mapping[str, Any] | RelayMessage, payload: bytes = b"") -> bool:
        """Send a message; return False, and drop it, where the connection is gone or does not take more."""
        if self._socket is None:
            return False
        # With the flag, the future is done at once: nothing waits for a slow agent.
        sent: Any = self._socket.send_multipart([route, msgspec.json.encode(message), payload], flags=zmq.NOBLOCK)
        if sent.exception() is not None:
            self.dropped["not_sent"] += 1
            return False
        return True


def _is_socket(descriptor: int) -> bool:
    """Return whether a descriptor of this process is an open socket."""
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _silent_log() -> logging.Logger:
    """Return a logger without output: each refused handshake would be a line."""
    silent = logging.getLogger(f"{__name__}.handshakes")
    silent.propagate = False
    silent.disabled = True
    return silent


def _error_of(code: str, text: str) -> HostFault | Conflict | InvalidRequest:
    """Return the error that an agent's refusal is."""
    if code in ("running", "starting"):
        return Conflict(Message.of("cluster.kernel_runs"))
    if code == "no_kernel":
        return Conflict(Message.of("cluster.no_kernel"))
    if code == "not_encrypting":
        return InvalidRequest(Message.of("cluster.kernel_not_encrypting"))
    if code == "no_ports":
        return HostFault(Message.of("cluster.kernel_silent", output=text))
    return HostFault(Message.of("cluster.kernel_failed", output=text))
