"""The handler of requests for kernels that are started only when their lease is granted."""

from __future__ import annotations

from pathlib import PurePosixPath

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_server.auth.decorator import authorized
from jupyter_server.services.sessions.sessionmanager import ModelName
from tornado import web

from ...errors import Message, NotFound
from ...wire.ids import kernel_id_of
from ...wire.schemas.parameters import read_parameters, read_request
from ..caller import caller_of
from ..kernel_records import records_of
from ..notebook_name import SESSION_VARIABLE, name_of_session
from ..requested_leases import CLAIM_S, RequestedLeases, wanted_of
from ..threads import in_thread
from .base import LEASES, FastGPUHandler


class RequestHandler(FastGPUHandler):
    """The lease of one kernel that does not run yet."""

    @web.authenticated
    @authorized(action="write", resource=LEASES)  # type: ignore[untyped-decorator]
    async def post(self, kernel_id: str) -> None:
        """Answer with the lease at once, waiting or active, requested if it was not before.

        With the id of a lease in the parameters it is that one, which another kernel requested for this one.
        """
        kernel_id = kernel_id_of(kernel_id)
        body = read_request(self.json_object())
        chosen = read_parameters(body["parameters"])
        try:
            spec = await in_thread(self.kernel_spec_manager.get_kernel_spec, body["kernel"])
        except NoSuchKernel:
            raise NotFound(Message.of("requested.no_kernelspec", name=repr(body["kernel"][:100]))) from None
        requested: RequestedLeases = self.settings["fastgpu_requested"]
        records = records_of(self.kernel_manager)
        keep_ms = 0 if records is None else records.keep_ms
        wanted = wanted_of(spec.metadata, chosen, self._name(body["notebook"]), keep_ms)
        if chosen.lease_id is None:
            lease = await requested.request(kernel_id, caller_of(self), wanted)
        else:
            lease = await requested.adopt(kernel_id, caller_of(self), chosen.lease_id)
        self.answer({"lease": lease, "kept_for_ms": round(CLAIM_S * 1000)})

    def _name(self, path: str | None) -> str | None:
        """Return the name that the lease of a kernel with a session of this path gets."""
        if path is None:
            return None
        environment = self.session_manager.get_kernel_env(path, ModelName(PurePosixPath(path).name))
        return name_of_session(environment[SESSION_VARIABLE])
