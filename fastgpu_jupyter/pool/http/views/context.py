"""What the views need beside the state: whose leases a caller may see, and the readings of the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....core.model.entities import Lease
from ....core.scheduling.queue_report import QueueReport
from ....errors import Message
from ....wire.schemas import TenantReference
from ...devices.driver import DeviceUsage, Sample
from ...host.lease_groups import NOT_ENFORCED, DeviceAccess
from ...monitors.process_owners import ForeignProcess

if TYPE_CHECKING:
    from ...clusters.service import ClusterService

#: The display name of a tenant, by its key.
NameOf = Callable[[str], str]
UNKNOWN_USAGE = DeviceUsage(None, None)


@dataclass(frozen=True, slots=True)
class AccessScope:
    """The tenants whose leases a caller may see by name; ``uid`` is the caller's user.

    With ``lease_id`` it is this lease, and no data of a tenant.
    """

    tenant: str
    uid: int
    all_tenants: bool = False
    lease_id: str | None = None

    def includes(self, lease: Lease) -> bool:
        """Return whether the lease's names are visible within this scope."""
        return self.all_tenants or self.owns(lease)

    def owns(self, lease: Lease) -> bool:
        """Return whether the lease is the caller's: its tenant pays for it, or its user holds it for another tenant."""
        if self.lease_id is not None:
            return lease.id == self.lease_id
        return lease.tenant == self.tenant or lease.holder.uid == self.uid

    def includes_tenant(self, tenant: str) -> bool:
        """Return whether the tenant's own data are visible within this scope."""
        return self.all_tenants or (self.lease_id is None and tenant == self.tenant)


@dataclass(frozen=True, slots=True)
class ViewContext:
    """The readings and the functions that the views of leases and devices need beside the state."""

    currency: str
    usage: Sample
    environment_of: Callable[[Lease], dict[str, str]]
    hidden_environment: dict[str, str]
    queue: QueueReport
    device_nodes_of: Callable[[Lease], list[str]]
    foreign: Mapping[str, Sequence[ForeignProcess]]
    name_of: NameOf
    #: Why the processes of a device, or some of them, cannot be seen, by device.
    unseen: Mapping[str, Message] = field(default_factory=dict)
    device_access_of: Callable[[str], DeviceAccess] = lambda _: NOT_ENFORCED
    scrub_progress_of: Callable[[str], Message | None] = lambda _: None  #: while device memory is overwritten
    cluster: ClusterService | None = None  #: set exactly where an engine grants the leases


def tenant_reference(tenant: str, name_of: NameOf) -> TenantReference:
    """Return a tenant's key and its display name."""
    return {"key": tenant, "name": name_of(tenant)}
