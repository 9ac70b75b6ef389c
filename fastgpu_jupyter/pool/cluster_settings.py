"""The settings of a pool whose leases an engine grants: ``c.FastGPUPool.cluster = "slurm"`` and those beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from traitlets import Dict, Float, HasTraits, Integer, TraitError, Unicode, validate

from ..core.model.entities import ClusterRequest
from ..errors import InvalidRequest, Message
from ..messages import say
from ..units import parse_duration, parse_memory

if TYPE_CHECKING:
    from .clusters.options import EngineOptions


#: The most shards that a GPU may have.
SHARDS_MAX = 1024


class ClusterSettings(HasTraits):
    """The engine that grants the leases of a pool, and the defaults of its requests."""

    cluster = Unicode(
        help="The engine that grants leases, in place of the devices of this host: slurm. Only in a user's own pool, "
        "because a job belongs to the user that submits it."
    ).tag(config=True)
    cluster_partition = Unicode(help="Partition of the cluster for requests that name none.").tag(config=True)
    cluster_account = Unicode(help="Account to charge in the cluster, for requests that name none.").tag(config=True)
    cluster_qos = Unicode(help="Quality of service (QOS) in the cluster, for requests that name none.").tag(config=True)
    cluster_constraint = Unicode(
        help="Features that a host must have, in the words of the cluster, for requests that name none."
    ).tag(config=True)
    cluster_time_limit = Unicode(
        help="How long a lease may last, like '4h', for requests that do not say it. Default: that of the cluster."
    ).tag(config=True)
    cluster_address = Unicode(
        help="Address of this host, as the hosts of the cluster reach it; several with commas. Default: that of the "
        "route to the cluster."
    ).tag(config=True)
    cluster_port = Integer(
        0, min=0, max=65535, help="TCP port for the hosts of the cluster. Default: any, and the same after a restart."
    ).tag(config=True)
    cluster_memory = Dict(
        help="Memory of one GPU by the cluster's name of its model, like {'a100': '80GiB'}, where neither its driver "
        "nor the name tells it."
    ).tag(config=True)
    cluster_orphan_after_s = Float(
        300.0,
        min=30,
        help="Seconds without this pool manager after which a kernel on the cluster ends and gives its GPU back.",
    ).tag(config=True)

    cluster_python = Unicode(
        help="The Python on the hosts of the cluster that starts kernels there; it needs pyzmq. Default: the one of "
        "this pool manager, at the same path."
    ).tag(config=True)
    cluster_shards = Dict(
        help="Shards of one GPU by the cluster's name of its model, like {'a100': 4}, where Slurm does not say how "
        "many there are: a host with GPUs of several models, and shards without a type."
    ).tag(config=True)

    @validate("cluster_time_limit")
    def _require_duration(self, proposal: Any) -> str:
        value = str(proposal["value"])
        _checked("FastGPUPool.cluster_time_limit", parse_duration, value or "1h")
        return value

    @validate("cluster_memory")
    def _require_memory(self, proposal: Any) -> dict[str, str]:
        for value in proposal["value"].values():
            _checked("FastGPUPool.cluster_memory", parse_memory, str(value))
        return dict(proposal["value"])

    @validate("cluster_shards")
    def _require_shards(self, proposal: Any) -> dict[str, int]:
        given = dict(proposal["value"])
        if not all(isinstance(one, int) and 0 < one <= SHARDS_MAX for one in given.values()):
            reason = Message.of("config.shards", most=SHARDS_MAX)
            raise TraitError(say("config.of_setting", setting="FastGPUPool.cluster_shards", reason=reason))
        return given

    def cluster_options(self) -> EngineOptions:
        """Return the settings as the service uses them."""
        from .clusters.options import EngineOptions

        return EngineOptions(
            self.cluster,
            ClusterRequest(
                self.cluster_partition,
                self.cluster_account,
                self.cluster_qos,
                self.cluster_constraint,
                parse_duration(self.cluster_time_limit) if self.cluster_time_limit else None,
            ),
            self.cluster_port,
            self.cluster_address,
            {str(model): parse_memory(str(amount)) for model, amount in self.cluster_memory.items()},
            self.cluster_orphan_after_s,
            self.cluster_python,
            {str(model): int(number) for model, number in self.cluster_shards.items()},
        )


#: All of them hold for a successor, too.
CLUSTER_SETTINGS = tuple(sorted(ClusterSettings.class_trait_names(config=True)))


def _checked(setting: str, parse: Any, text: str) -> None:
    try:
        parse(text)
    except InvalidRequest as error:
        raise TraitError(say("config.of_setting", setting=setting, reason=error.message)) from error
