"""What another server needs to adopt a kernel: its record, and the information that Jupyter's own interface has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..compat.jupyter_client import launch_arguments_of
from ..wire.client import LeaseOptions
from ..wire.options import ParsedRequest
from ..wire.pidfd_process import PidfdProcess
from ..wire.process_identity import start_time
from .kernel_lease import KernelLease
from .kernel_records import KernelRecords, records_of
from .kernel_request import GATE_MODULE, RequestingProvisioner
from .notebook_name import SESSION_VARIABLE, name_of_session
from .threads import in_thread
from .token_files import token_path

if TYPE_CHECKING:
    from ..wire.process_identity import ProcessIdentity
    from ..wire.schemas.kept_kernel import KeptKernel
    from .kernel_host import KernelHost


class RecordedProvisioner(RequestingProvisioner):
    """A provisioner whose kernel another server can adopt, with its lease."""

    _lease: KernelLease
    _host: KernelHost
    #: The kernel has run, as opposed to one that is started for the first time.
    _was_launched = False

    @property
    def lease_id(self) -> str | None:
        """Return the id of the kernel's lease, None without one."""
        return self._lease.lease_id

    @property
    def records(self) -> KernelRecords | None:
        """Return the records of the kernels of this server; None where none are kept."""
        return records_of(getattr(self.parent, "parent", None))

    @property
    def runs(self) -> bool:
        """Whether the kernel's process is not known to have ended."""
        return self.process is not None and self.process.poll() is None

    def _options(self) -> LeaseOptions:
        """Return the options of a request; a lease of a cluster lives on without this server as its kernel does."""
        options = super()._options()
        if self.records is not None and self.records.keep_ms:
            options["keep_ms"] = self.records.keep_ms
        return options

    async def _record(self, launch: Mapping[str, Any]) -> dict[str, str]:
        """Record the kernel that is about to be started, if it may outlive this server; return its variables for it."""
        if self.records is None or not (self._host.is_remote or GATE_MODULE in self.kernel_spec.argv):
            return {}
        session_name = launch["env"].get(SESSION_VARIABLE)
        variables = await self.records.starting(
            self.parent, launch["cmd"], launch.get("cwd"), session_name, **self._recorded()
        )
        return {} if self._host.is_remote else variables  # they name processes and files of this machine

    def _recorded(self) -> dict[str, Any]:
        """Return what the record of the kernel has of this provisioner."""
        return {**super()._recorded(), "lease_id": self.lease_id, "remote": self._host.is_remote}

    async def rename(self, notebook: str) -> None:
        """Give the lease the name of the notebook that the kernel is for now."""
        self._notebook = notebook
        if self.records is not None:
            await self.records.changed(self.kernel_id, notebook=notebook)
        await in_thread(self._lease.rename, lambda: self._notebook)

    async def _remove_record(self) -> None:
        if self.records is not None:
            await self.records.ended(self.kernel_id)

    # ---- adoption --------------------------------------------------------------------------------------------

    async def get_provisioner_info(self) -> dict[str, Any]:
        """Return what another server needs to adopt this kernel: the path of the token's file, never the token."""
        info: dict[str, Any] = await super().get_provisioner_info()
        info["lease_id"] = self.lease_id
        info["token_file"] = str(token_path(self.kernel_id))
        info["start_time"] = None if self.pid is None else start_time(self.pid)
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Adopt a running kernel with its lease."""
        await super().load_provisioner_info(provisioner_info)
        self._lease.adopt(provisioner_info.get("lease_id"))
        if self.pid is not None:
            # Without a process, LocalProvisioner takes the kernel for dead.
            adopted: Any = PidfdProcess(self.pid, provisioner_info.get("start_time"))
            self.process = adopted

    @property
    def is_remote(self) -> bool:
        """Whether the kernel runs on a host of a cluster."""
        return self._host.is_remote

    def _use_cluster(self) -> None:
        """Have the kernel on the host of its lease from now on."""
        raise NotImplementedError

    async def adopt(self, record: KeptKernel, process: ProcessIdentity | None) -> None:
        """Become the provisioner of the running kernel, as the one that launched it was; ``process`` is on this host.

        The kernel manager has the kernel's connection.
        """
        if record.remote:
            self._use_cluster()
        await self._host.adopt(record, process)
        self.cwd = record.launch.cwd
        self._notebook = record.notebook
        name = launch_arguments_of(self.parent)["env"].get(SESSION_VARIABLE)
        self._named = None if name is None else name_of_session(name)
        self._chosen = ParsedRequest(record.chosen.size, cast(LeaseOptions, record.chosen.options))
        self._first_launch, self._was_launched = False, True

    async def bind_adopted(self) -> None:
        """Give the lease of the adopted kernel its holder."""
        await self._host.bind_adopted()
