"""The schemas of request bodies."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec

from ...core.model.size import TEXT_MAX as SIZE_TEXT_MAX
from ..ids import LEASE_ID
from ..options import CLUSTER_NAME
from .cluster import ClusterBody
from .common import (
    GROUP,
    LIBRARY,
    TENANT,
    TEXT_MAX,
    BudgetPolicyName,
    Count,
    IsolationName,
    PlanName,
    PriorityName,
    RetentionName,
    Text,
)

MemoryBytes = Annotated[int, msgspec.Meta(ge=2**20, le=2**53 - 1)]
Pid = Annotated[int, msgspec.Meta(ge=1, le=2**22)]


class LeaseOptionsBody(TypedDict, total=False):
    """The options of a request beside its size; the pool manager has a default for each.

    ``keep_ms``: how long a lease of a cluster lives on without the process that holds it. ``cluster``: options for the
    engine of a cluster; a pool of local devices refuses them.
    """

    priority: PriorityName | None
    wait_ms_max: Count | None
    isolation: IsolationName | None
    parkable: bool | None
    resizable: bool | None
    retention: RetentionName | None
    cpu_milli: Count | None
    host_memory_bytes: Count | None
    rate_micro_per_hour_max: Count | None
    budget_micro: Count | None
    idle_notify_ms: Count | None
    idle_park_ms: Count | None
    idle_release_ms: Count | None
    idle_shut_down_ms: Count | None
    keep_ms: Count | None
    cluster: ClusterBody | None


class _LeaseBodyRequired(TypedDict):
    token_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class LeaseBody(_LeaseBodyRequired, LeaseOptionsBody, total=False):
    """A request for a lease: a size as text or an amount of memory, one of the two.

    ``job`` is the shown name of the job that the lease is for; it makes the request wait as jobs do.
    """

    size: Text | None
    memory_bytes: MemoryBytes | None
    kernel_id: Text | None
    notebook: Text | None
    job: Text | None


#: Of a parameter that is a time; empty for no limit.
DURATION = r"^([0-9]{1,6}(\.[0-9]{1,3})? ?(s|m|min|h|d))?$"


def _parameter(title: str, description: str, default: str | bool, **limits: Any) -> msgspec.Meta:
    """Return the constraints of a parameter, with what a form shows of it."""
    return msgspec.Meta(title=title, description=description, extra_json_schema={"default": default}, **limits)


def _cluster_name(title: str, description: str) -> msgspec.Meta:
    return _parameter(title, description, "", pattern=f"^({CLUSTER_NAME})?$")


class StartParameters(TypedDict, total=False):
    """The parameters of the start of a kernel; an empty text is no limit."""

    size: Annotated[
        str,
        _parameter(
            "Size",
            "A part of a GPU, whole GPUs, or an amount of memory, such as half, 24GiB or a100:1/2.",
            "full",
            min_length=1,
            max_length=SIZE_TEXT_MAX,
        ),
    ]
    isolation: Annotated[
        IsolationName, _parameter("Isolation", "What separates the kernel from others on the same GPU.", "none")
    ]
    priority: Annotated[
        Literal["low", "normal", "high"], _parameter("Priority", "The priority of the request in the queue.", "normal")
    ]
    hold: Annotated[
        bool,
        _parameter(
            "Keep the GPU while idle",
            "An idle kernel that does not hold its GPU may be parked while a request waits.",
            default=False,
        ),
    ]
    budget: Annotated[
        str,
        _parameter(
            "Budget of this lease",
            "What the lease may cost in all, in the pool's currency; empty for no limit.",
            "",
            pattern=r"^([0-9]{1,9}(\.[0-9]{1,6})?)?$",
        ),
    ]
    wait: Annotated[
        str,
        _parameter(
            "Longest wait",
            "How long the request may wait, such as 10m or 2h; empty for no limit.",
            "",
            pattern=DURATION,
        ),
    ]


class IntentBody(StartParameters, total=False):
    """What a user chose for the next start of a kernel; an empty text is the default of the kernelspec or of the pool.

    ``lease_id``: the lease that was granted to this kernel before. The other new parameters are for a cluster.
    """

    lease_id: Annotated[str, msgspec.Meta(pattern=f"^({LEASE_ID[1:-1]})?$")]
    time: Annotated[str, _parameter("Time limit", "How long the kernel may run, such as 4h.", "", pattern=DURATION)]
    partition: Annotated[str, _cluster_name("Partition", "The partition of the cluster.")]
    account: Annotated[str, _cluster_name("Account", "The account of the cluster that is charged.")]
    qos: Annotated[str, _cluster_name("QOS", "The quality of service of the cluster.")]
    constraint: Annotated[str, _cluster_name("Constraint", "Features that the node must have, such as a100&nvlink.")]


class RequestBody(TypedDict):
    """The lease for a kernel that is started only when it is granted.

    ``kernel`` is the kernelspec, whose own options hold for what the parameters do not say.
    """

    kernel: Text
    notebook: Text | None
    parameters: IntentBody


class BindBody(TypedDict, total=False):
    """The process that shall hold the lease; ``null`` is the caller itself."""

    pid: Pid | None


class _ResizeBodyRequired(TypedDict):
    size: Text


class ResizeBody(_ResizeBodyRequired, total=False):
    """The size that the lease shall have; it is refused if the lease has another size by now than ``seen``."""

    seen: Text | None


class LibrariesBody(TypedDict):
    """The limit that the kernel applied to its libraries, and the libraries that need a restart for it.

    ``memory_bytes`` is ``null`` for the whole memory of a device.
    """

    memory_bytes: Count | None
    needs_restart: Annotated[list[Annotated[str, msgspec.Meta(pattern=LIBRARY)]], msgspec.Meta(max_length=16)]


class RenameBody(TypedDict):
    """The name of the notebook that the lease is for."""

    notebook: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]


class PinBody(TypedDict):
    """Whether the lease is pinned; one that is not may be parked while it is idle."""

    pinned: bool


class SnoozeBody(TypedDict):
    """For how long no step of the idle policy is taken."""

    for_ms: Annotated[int, msgspec.Meta(ge=60_000, le=2**53 - 1)]


class SilenceBody(TypedDict, total=False):
    """Whether there shall be no advice for the notebook of the lease; without it there is none."""

    silenced: bool | None


class CpuMeanwhileBody(TypedDict):
    """Whether cells run without a device until the waiting lease is granted."""

    on: bool


class FrameworkMemoryBody(TypedDict):
    """What the frameworks in a kernel count themselves: the most memory that they needed, and what they reserved."""

    peak_bytes: Count
    reserved_bytes: Count


class _ActivityBodyRequired(TypedDict):
    busy: bool


class ActivityBody(_ActivityBodyRequired, total=False):
    """Whether a cell runs; a cell that begins resumes a parked lease.

    With the end of cells: how many ended since the last report, and what the frameworks in the kernel count.
    """

    cells: Count | None
    frameworks: FrameworkMemoryBody | None


class TransferBody(TypedDict):
    """The tenant that is billed from now on."""

    tenant: Annotated[str, msgspec.Meta(pattern=TENANT)]


class LeaseBudgetBody(TypedDict):
    """What the lease may cost in all; ``null`` for no budget."""

    budget_micro: Count | None


class _BudgetBodyRequired(TypedDict):
    budget_micro: Count | None


class BudgetBody(_BudgetBodyRequired, total=False):
    """What a tenant may spend in a month; ``null`` for no budget.

    At the limit the tenant gets a message (``warn``), no more leases (``stop``), or its leases are also parked where
    that is possible (``park``). Without a ``policy`` the tenant keeps the one that it has, which is ``warn`` at first.
    """

    policy: BudgetPolicyName | None


class _ReservationBodyRequired(TypedDict):
    tenant: Annotated[str, msgspec.Meta(pattern=TENANT)]
    size: Text
    plan: PlanName


class ReservationBody(_ReservationBodyRequired, total=False):
    """The capacity to reserve, such as ``2xa100`` or ``a100:1/2``, from ``start`` or from now on."""

    start: Count | None


class DriverBody(TypedDict):
    """Whether the pool manager uses the driver of its devices."""

    used: bool


class DrainBody(TypedDict):
    """Whether the device shall get no new leases."""

    drained: bool


class PartitionModeBody(TypedDict):
    """Whether MIG mode shall be on."""

    on: bool


class GroupBody(TypedDict, total=False):
    """An entitlement in thousandths of devices; a limit of ``null`` is no limit."""

    weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None
    guaranteed_milli: Count | None
    limit_milli: Count | None


class TenantBody(GroupBody, total=False):
    """The entitlement of one tenant, and the group that it belongs to."""

    group: Annotated[str, msgspec.Meta(pattern=GROUP)] | None
