"""Each driver is held to what every driver must keep."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.core.model import Enforcement
from fastgpu_jupyter.pool.devices.driver import Driver
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from tests.pool.driver_conformance import DriverConformance, Nothing
from tests.pool.fake_driver import FakeMachine, fake_spec


class SimulatedBench(Nothing):
    def driver(self) -> Driver:
        return SimulatedDriver("2xA100-80GB,T4-16GB", {})


class TestSimulated(DriverConformance):
    @pytest.fixture
    def bench(self) -> SimulatedBench:
        return SimulatedBench()


class TestFake(DriverConformance):
    @pytest.fixture
    def bench(self) -> FakeMachine:
        return FakeMachine([fake_spec("fake-0"), fake_spec("fake-1", 1)])


class TestFakeThatKeepsLimits(DriverConformance):
    @pytest.fixture
    def bench(self) -> FakeMachine:
        return FakeMachine([fake_spec("fake-0", 0, Enforcement.DRIVER)])
