"""The handler of the lease of a running kernel."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ...errors import Conflict, Message, NotFound
from ..provisioner import FastGPUProvisioner
from .base import LEASES, FastGPUHandler


class KernelLeaseHandler(FastGPUHandler):
    """The lease of one running kernel of this server."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, kernel_id: str) -> None:
        """Answer with the kernel's lease, requested with the parameters in the body if it has none."""
        from ...wire.schemas.parameters import read_parameters

        chosen = read_parameters(self.json_object())
        if kernel_id not in self.kernel_manager:
            raise NotFound(Message.of("request.kernel_not_running"))
        provisioner = self.kernel_manager.get_kernel(kernel_id).provisioner
        if not isinstance(provisioner, FastGPUProvisioner):
            raise Conflict(Message.of("request.kernel_no_provisioner"))
        self.answer(await provisioner.request_lease(chosen))
