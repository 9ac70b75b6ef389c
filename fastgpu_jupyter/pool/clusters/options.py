"""What an administrator sets about the engine of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...core.model.entities import ClusterRequest

#: How long an agent keeps its kernel without the pool manager before it gives the allocation back.
ORPHAN_AFTER_S = 300.0


class EngineOptions(NamedTuple):
    """The engine of a pool, and what its requests are where they do not say otherwise."""

    engine: str
    defaults: ClusterRequest = ClusterRequest()
    port: int = 0  #: at which agents reach the pool manager; 0: any, and then the same
    address: str = ""  #: of this host, as nodes reach it; empty: that of the route to the engine
    #: Memory of one GPU by the engine's name of its model, in lower case.
    memory_bytes: Mapping[str, int] = {}
    orphan_after_s: float = ORPHAN_AFTER_S
    python: str = ""  #: command of the interpreter of agents; empty: that of the pool manager, at the same path
    shards_per_gpu: Mapping[str, int] = {}  #: by the engine's name of the model, where its hosts do not say it

    def with_defaults(self, given: ClusterRequest) -> ClusterRequest:
        """Return ``given`` with the pool's defaults for what it does not say."""
        default = self.defaults
        return ClusterRequest(
            given.partition or default.partition,
            given.account or default.account,
            given.qos or default.qos,
            given.constraint or default.constraint,
            default.time_limit_ms if given.time_limit_ms is None else given.time_limit_ms,
        )
