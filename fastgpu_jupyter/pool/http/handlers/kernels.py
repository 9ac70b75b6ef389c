"""Handlers of the operations on the kernel of a lease that is on another host."""

from __future__ import annotations

from ....errors import Conflict, Message
from ..call import HttpCall
from .base import HandlerContext, HandlerTable


class KernelHandlers:
    """Handlers of the operations on kernels of a cluster; a pool of local devices has none."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "POST /v1/leases/{lease_id}/kernel": self.refuse,
            "POST /v1/leases/{lease_id}/kernel/signal": self.refuse,
            "DELETE /v1/leases/{lease_id}/kernel": self.refuse,
        }

    async def refuse(self, _: HttpCall) -> None:
        """Refuse: the lease is on this machine, whose kernels the Jupyter server starts."""
        raise Conflict(Message.of("cluster.no_kernel_here"))
