"""How much memory the standby kernels of a host may have, and which of them: shared out between Jupyter servers.

Each host and each control group with a limit is a *domain*, of whose memory standby kernels may have a part. Kernels
are admitted one by one, always the next one of the server that has the least memory already, so that no server has a
second kernel while another one has none that would fit. Memory beyond an even share counts as if the server had it
already, so that one large kernel does not take the place of several small ones. Of servers with nothing yet the one
that waits longest goes first. A kernel that exists, or was allowed, goes before a new one of about the same order:
measured memory varies a little, and nothing is gained by ending one kernel for another. A kernel that takes the place
of others starts when these have ended, so that the budget holds at any time.

Pure: processes, clocks and files are those of :mod:`.monitors.standby`. Nothing is journalled, because standby kernels
hold no lease, and their servers report them again within seconds.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

#: So much of what a server has counts for a kernel that exists when kernels are put in order.
PRESENT_WEIGHT = 0.75
#: No interpreter with ipykernel takes less; a server that wants less is not believed.
KERNEL_BYTES_MIN = 24 * 2**20


class StandbyRefusal(StrEnum):
    """Why a standby kernel may not be."""

    OFF = "off"  #: the administrator allows none
    UNKNOWN_MEMORY = "unknown_memory"  #: the host's memory cannot be read
    PRESSURE = "pressure"  #: processes wait for memory
    LOW_MEMORY = "low_memory"  #: little memory is available
    BUDGET = "budget"  #: all standby kernels together would have too much
    NOT_SEEN = "not_seen"  #: there is no such child of the caller
    TOO_MANY_SERVERS = "too_many_servers"


class Domain(NamedTuple):
    """What standby kernels may have in one host or control group."""

    budget_bytes: int
    refusal: StandbyRefusal | None = None  #: why they may have nothing now
    new_refusal: StandbyRefusal | None = None  #: why no new one may be started now


class Kernel(NamedTuple):
    """A standby kernel that exists."""

    pid: int
    memory_bytes: int
    domains: tuple[str, ...]


@dataclass(slots=True)
class StandbyServer:
    """What one Jupyter server reported, or what is left of it."""

    uid: int
    kernels: list[Kernel] = field(default_factory=list)  #: those first that it would rather keep
    wanted_bytes: int | None = None
    domains: tuple[str, ...] = ()  #: of the server, in which its next kernel starts
    allowed: bool = False  #: it may start the kernel that it wants, or has started it
    waiting_since_s: float = 0.0  #: since when it wants one beside these kernels
    refusal: StandbyRefusal | None = None  #: why it may not start it


class Decision(NamedTuple):
    """The standby kernels that may not be, each with the reason: by server and pid, and wanted ones by server."""

    ended: Mapping[tuple[str, int], StandbyRefusal]
    not_started: Mapping[str, StandbyRefusal]


class _Item(NamedTuple):
    """The next kernel of one server, in the order of admission."""

    before_bytes: float  #: what the server has already, and what the kernel has beyond an even share
    new: bool
    waiting_since_s: float
    name: str
    number: int  #: of the kernel in the server's order; behind the last: the wanted one


def decide(servers: Mapping[str, StandbyServer], domains: Mapping[str, Domain]) -> Decision:
    """Return which standby kernels may not be, so that those of each domain have at most its budget."""
    used: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    ended: dict[tuple[str, int], StandbyRefusal] = {}
    not_started: dict[str, StandbyRefusal] = {}
    share_bytes = _even_share(servers, domains)
    queue = [item for name, server in servers.items() for item in _next(name, server, 0, 0, share_bytes)]
    heapq.heapify(queue)
    while queue:
        item = heapq.heappop(queue)
        server, name = servers[item.name], item.name
        exists = item.number < len(server.kernels)
        kernel = server.kernels[item.number] if exists else Kernel(0, server.wanted_bytes or 0, server.domains)
        refusal = _refusal(kernel, domains, used, new=item.new)
        if refusal is None:
            totals[name] += kernel.memory_bytes
            used.update(dict.fromkeys(kernel.domains, kernel.memory_bytes))
        elif exists:
            ended[name, kernel.pid] = refusal
        else:
            not_started[name] = refusal
        for following in _next(name, server, item.number + 1, totals[name], share_bytes):
            heapq.heappush(queue, following)
    return Decision(ended, not_started)


def _even_share(servers: Mapping[str, StandbyServer], domains: Mapping[str, Domain]) -> int:
    """Return the memory of one server if all had the same, but room for any kernel of the usual size."""
    sizes = [kernel.memory_bytes for server in servers.values() for kernel in server.kernels]
    sizes += [server.wanted_bytes for server in servers.values() if server.wanted_bytes is not None]
    budget_bytes = max((domain.budget_bytes for domain in domains.values()), default=0)
    return max(budget_bytes // max(1, len(servers)), 2 * min(sizes, default=0))


def _next(name: str, server: StandbyServer, number: int, total_bytes: int, share_bytes: int) -> Iterator[_Item]:
    """Yield the item of a server's kernel with this number, or of the one that it wants; nothing behind that."""
    if number < len(server.kernels):
        memory_bytes, new = server.kernels[number].memory_bytes, False
    elif number == len(server.kernels) and server.wanted_bytes is not None:
        memory_bytes, new = server.wanted_bytes, not server.allowed
    else:
        return
    before_bytes = max(total_bytes, total_bytes + memory_bytes - share_bytes)
    yield _Item(before_bytes * (1.0 if new else PRESENT_WEIGHT), new, server.waiting_since_s, name, number)


