"""Handlers of the operations on the kernel of a lease that is on another host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ....errors import Conflict, InvalidRequest, Message
from ....wire.schemas import KernelBody, KernelConnectionView, KernelSignalBody, LeaseView
from ...journal.answers import FirstAnswer
from ..call import HttpCall
from .base import HandlerContext, HandlerTable

if TYPE_CHECKING:
    from ...clusters.kernels import KernelOperations, StartedKernel

#: The folder of a kernel that names none: there is none of that name, so that the agent takes the home folder.
HOME = "~"
#: Characters in the files of a kernel, all together.
FILES_CHARS_MAX = 2**16


class KernelHandlers:
    """Handlers of the operations on kernels of a cluster; a pool of local devices has none."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "POST /v1/leases/{lease_id}/kernel": self.start,
            "POST /v1/leases/{lease_id}/kernel/signal": self.signal,
            "DELETE /v1/leases/{lease_id}/kernel": self.end,
        }

    async def start(self, call: HttpCall) -> FirstAnswer:
        """Start a kernel on the host of a lease, and return how to talk to it.

        That is secret, so that this is no answer to keep in the journal, whatever key the request has.
        """
        kernels = self._kernels()
        body = _read(call.body, KernelBody)
        files = body.get("files") or {}
        if sum(map(len, files.values())) > FILES_CHARS_MAX:
            raise InvalidRequest(Message.of("cluster.files_too_large", characters_max=FILES_CHARS_MAX))
        from ...clusters.agent_messages import KernelStart

        start = KernelStart(
            tuple(body["argv"]),
            body["env"],
            body["cwd"] or HOME,
            body["key"],
            encryption=body.get("encryption") or "auto",
            restart=body["restart"],
            files=files,
        )
        return call.answer(_connection(await kernels.start(call.lease_id, start)))

    async def signal(self, call: HttpCall) -> LeaseView:
        """Send a signal to all processes of the kernel."""
        kernels = self._kernels()
        await kernels.signal(call.lease_id, _read(call.body, KernelSignalBody)["signum"])
        return await self._context.reader.lease(call.caller, call.lease_id)

    async def end(self, call: HttpCall) -> LeaseView:
        """End the kernel; the lease stays."""
        await self._kernels().end(call.lease_id)
        return await self._context.reader.lease(call.caller, call.lease_id)

    def _kernels(self) -> KernelOperations:
        """Return the operations on kernels. Raises :class:`Conflict` in a pool of local devices."""
        cluster = self._context.backend.cluster
        if cluster is None:
            raise Conflict(Message.of("cluster.no_kernel_here"))
        return cluster.kernels


def _read(body: dict[str, Any], schema: type[Any]) -> Any:
    """Return the body as its schema has it. Raises :class:`InvalidRequest`."""
    try:
        return msgspec.convert(body, schema)
    except msgspec.ValidationError as error:
        raise InvalidRequest(Message.of("request.body_syntax", reason=str(error)[:200])) from error


def _connection(started: StartedKernel) -> KernelConnectionView:
    found, kernel = started.connection, started.kernel
    return {
        "transport": "tcp",
        "ip": found["ip"],
        "shell_port": found["shell_port"],
        "iopub_port": found["iopub_port"],
        "stdin_port": found["stdin_port"],
        "control_port": found["control_port"],
        "hb_port": found["hb_port"],
        "key": found["key"],
        "signature_scheme": found["signature_scheme"],
        "curve_publickey": found.get("curve_publickey") or None,
        "curve_secretkey": found.get("curve_secretkey") or None,
        "pid": kernel.pid or 0,
        "generation": kernel.generation,
        "started_at": kernel.started_at,
    }
