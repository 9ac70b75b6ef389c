"""The capacity index places every demand as the reference scan does, whatever happened to it before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastgpu_jupyter.core.placement.capacity import NOTHING_FREE
from fastgpu_jupyter.core.placement.capacity_index import CapacityIndex
from fastgpu_jupyter.core.placement.demand import NO_EXCLUSION, Demand, Exclusion, Placement
from fastgpu_jupyter.core.placement.scarcity import Scarcity
from fastgpu_jupyter.core.placement.shadow_prices import ShadowPrices, estimate_shadow_prices
from tests.core.placement.demands import CPUS, DEMANDS, HISTORIES, MODELS, History


class IndexAgainstReference(RuleBasedStateMachine):
    """One index that uses its buckets and one that uses the reference scan see the same operations."""

    def __init__(self) -> None:
        super().__init__()
        self.index = CapacityIndex(reference_hosts_max=0)
        self.reference = CapacityIndex(reference_hosts_max=1 << 20)
        self.both = (self.index, self.reference)
        self.prices = ShadowPrices()
        self.allocated: list[tuple[Placement, Demand]] = []
        self.count = 0

    @initialize(history=HISTORIES, sizes=st.lists(st.integers(0, 8), min_size=1, max_size=6), data=st.data())
    def start(self, history: History, sizes: list[int], data: st.DataObject) -> None:
        self.set_shadow_prices(history)
        for size in sizes:
            self.add_host(size, data)

    @rule(history=HISTORIES)
    def set_shadow_prices(self, history: History) -> None:
        self.prices = estimate_shadow_prices(history, 1000)
        for one in self.both:
            one.set_shadow_prices(self.prices)

    @precondition(lambda self: self.count < 50)
    @rule(size=st.integers(0, 8), data=st.data())
    def add_host(self, size: int, data: st.DataObject) -> None:
        self.count += 1
        host = f"host-{self.count * 37 % 101}"  # not in order of arrival
        cpu_milli = data.draw(st.sampled_from([0, 8000, 32000, 96000]))
        model = data.draw(st.sampled_from(MODELS))
        capacity = data.draw(st.sampled_from([1000, 1000, 80, 3001]))
        models = [data.draw(st.sampled_from([model] * 5 + list(MODELS))) for _ in range(size)]
        for one in self.both:
            one.add_host(host, cpu_milli, 20)
            for i, its_model in enumerate(models):
                one.add_device(f"{host}/{i}", host, its_model, capacity)

    @rule(demand=DEMANDS)
    def allocate(self, demand: Demand) -> None:
        placement = self.index.place(demand)
        assert placement == self.reference.place(demand)
        if placement is not None:
            for one in self.both:
                one.allocate(placement, demand)
            self.allocated.append((placement, demand))

    @rule(demands=st.lists(DEMANDS, max_size=12))
    def allocate_many(self, demands: list[Demand]) -> None:
        for demand in demands:
            self.allocate(demand)

    @rule(demand=DEMANDS, data=st.data())
    def place_beside_exclusions(self, demand: Demand, data: st.DataObject) -> None:
        hosts = list(self.reference.hosts())
        excluded = {}
        for host in [host for host in hosts if data.draw(st.booleans())]:
            names = data.draw(st.frozensets(st.sampled_from(sorted(host.devices)))) if host.devices else frozenset()
            excluded[host.id] = Exclusion(names, data.draw(CPUS), data.draw(st.sampled_from([0, 3])))
        assert self.index.place(demand, excluded) == self.reference.place(demand, excluded)
        for host in hosts[:3] if demand.devices else []:
            exclusion = excluded.get(host.id, NO_EXCLUSION)
            expected = self.reference._policy.place([host], demand, excluded)
            assert self.index.place_on(host.id, demand, exclusion) == expected
            if expected is not None:
                assert self.index.filter_of(demand).may_fit(self.index.headroom(host.id, exclusion))

    @precondition(lambda self: self.allocated)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        released = self.allocated.pop(data.draw(st.integers(0, len(self.allocated) - 1)))
        for one in self.both:
            one.release(*released)

    @rule(data=st.data(), grantable=st.booleans())
    def set_grantable(self, data: st.DataObject, grantable: bool) -> None:
        devices = [device_id for host in self.index.hosts() for device_id in sorted(host.devices)]
        if devices:
            device_id = data.draw(st.sampled_from(devices))
            for one in self.both:
                one.set_grantable(device_id, grantable)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def remove_host(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([host.id for host in self.index.hosts()] or ["none"]))
        there = [each for each in self.allocated if each[0].host_id == name]
        for one in self.both:
            for each in there:
                one.release(*each)
            for host in [host for host in one.hosts() if host.id == name]:
                for device_id in list(host.devices):
                    one.remove_device(device_id)
                one.remove_host(host.id)
        self.allocated = [each for each in self.allocated if each not in there]

    @invariant()
    def free_is_capacity_less_what_is_allocated(self) -> None:
        for host in self.index.hosts():
            mine = [(placement, demand) for placement, demand in self.allocated if placement.host_id == host.id]
            assert host.free_cpu_milli == host.cpu_milli - sum(demand.cpu_milli for _, demand in mine) >= 0
            assert host.free_memory_bytes == host.memory_bytes - sum(d.host_memory_bytes for _, d in mine) >= 0
            for device in host.devices.values():
                promised = sum(placement.units for placement, _ in mine if device.id in placement.device_ids)
                assert device.free == device.capacity - promised >= 0

    @invariant()
    def what_could_serve_each_kind_is_what_a_recount_finds(self) -> None:
        self.reference._updated_buckets()
        recount = Scarcity(self.prices, self.reference._costs.classes)
        for host in self.reference.hosts():
            recount.count(replace(host, free=NOTHING_FREE, several=[]), host.free)
        assert recount._usable == self.reference._costs.scarcity._usable


IndexAgainstReference.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
test_index_places_as_the_reference_scan_does = pytest.mark.slow(IndexAgainstReference.TestCase)
