"""Hypothesis strategies for demands and for the history of demands."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from fastgpu_jupyter.core.placement.demand import Demand

#: How often each demand came.
History = dict[Demand, int]

MODELS = ("A", "B", "C")
CPUS = st.sampled_from([0, 1000, 3152, 4000, 8000, 11300, 18708])
DEMANDS = st.builds(
    lambda demand, cpu, memory, models: replace(demand, models=models, cpu_milli=cpu, host_memory_bytes=memory),
    st.one_of(
        st.sampled_from([Demand(devices) for devices in (0, 1, 1, 2, 4)]),
        st.sampled_from([Demand(1, units) for units in (1, 50, 190, 230, 320, 470, 530, 650, 810, 999, 1000, 1001)]),
        st.sampled_from([Demand(1, divisor=divisor) for divisor in (1, 2, 3, 7, 8)]),
    ),
    CPUS,
    st.sampled_from([0, 0, 3, 9]),
    st.one_of(st.none(), st.none(), st.frozensets(st.sampled_from(MODELS))),
)
HISTORIES = st.dictionaries(DEMANDS, st.integers(1, 50), max_size=8)
