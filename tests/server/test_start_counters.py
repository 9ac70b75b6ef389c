"""What a Jupyter server shows of its cold starts and standby kernels."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from fastgpu_jupyter.server.start_counters import StartCounters
from fastgpu_jupyter.server.start_match import Miss, MissReason


def test_launches_are_counted_by_kernelspec_and_reason() -> None:
    """Without labels by notebook; the names of what differed are for people, not for labels."""
    counters = StartCounters()
    for what in ("TZ", "LANG"):
        counters.miss("fastgpu", Miss(MissReason.ENVIRONMENT, what))
    counters.miss("fastgpu", Miss(MissReason.FIRST_USE))
    counters.hit("fastgpu")
    registry = CollectorRegistry()
    registry.register(counters)
    text = generate_latest(registry).decode()
    assert 'fastgpu_standby_hits_total{kernelspec="fastgpu"} 1.0' in text
    assert 'fastgpu_standby_misses_total{kernelspec="fastgpu",reason="environment"} 2.0' in text
    assert 'fastgpu_standby_misses_total{kernelspec="fastgpu",reason="first_use"} 1.0' in text
    assert "LANG" not in text
    assert counters.differed["fastgpu", MissReason.ENVIRONMENT] == "LANG"
