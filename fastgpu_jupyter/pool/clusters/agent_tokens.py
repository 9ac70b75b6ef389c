"""The keys of the rendezvous, in files of the pool's state folder: its own key pair and port, and those of its agents.

The token of an agent is the secret half of a CurveZMQ key pair: 256 random bits. Only the public half is stored, so
that no one who reads the files can speak for an agent. A token works once: for the process that uses it first, which
has a random number that it says with each message; only a digest of that is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from ...wire.private_files import write_private

log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SUFFIX = ".agent"


class ServerKeys(msgspec.Struct):
    """The rendezvous' own keys, and the port that it had last; 0 before the first time."""

    public: str
    secret: str
    port: int = 0


class _Stored(msgspec.Struct):
    public: str
    instance_sha256: str = ""


@dataclass(slots=True)
class _Expected:
    name: str
    public: str
    instance_sha256: str


class AgentTokens:
    """The tokens in ``folder``, which is made with the mode 0700 if it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.server = self._read_server()
        self._by_name: dict[str, _Expected] = {}
        self._by_key: dict[str, _Expected] = {}
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            self._read(path)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def names(self) -> list[str]:
        """Return the names of the jobs whose agents are expected or there."""
        return list(self._by_name)

    def keep_port(self, port: int) -> None:
        """Store the port, so that agents find the next pool manager there."""
        if self.server.port != port:
            self.server.port = port
            write_private(self._server_path, msgspec.json.encode(self.server))

    def new(self, name: str) -> str:
        """Return a new token for the agent of job ``name``; an earlier one is void."""
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        self.forget(name)
        public, secret = (key.decode() for key in zmq.curve_keypair())
        self._store(_Expected(name, public, ""))
        return secret

    def forget(self, name: str) -> None:
        """Make the token of job ``name`` void."""
        expected = self._by_name.pop(name, None)
        if expected is not None:
            del self._by_key[expected.public]
            self._path(name).unlink(missing_ok=True)

    def name_of(self, public_key: str) -> str | None:
        """Return the job whose agent has that public key; None for a key that is not expected."""
        expected = self._by_key.get(public_key)
        return expected.name if expected else None

    def claim(self, name: str, instance: str) -> bool:
        """Return whether the process ``instance`` may use the token of ``name``: the first one that asks."""
        expected = self._by_name.get(name)
        if expected is None:
            return False
        digest = hashlib.sha256(instance.encode()).hexdigest()
        if not expected.instance_sha256:
            self._store(_Expected(name, expected.public, digest))
            return True
        return hmac.compare_digest(expected.instance_sha256, digest)

    @property
    def _server_path(self) -> Path:
        return self._folder / "rendezvous.json"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"

    def _store(self, expected: _Expected) -> None:
        stored = _Stored(expected.public, expected.instance_sha256)
        write_private(self._path(expected.name), msgspec.json.encode(stored))
        self._add(expected)

    def _add(self, expected: _Expected) -> None:
        self._by_name[expected.name] = self._by_key[expected.public] = expected

    def _read(self, path: Path) -> None:
        try:
            stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        except (OSError, msgspec.MsgspecError):
            log.warning("The token file %s cannot be read; its agent gives its allocation back.", path.name)
            return
        self._add(_Expected(path.name.removesuffix(_SUFFIX), stored.public, stored.instance_sha256))

    def _read_server(self) -> ServerKeys:
        try:
            return msgspec.json.decode(self._server_path.read_bytes(), type=ServerKeys)
        except FileNotFoundError:
            pass
        except msgspec.MsgspecError:
            log.warning("The keys of the rendezvous cannot be read; earlier agents give their allocations back.")
        public, secret = (key.decode() for key in zmq.curve_keypair())
        keys = ServerKeys(public, secret)
        write_private(self._server_path, msgspec.json.encode(keys))
        return keys
