"""The rules against a second, naive model (:mod:`.naive`) that reads the events and reports what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import events as e
from fastgpu_jupyter.core.model.entities import Health, Priority
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import CallerError
from tests.core.scheduling.naive import PARTS, NaiveModel
from tests.core.world import World, spec

SPECS = (spec("a", index=0), spec("b", index=1), spec("c", index=2))
TENANTS = st.sampled_from(["ann", "bob", "eve"])


class HistoryAgainstNaiveModel(RuleBasedStateMachine):
    """Tenants request and release, devices fail and are drained, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(*SPECS)
        self.naive = NaiveModel()
        self.asked = 0
        for at, events in self.world.history:
            assert list(self.naive.check(events, at.ms)) == []

    def _do(self, command: c.Command) -> None:
        try:
            events = self.world.do(command)
        except CallerError:
            return
        assert list(self.naive.check(events, self.world.now_ms)) == []

    def _in(self, data: st.DataObject, *states: LeaseState) -> str | None:
        names = [lease.id for lease in self.world.state.leases.values() if lease.state in states]
        return data.draw(st.sampled_from(names)) if names else None

    @rule(size=st.sampled_from(sorted(PARTS)), tenant=TENANTS, priority=st.sampled_from(Priority))
    def ask(self, size: str, tenant: str, priority: Priority) -> None:
        self.asked += 1
        before = len(self.world.history)
        try:
            self.world.ask(f"lease-{self.asked}", size, tenant=tenant, priority=priority)
        except CallerError:
            return
        for _, events in self.world.history[before:]:
            assert list(self.naive.check(events, self.world.now_ms)) == []

    @rule(data=st.data())
    def prepared(self, data: st.DataObject) -> None:
        if name := self._in(data, LeaseState.PREPARING):
            gpu = self.world.state.leases[name].logical_gpu
            assert gpu is not None
            self._do(c.PrepareSucceeded(name, gpu.generation))

    @rule(data=st.data(), memory_gone_at_once=st.booleans())
    def release(self, data: st.DataObject, memory_gone_at_once: bool) -> None:
        name = self._in(data, LeaseState.ACTIVE, LeaseState.PREPARING, LeaseState.WAITING)
        if name:
            self._do(c.ReleaseLease(name))
            if memory_gone_at_once:
                self._memory_gone(name)

    @rule(data=st.data())
    def memory_gone(self, data: st.DataObject) -> None:
        if name := self._in(data, LeaseState.DRAINING):
            self._memory_gone(name)

    def _memory_gone(self, name: str) -> None:
        gpu = self.world.state.leases[name].logical_gpu
        if gpu is not None:
            self._do(c.DrainSucceeded(name, gpu.generation))

    @rule(device=st.sampled_from("abc"), healthy=st.booleans())
    def health(self, device: str, healthy: bool) -> None:
        self._do(c.SetHealth(device, Health.HEALTHY if healthy else Health.FAULTY))

    @rule(device=st.sampled_from("abc"), drained=st.booleans())
    def drain(self, device: str, drained: bool) -> None:
        self._do(c.DrainDevice(device, drained))

    @rule(tenant=TENANTS, weight=st.sampled_from([50, 100, 400]), limit=st.sampled_from([None, None, 500, 1500]))
    def set_tenant(self, tenant: str, weight: int, limit: int | None) -> None:
        self._do(c.SetTenant(tenant, weight, limit))

    @rule(step_ms=st.sampled_from([1000, 60_000, 3_600_000, 86_400_000]))
    def time_passes(self, step_ms: int) -> None:
        self.world.now_ms += step_ms
        self._do(c.Tick())


TestHistoryAgainstNaiveModel = pytest.mark.slow(HistoryAgainstNaiveModel.TestCase)
TestHistoryAgainstNaiveModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_model_reports_a_grant_out_of_turn() -> None:
    """A model that never reports anything would prove nothing."""
    world, naive = World(spec("gpu")), NaiveModel()
    first = world.ask("first", tenant="ann")
    world.ask("second", tenant="bob")
    world.ask("third", tenant="eve", priority=Priority.HIGH)
    for at, events in world.history:
        assert list(naive.check(events, at.ms)) == []
    assert first.logical_gpu is not None
    (taken, *_) = naive.check([e.LeaseGranted("second", first.logical_gpu)], world.now_ms)
    assert "given away more than once" in taken
    naive.devices["gpu"].held.clear()
    found = list(naive.check([e.DeviceHealthChanged("gpu", Health.HEALTHY, None)], world.now_ms))
    assert found == ["third is first in the queue and waits, although it would fit"]
