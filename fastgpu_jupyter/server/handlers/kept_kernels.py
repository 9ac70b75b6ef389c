"""The handlers of the user's kernels that run on without a Jupyter server, and that this one has not adopted."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..threads import in_thread
from .base import LEASES, FastGPUHandler


class KeptKernelsHandler(FastGPUHandler):
    """The list of these kernels."""

    @web.authenticated
    @authorized(action="read", resource=LEASES)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with all of them."""
        from ...wire.kept_list import listed

        self.answer({"kernels": await in_thread(listed)})


class KeptKernelHandler(FastGPUHandler):
    """One of these kernels."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def delete(self, kernel_id: str) -> None:
        """End the kernel, and answer with those that are left."""
        from ...wire.kept_list import end, found_by, listed

        await in_thread(lambda: end(found_by(kernel_id)))
        self.answer({"kernels": await in_thread(listed)})
