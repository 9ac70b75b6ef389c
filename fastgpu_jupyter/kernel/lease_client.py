"""Access of a kernel to its pool: clients, and the token of its lease."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..wire.variables import lease_file

if TYPE_CHECKING:
    from ..wire.client import PoolClient

#: What an import may raise once the package was upgraded or removed under the process.
IMPORT_ERRORS = (ImportError, AttributeError, SyntaxError)
#: Time limit of calls that a shutdown or a background thread makes.
QUICK_TIMEOUT_S = 2.0


class LeaseClient:
    """Clients of the pool, and the token that this kernel's lease was requested with."""

    def __init__(self, token_file: Path | None, connect: Callable[[], PoolClient], *, on_cluster: bool = False) -> None:
        """``on_cluster``: the pool is on another host, where only the token says who calls."""
        self._token_file = token_file
        self._on_cluster = on_cluster
        #: Return a client of a pool that answers; start the pool where none serves.
        self.connect: Callable[[], PoolClient] = (lambda: self._with_token(connect())) if on_cluster else connect

    def quick(self) -> PoolClient:
        """Return a client with a short time limit that starts no pool."""
        from ..wire.client import PoolClient
        from ..wire.locate import pool_socket

        client = PoolClient(pool_socket(), timeout_s=QUICK_TIMEOUT_S)
        return self._with_token(client) if self._on_cluster else client

    def _with_token(self, client: PoolClient) -> PoolClient:
        client.token = self.token()
        return client

    def token(self) -> str | None:
        """Return the lease's token; None where there is no token file."""
        try:
            return self._token_file.read_text().strip() if self._token_file else None
        except FileNotFoundError:
            return None

    @property
    def has_provisioner(self) -> bool:
        """Whether a provisioner started this process, which can request a lease for it."""
        return self._token_file is not None

    def take_requested(self) -> str | None:
        """Return, once, the id of the lease that the server requested for this kernel; None if there is none."""
        if self._token_file is not None:
            with contextlib.suppress(OSError):
                path = lease_file(self._token_file)
                lease_id = path.read_text().strip()
                path.unlink()
                return lease_id or None
        return None

    def new_token(self) -> str:
        """Return a new token and write it where the provisioner reads it."""
        from ..wire.client import new_token

        token = new_token()
        if self._token_file is None:
            return token  # not started by a provisioner: the lease ends with this process
        # The provisioner releases and binds with the token in this file, so the next lease must use that token.
        with os.fdopen(os.open(self._token_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(token)
        return token


def connect_or_start() -> PoolClient:
    """Return a client of the user's pool; start the pool where none serves."""
    # Imported late: the first cell of a granted kernel needs no client.
    from ..wire.spawn import ensure_pool

    return ensure_pool()
