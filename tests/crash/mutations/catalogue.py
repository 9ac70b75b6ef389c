"""All mutations, by subject."""

from __future__ import annotations

import os

from tests.crash.mutations import (
    accounting,
    adoption,
    agents,
    authorization,
    cache,
    cluster,
    devices,
    durability,
    engine_calls,
    hangs,
    identity,
    idle,
    jobs,
    kernels,
    leases,
    names,
    presence,
    scheduling,
    standby,
    standby_budget,
)
from tests.crash.mutations.model import Mutation
from tests.crash.mutations.sampling import sample, sample_seed

MUTATIONS: tuple[Mutation, ...] = (
    *durability.MUTATIONS,
    *leases.MUTATIONS,
    *authorization.MUTATIONS,
    *identity.MUTATIONS,
    *scheduling.MUTATIONS,
    *accounting.MUTATIONS,
    *devices.MUTATIONS,
    *kernels.MUTATIONS,
    *presence.MUTATIONS,
    *names.MUTATIONS,
    *hangs.MUTATIONS,
    *cache.MUTATIONS,
    *idle.MUTATIONS,
    *jobs.MUTATIONS,
    *standby_budget.MUTATIONS,
    *cluster.MUTATIONS,
    *engine_calls.MUTATIONS,
    *agents.MUTATIONS,
    *standby.MUTATIONS,
    *adoption.MUTATIONS,
)
#: How many mutations ``make test`` runs.
SAMPLE_SIZE = 25


def selected() -> list[Mutation]:
    """Return the mutations to run: all where ``FASTGPU_MUTATIONS`` is ``all``, else the sample of this commit."""
    everything = os.environ.get("FASTGPU_MUTATIONS") == "all"
    return list(MUTATIONS) if everything else sample(MUTATIONS, sample_seed(), SAMPLE_SIZE)
