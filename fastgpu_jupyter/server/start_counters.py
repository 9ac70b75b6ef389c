"""How many launches of this server used a standby kernel, and why the others did not; metrics of the Jupyter server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from .start_match import Miss, MissReason


class StartCounters:
    """Counts of the launches by kernelspec, in a process whose event loop is the only caller."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.misses: Counter[tuple[str, MissReason]] = Counter()
        #: The last miss of each kernelspec and reason: what differed.
        self.differed: dict[tuple[str, MissReason], str] = {}
        #: Standby kernels that are ready, and the memory of all of them; None: not known.
        self.waiting = 0
        self.memory_bytes: int | None = None

    def hit(self, kernelspec: str) -> None:
        """Count a launch that used a standby kernel."""
        self.hits[kernelspec] += 1

    def miss(self, kernelspec: str, miss: Miss) -> None:
        """Count a cold start."""
        self.misses[kernelspec, miss.reason] += 1
        self.differed[kernelspec, miss.reason] = miss.what

    def collect(self) -> Iterator[Any]:
        """Yield the metrics, for ``prometheus_client``."""
        # Late: only a server exposes metrics.
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        hits = CounterMetricFamily(
            "fastgpu_standby_hits", "Launches of kernels that used a standby kernel", labels=["kernelspec"]
        )
        for kernelspec, count in self.hits.items():
            hits.add_metric([kernelspec], count)
        yield hits
        misses = CounterMetricFamily(
            "fastgpu_standby_misses", "Cold starts of kernels, by reason", labels=["kernelspec", "reason"]
        )
        for (kernelspec, reason), count in self.misses.items():
            misses.add_metric([kernelspec, reason], count)
        yield misses
        yield GaugeMetricFamily("fastgpu_standby_kernels", "Standby kernels that are ready", self.waiting)
        if self.memory_bytes is not None:
            yield GaugeMetricFamily("fastgpu_standby_memory_bytes", "Memory of the standby kernels", self.memory_bytes)


#: Those of this process.
counters = StartCounters()


@cache
def expose() -> None:
    """Add the counters to what the Jupyter server shows at ``/metrics``, once in a process."""
    from prometheus_client import REGISTRY

    REGISTRY.register(counters)
