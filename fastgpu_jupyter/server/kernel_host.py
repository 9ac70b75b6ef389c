"""What the provisioner needs of the machine on which a kernel runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jupyter_client.connect import KernelConnectionInfo

    from ..wire.client import PoolClient
    from ..wire.schemas import LeaseView
    from ..wire.schemas.kept_kernel import KeptKernel


class KernelHost(Protocol):
    """Starts, signals and ends the process of one kernel; the provisioner keeps the lease and the order of the steps.

    The process and its number are attributes of the provisioner, as ``LocalProvisioner`` has them.
    """

    is_remote: bool

    async def wait_for_grant(self, client: PoolClient, view: LeaseView, is_abandoned: Callable[[], bool]) -> LeaseView:
        """Return the lease when the start need not wait for it any more. Raises what ends the wait."""

    async def prepare(self, env: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the launch of the kernel, as ``pre_launch`` does, while the lease is being requested."""

    def environment(self, client: PoolClient, view: LeaseView, own: Mapping[str, str], /) -> dict[str, str]:
        """Return the environment of the launch with what the lease needs."""

    async def start(self, cmd: list[str], kwargs: dict[str, Any]) -> KernelConnectionInfo:
        """Start the process and return how clients connect to it."""

    async def started(self) -> None:
        """Return when the launch is complete, after the process was started."""

    async def failed(self) -> None:
        """Undo what :meth:`prepare` did for a launch that has failed."""

    async def held(self) -> None:
        """Return when the last launch has given the lease its holder, or has failed to."""

    def noticed_end(self, code: int) -> int | None:
        """Return the exit code of the process, None as long as a restarter must not act on it. Called in a server."""

    async def expect_restart(self) -> None:
        """Let the lease outlive the process, before a restart that the user requested. Raises the refusal."""

    async def expect_end(self) -> bool:
        """Let the lease outlive the process, which is about to be ended; return whether it runs."""

    async def signal(self, signum: int) -> None:
        """Send a signal to the kernel and what it has started."""

    async def require_later_lease(self) -> None:
        """Raise the reason for which the running kernel cannot get a lease before it is restarted."""

    async def use_later_lease(self) -> None:
        """Let the running kernel use the lease that was just requested for it. Raises :class:`Conflict`."""

    def stop(self) -> None:
        """End what this does in the background."""

    async def adopt(self, record: KeptKernel, process: Any, /) -> None:
        """Take over the running kernel of an earlier server, to which the kernel manager is connected."""

    async def bind_adopted(self) -> None:
        """Give the lease of an adopted kernel its holder."""
