"""Finds processes that hold leases of the pool at a socket, for a pool that does not know them."""

from __future__ import annotations

import os
from pathlib import Path

from ...wire.locate import SOCKET_VARIABLE
from ...wire.variables import LEASE


def find_lease_holders(socket_path: Path) -> list[int]:
    """Return the processes whose environment names a lease and the pool at ``socket_path``; of all users, for root."""
    pool = f"{SOCKET_VARIABLE}={socket_path}".encode()
    lease = f"{LEASE}=".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if pool in environment and any(entry.startswith(lease) and entry != lease for entry in environment):
            found.append(int(folder.name))
    return sorted(found)