def _refusal(kernel: Kernel, domains: Mapping[str, Domain], used: Counter[str], *, new: bool) -> StandbyRefusal | None:
    if not kernel.domains:
        return StandbyRefusal.UNKNOWN_MEMORY
    for name in kernel.domains:
        domain = domains[name]
        if domain.refusal is not None:
            return domain.refusal
        if new and domain.new_refusal is not None:
            return domain.new_refusal
        if used[name] + kernel.memory_bytes > domain.budget_bytes:
            return StandbyRefusal.BUDGET
    return None


class StandbyRegistry:
    """The standby kernels of all servers of this host, as far as they have reported them and still live."""

    def __init__(self, servers_max: int = 256, servers_max_per_user: int = 64) -> None:
        self._servers_max, self._servers_max_per_user = servers_max, servers_max_per_user
        self._servers: dict[str, StandbyServer] = {}
        self._domains: dict[str, Domain] = {}
        self.refusals: Counter[StandbyRefusal] = Counter()  #: kernels that were not started or had to end, by reason

    def report(self, name: str, server: StandbyServer, domains: Mapping[str, Domain], now_s: float) -> Decision:
        """Take over what a server has and wants, with the present state of its domains, and return what may not be.

        Only the part of the decision that concerns this server is returned; the others get theirs with their reports.
        """
        before = self._servers.get(name)
        if not server.kernels and server.wanted_bytes is None:
            self.forget_server(name)
            return Decision({}, {})
        if before is None and self._is_full_for(server.uid):
            return self._refuse_all(name, server, StandbyRefusal.TOO_MANY_SERVERS)
        if server.wanted_bytes is not None:
            server.wanted_bytes = max(server.wanted_bytes, KERNEL_BYTES_MIN)
            # One that got a kernel, or used one, wants another one from now on.
            waits = before is not None and before.wanted_bytes is not None and _pids(before) == _pids(server)
            server.waiting_since_s = before.waiting_since_s if before and waits else now_s
            server.allowed = _was_allowed(server, before)
        self._domains.update(domains)
        self._servers[name] = server
        decision = decide(self._servers, self._domains)
        ended = {key: refusal for key, refusal in decision.ended.items() if key[0] == name}
        server.refusal = decision.not_started.get(name)
        wants = server.wanted_bytes is not None
        if wants and server.refusal is None and not (server.allowed or self._has_room(server)):
            server.refusal = StandbyRefusal.BUDGET  # until others have ended the kernels that they must end for it
        server.allowed = wants and server.refusal is None
        self.refusals.update(ended.values())
        if server.refusal is not None and (before is None or before.refusal is not server.refusal):
            self.refusals[server.refusal] += 1  # once for each wait, not for each report
        return Decision(ended, {} if server.refusal is None else {name: server.refusal})

    def _has_room(self, wanting: StandbyServer) -> bool:
        """Return whether what a server wants fits beside all kernels that exist or were allowed to start."""
        used: Counter[str] = Counter()
        for server in self._servers.values():
            for kernel in server.kernels:
                used.update(dict.fromkeys(kernel.domains, kernel.memory_bytes))
            if server is wanting or server.allowed:
                used.update(dict.fromkeys(server.domains, server.wanted_bytes or 0))
        return all(used[name] <= self._domains[name].budget_bytes for name in wanting.domains)

    def forget_kernel(self, name: str, pid: int) -> None:
        """Remove a standby kernel that has ended or was handed over."""
        if (server := self._servers.get(name)) is not None:
            server.kernels = [kernel for kernel in server.kernels if kernel.pid != pid]
            self._forget_empty(name)

    def forget_server(self, name: str) -> None:
        """Remove a server that has ended, with its kernels."""
        self._servers.pop(name, None)
        used = {domain for server in self._servers.values() for domain in _domains_of(server)}
        self._domains = {domain: state for domain, state in self._domains.items() if domain in used}

    def withdraw_wish(self, name: str) -> None:
        """Let a server want nothing, because it has ended or does not report; its kernels count while they live."""
        if (server := self._servers.get(name)) is not None:
            server.wanted_bytes, server.allowed, server.refusal = None, False, None
            self._forget_empty(name)

    def _forget_empty(self, name: str) -> None:
        server = self._servers[name]
        if not server.kernels and server.wanted_bytes is None:
            self.forget_server(name)

    def servers(self) -> Mapping[str, StandbyServer]:
        """Return what is known of each server, by its name."""
        return self._servers

    def kernels(self) -> Sequence[Kernel]:
        """Return all standby kernels that are known to exist."""
        return [kernel for server in self._servers.values() for kernel in server.kernels]

    def _is_full_for(self, uid: int) -> bool:
        of_user = sum(server.uid == uid for server in self._servers.values())
        return len(self._servers) >= self._servers_max or of_user >= self._servers_max_per_user

    def _refuse_all(self, name: str, server: StandbyServer, refusal: StandbyRefusal) -> Decision:
        self.refusals[refusal] += len(server.kernels) + (server.wanted_bytes is not None)
        wanted = {name: refusal} if server.wanted_bytes is not None else {}
        return Decision({(name, kernel.pid): refusal for kernel in server.kernels}, wanted)


def _was_allowed(server: StandbyServer, before: StandbyServer | None) -> bool:
    """Return whether what a server wants was allowed before: not one more than that, and not more memory."""
    if before is None or not before.allowed or not _pids(server) <= _pids(before):
        return False
    return (server.wanted_bytes or 0) <= (before.wanted_bytes or 0)


def _pids(server: StandbyServer) -> set[int]:
    return {kernel.pid for kernel in server.kernels}


def _domains_of(server: StandbyServer) -> set[str]:
    return {domain for kernel in server.kernels for domain in kernel.domains}.union(server.domains)
