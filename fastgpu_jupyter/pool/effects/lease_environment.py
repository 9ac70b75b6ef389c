"""What a kernel needs to use its logical GPU: environment variables and device files, as the driver names them."""

from __future__ import annotations

from ...core.model.entities import Lease, LogicalGPU
from ...core.model.lifecycle import LeaseState
from ..devices.driver import Driver


class LeaseEnvironment:
    """The environment of kernels with a lease on the devices of one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def variables_of(self, lease: Lease) -> dict[str, str]:
        """Return the environment variables of the lease's kernel; none while it has no usable logical GPU."""
        gpu = _local_gpu(lease)
        return dict(self._driver.env(gpu)) if gpu else {}

    def device_nodes_of(self, lease: Lease) -> list[str]:
        """Return the device files that the lease's kernel must be able to open; none while it has no logical GPU."""
        gpu = _local_gpu(lease)
        return list(self._driver.device_nodes(gpu)) if gpu else []

    def hidden_variables(self) -> dict[str, str]:
        """Return the environment variables with which a process sees no device."""
        return dict(self._driver.hidden_env())


def _local_gpu(lease: Lease) -> LogicalGPU | None:
    """Return the usable logical GPU of a lease on this host; the agent sets the variables on another."""
    return lease.logical_gpu if lease.state is LeaseState.ACTIVE and lease.cluster_job is None else None
