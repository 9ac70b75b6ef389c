"""The budget of standby kernels: what fits, what is fair between servers, and what happens over time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from fastgpu_jupyter.pool.standby_budget import (
    KERNEL_BYTES_MIN,
    Domain,
    Kernel,
    StandbyRefusal,
    StandbyRegistry,
    StandbyServer,
    decide,
)

MIB = 2**20
HOST = ""


def server(
    *sizes_mib: int, wants_mib: int | None = None, first_pid: int = 1, group: str | None = None
) -> StandbyServer:
    domains = (HOST,) if group is None else (HOST, group)
    kernels = [Kernel(first_pid + number, size * MIB, domains) for number, size in enumerate(sizes_mib)]
    return StandbyServer(1000, kernels, None if wants_mib is None else wants_mib * MIB, domains)


def host(
    budget_mib: int, refusal: StandbyRefusal | None = None, new_refusal: StandbyRefusal | None = None
) -> dict[str, Domain]:
    return {HOST: Domain(budget_mib * MIB, refusal, new_refusal)}


# -- one decision -----------------------------------------------------------------------------------------------------


def test_decide_admits_what_fits_exactly_and_no_byte_more() -> None:
    servers = {"a": server(60, wants_mib=40)}
    assert decide(servers, host(100)) == ({}, {})
    assert decide(servers, {HOST: Domain(100 * MIB - 1)}) == ({}, {"a": StandbyRefusal.BUDGET})


def test_decide_ends_second_kernels_before_first_ones() -> None:
    servers = {"a": server(60, 60, 60), "b": server(61, first_pid=11), "c": server(wants_mib=60)}
    ended, not_started = decide(servers, host(190))
    assert ended == {("a", 2): StandbyRefusal.BUDGET, ("a", 3): StandbyRefusal.BUDGET}
    assert not_started == {}


def test_decide_ends_no_kernel_for_a_new_one_of_the_same_total() -> None:
    servers = {"a": server(66), "b": server(wants_mib=60)}
    assert decide(servers, host(100)) == ({}, {"b": StandbyRefusal.BUDGET})


def test_decide_ends_a_large_kernel_for_the_first_ones_of_others() -> None:
    servers = {"a": server(400), "b": server(wants_mib=60), "c": server(wants_mib=60)}
    assert decide(servers, host(450)).ended == {("a", 1): StandbyRefusal.BUDGET}
    assert decide(servers, host(520)) == ({}, {})


def test_decide_goes_on_after_a_kernel_that_does_not_fit() -> None:
    servers = {"a": server(300, 40)}
    assert decide(servers, host(100)).ended == {("a", 1): StandbyRefusal.BUDGET}


def test_decide_lets_the_server_go_first_that_waits_longest() -> None:
    servers = {"a": server(wants_mib=60), "b": server(wants_mib=60)}
    servers["a"].waiting_since_s, servers["b"].waiting_since_s = 20.0, 10.0
    assert decide(servers, host(100)).not_started == {"a": StandbyRefusal.BUDGET}


@pytest.mark.parametrize("refusal", [StandbyRefusal.OFF, StandbyRefusal.PRESSURE, StandbyRefusal.LOW_MEMORY])
def test_decide_in_a_refused_domain_ends_all_and_starts_none(refusal: StandbyRefusal) -> None:
    ended, not_started = decide({"a": server(60, wants_mib=60)}, host(1000, refusal))
    assert (list(ended.values()), list(not_started.values())) == ([refusal], [refusal])


def test_decide_with_little_memory_starts_none_and_ends_none() -> None:
    found = decide({"a": server(60, wants_mib=60)}, host(1000, new_refusal=StandbyRefusal.LOW_MEMORY))
    assert found == ({}, {"a": StandbyRefusal.LOW_MEMORY})


def test_decide_bounds_each_control_group_and_the_host() -> None:
    servers = {"a": server(60, wants_mib=60, group="/small"), "b": server(60, first_pid=11)}
    domains = {**host(1000), "/small": Domain(100 * MIB)}
    assert decide(servers, domains) == ({}, {"a": StandbyRefusal.BUDGET})
    assert decide(servers, {**host(100), "/small": Domain(100 * MIB)}).ended == {("b", 11): StandbyRefusal.BUDGET}


def test_decide_without_known_memory_admits_none() -> None:
    found = decide({"a": StandbyServer(1000, [Kernel(1, MIB, ())], MIB)}, {})
    assert found == ({("a", 1): StandbyRefusal.UNKNOWN_MEMORY}, {"a": StandbyRefusal.UNKNOWN_MEMORY})


# -- over time --------------------------------------------------------------------------------------------------------


def test_registry_starts_a_kernel_only_when_those_have_ended_that_must_end_for_it() -> None:
    registry = StandbyRegistry()
    assert registry.report("a", server(60, 60), host(130), 0) == ({}, {})
    assert registry.report("b", server(wants_mib=60), host(130), 1).not_started == {"b": StandbyRefusal.BUDGET}
    assert registry.report("a", server(60, 60), host(130), 2).ended == {("a", 2): StandbyRefusal.BUDGET}
    assert registry.report("b", server(wants_mib=60), host(130), 3).not_started == {"b": StandbyRefusal.BUDGET}
    registry.forget_kernel("a", 2)
    assert registry.report("b", server(wants_mib=60), host(130), 4) == ({}, {})


def test_registry_counts_what_it_allowed_as_used() -> None:
    registry = StandbyRegistry()
    assert registry.report("a", server(wants_mib=60), host(100), 0) == ({}, {})
    assert registry.report("b", server(wants_mib=60), host(100), 1).not_started == {"b": StandbyRefusal.BUDGET}
    assert registry.report("a", server(wants_mib=60), host(100), 2) == ({}, {})
    registry.withdraw_wish("a")
    assert registry.report("b", server(wants_mib=60), host(100), 3) == ({}, {})


def test_registry_does_not_believe_that_a_kernel_takes_nothing() -> None:
    registry = StandbyRegistry()
    budget = {HOST: Domain(KERNEL_BYTES_MIN - 1)}
    assert registry.report("a", server(wants_mib=0), budget, 0).not_started == {"a": StandbyRefusal.BUDGET}


def test_registry_counts_a_refusal_once_while_it_lasts() -> None:
    registry = StandbyRegistry()
    for now_s in range(5):
        registry.report("a", server(wants_mib=60), host(10), now_s)
    assert registry.refusals == {StandbyRefusal.BUDGET: 1}


def test_registry_forgets_servers_that_have_nothing_and_bounds_their_number() -> None:
    registry = StandbyRegistry(servers_max=3, servers_max_per_user=2)
    for name in "abc":
        registry.report(name, server(60), host(1000), 0)
    assert sorted(registry.servers()) == ["a", "b"]
    assert registry.refusals == {StandbyRefusal.TOO_MANY_SERVERS: 1}
    registry.report("a", server(), host(1000), 1)
    registry.forget_kernel("b", 1)
    assert not registry.servers()
    assert registry.report("c", server(60), host(1000), 2) == ({}, {})


@dataclass
class SimulatedServer:
    """A server that reports every 10 seconds, ends what it must end, and starts what it may start."""

    name: str
    count: int
    size_mib: int
    kernels: dict[int, int] = field(default_factory=dict)  #: memory by pid
    starts: bool = False
    served_s: int = 0  #: how long it had one, or started one

    def used_bytes(self) -> int:
        """The memory of its kernels and of the one that it starts."""
        return sum(self.kernels.values()) + self.starts * self.size_mib * MIB

    def report(self, registry: StandbyRegistry, budget: dict[str, Domain], now_s: float, pids: Iterable[int]) -> None:
        if self.starts:
            self.kernels[next(iter(pids))] = self.size_mib * MIB
        wants = len(self.kernels) < self.count
        kernels = [Kernel(pid, size, (HOST,)) for pid, size in self.kernels.items()]
        described = StandbyServer(1000, kernels, self.size_mib * MIB if wants else None, (HOST,))
        decision = registry.report(self.name, described, budget, now_s)
        for _, pid in decision.ended:
            del self.kernels[pid]
            registry.forget_kernel(self.name, pid)
        self.starts = wants and not decision.not_started


@pytest.mark.slow
def test_twenty_servers_share_one_budget_by_turns() -> None:
    """The budget, of 12 kernels, holds at any time, and every server has one for about as long as another."""
    draw = random.Random(1)
    registry, budget, pids = StandbyRegistry(), host(820), iter(range(1, 10**6))
    servers = [SimulatedServer(str(number), draw.choice((1, 1, 2, 3)), draw.randint(55, 70)) for number in range(20)]
    most_bytes = 0
    passed_over_s = Counter[str]()  #: for how long a server without one has waited beside others that have two
    longest_s = 0
    for now_s in range(3600):
        for number, one in enumerate(servers):
            if now_s % 10 == number % 10:
                one.report(registry, budget, now_s, pids)
            if one.kernels and draw.random() < 1 / 120:  # a launch takes it
                pid = next(iter(one.kernels))
                registry.forget_kernel(one.name, pid)
                del one.kernels[pid]
        for one in servers:
            one.served_s += one.used_bytes() > 0
        most_bytes = max(most_bytes, sum(one.used_bytes() for one in servers))
        firsts_bytes = sum(one.size_mib * MIB for one in servers if one.used_bytes())
        for one in servers:
            fits = firsts_bytes + one.size_mib * MIB <= 820 * MIB
            passed_over_s[one.name] = passed_over_s[one.name] + 1 if fits and not one.used_bytes() else 0
        longest_s = max(longest_s, *passed_over_s.values())
    assert 700 * MIB < most_bytes <= 820 * MIB
    assert longest_s <= 30  # each other server reports every 10 seconds
    assert min(one.served_s for one in servers) > 0.4 * max(one.served_s for one in servers)
