"""``POST /api/kernels/KERNEL_ID/restart`` and ``interrupt`` for kernels that have a lease.

Jupyter's own handler answers for all others.

Jupyter lets restarts of one kernel overlap, which fails in most of them, and answers "Exception restarting kernel"
without the reason. An interrupt fails where it finds no process, because the kernel restarts.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from jupyter_client.jsonutil import json_default
from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.kernels.handlers import KernelActionHandler
from tornado import web

from ..launch_error import launch_error
from ..provisioner import FastGPUProvisioner

#: Goes before Jupyter's own route, as the handlers of extensions do.
RESTART_ROUTE = r"/api/kernels/(?P<kernel_id>\w+-\w+-\w+-\w+-\w+)/(?P<action>restart|interrupt)"


class RestartHandler(KernelActionHandler):
    """Restarts a kernel once for all requests at a time, if nothing is lost by it, and says why it failed.

    While the kernel restarts there is no cell to interrupt.
    """

    @web.authenticated
    @authorized(action="write", resource="kernels")  # type: ignore[untyped-decorator]
    async def post(self, kernel_id: str, action: str) -> None:
        """Restart the kernel and answer with its model, or interrupt it."""
        kernels: Any = self.kernel_manager
        stock: Any = super()
        provisioner = provisioner_of(kernels, kernel_id)
        if provisioner is None:
            await stock.post(kernel_id, action)
            return
        if action == "interrupt":
            try:
                await stock.post(kernel_id, action)
            except RuntimeError:  # jupyter_client: no kernel is running
                if not provisioner.restarts:
                    raise
                self.set_status(204)
                self.finish()
            return
        try:
            await provisioner.restart(partial(kernels.restart_kernel, kernel_id))
        except Exception as error:
            raise launch_error(error, in_server=True) from error
        model = await ensure_async(kernels.kernel_model(kernel_id))
        self.finish(json.dumps(model, default=json_default))


def provisioner_of(kernels: Any, kernel_id: str) -> FastGPUProvisioner | None:
    """Return the provisioner of a kernel that may have a lease; None for other and for unknown kernels."""
    kernel = kernels.get_kernel(kernel_id) if kernel_id in kernels else None
    provisioner = getattr(kernel, "provisioner", None)
    return provisioner if isinstance(provisioner, FastGPUProvisioner) else None
