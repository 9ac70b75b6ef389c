"""To which of some leases a process belongs: to those of its nearest relation, itself first, then its ancestors.

A process is a relation of a lease where it is the lease's holder, or where its environment names the lease and its user
is the holder's: nobody's process counts for a lease of somebody else by what it says of itself. A kernel that gave one
lease back and asked for another holds both until the first has ended; its environment names the first for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ...core.model import Holder
from .process import lease_of

#: Longer chains of ancestors are a mistake.
ANCESTORS_MAX = 256


class Relation(NamedTuple):
    """A process, as the system shows it."""

    pid: int
    start_time: int
    uid: int
    named: str | None  #: the lease that its environment names


def relations(pid: int) -> Iterator[Relation]:
    """The process and its ancestors, the nearest first."""
    for _ in range(ANCESTORS_MAX):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            uid = Path(f"/proc/{pid}").stat().st_uid
        except OSError:
            return
        yield Relation(pid, int(fields[19]), uid, lease_of(pid))
        pid = int(fields[1])
        if pid <= 1:
            return


def leases_of(pid: int, holders: Mapping[str, Holder]) -> frozenset[str]:
    """The leases of that process, of those that ``holders`` names; none where it has none."""
    by_process: dict[tuple[int, int], list[str]] = {}
    for lease_id, holder in holders.items():
        by_process.setdefault((holder.pid, holder.start_time), []).append(lease_id)
    own: str | None = None
    for one in relations(pid):
        if one.pid == pid:
            own = one.named
        found = set(by_process.get((one.pid, one.start_time), ()))
        if one.pid != pid and one.named is None and own not in (None, *found):
            found.clear()  # a server, which holds leases of kernels to come: this one runs, and is of none of those
        named = holders.get(one.named or "")
        if named is not None and named.uid == one.uid:
            found.add(str(one.named))
        if found:
            return frozenset(found)
    return frozenset()
