"""What a kernel requests: the settings of the provisioner, the kernelspec, and what the user chose for this kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Float, List, Unicode, default

from ..units import parse_memory
from ..wire.client import LeaseOptions
from ..wire.options import KernelspecRequest, ParsedRequest, merged, read_kernelspec
from ..wire.variables import SIZE
from .caller import current_caller
from .intents import intents
from .kernel_lease import Wanted
from .notebook_name import name_of_kernel, this_program

#: What the command of a kernel with a gate has.
GATE_MODULE = "fastgpu_jupyter.kernel"


class RequestingProvisioner(LocalProvisioner):
    """A provisioner that knows which lease its kernel needs, and for which notebook."""

    profile = Unicode(
        help="Size of the logical GPU: full, half, quarter or eighth. "
        "Default: the kernelspec's metadata.fastgpu.profile, else full."
    ).tag(config=True)
    memory = Unicode(
        help="Memory of the logical GPU, such as 24GiB; overrides the profile. "
        "Default: the kernelspec's metadata.fastgpu.memory."
    ).tag(config=True)
    gate = Bool(
        help="The kernel lets its cells wait for the grant. Default: the kernelspec's metadata.fastgpu.gate, "
        "else whether it runs FastGPU's own kernel."
    ).tag(config=True)
    grant_timeout_s = Float(
        35.0, min=0.0, help="How long the start of a kernel without a gate may wait for its GPU, in seconds."
    ).tag(config=True)

    preload: List[str] = List(
        Unicode(),
        help='Modules that standby kernels import before the notebook does, such as ["torch"]. '
        "Default: the kernelspec's metadata.fastgpu.preload.",
    ).tag(config=True)

    cluster_wait_s = Float(
        35.0,
        min=0.0,
        help="How long the start of a kernel on a cluster may wait for its job where the client brought no lease, in "
        "seconds; then the request is cancelled. JupyterLab requests first, and waits as long as its user wants.",
    ).tag(config=True)

    _notebook: str | None = None
    _named: str | None = None  # by the environment of the last launch
    #: What the user chose for this kernel, which a later launch of it requests again.
    _chosen = ParsedRequest(None, {})
    _first_launch = True

    @default("profile")
    def _default_profile(self) -> str:
        return self._defaults().profile or "full"

    @default("memory")
    def _default_memory(self) -> str:
        return self._defaults().memory

    @default("gate")
    def _default_gate(self) -> bool:
        named = self._defaults().gate
        return GATE_MODULE in self.kernel_spec.argv if named is None else named

    @default("preload")
    def _default_preload(self) -> list[str]:
        return list(self._defaults().preload)

    def _defaults(self) -> KernelspecRequest:
        return read_kernelspec(self.kernel_spec.metadata)

    @property
    def in_server(self) -> bool:
        """Whether a server starts the kernel, as opposed to a program that runs a notebook itself."""
        return isinstance(getattr(self.parent, "parent", None), MultiKernelManager)

    @property
    def python_on_cluster(self) -> str | None:
        """Return the interpreter on the hosts of a cluster; None for the same path as here."""
        return self._defaults().python

    @property
    def notebook(self) -> str | None:
        """Return the name of what the kernel is for, None if it is not known."""
        return self._notebook

    def _options(self) -> LeaseOptions:
        """Return the options of a request that the kernelspec has beside the size."""
        options = self._defaults().options
        if not self.gate:
            # Such a kernel neither reports that it computes nor resumes a parked lease.
            options["parkable"] = False
        return options

    def _wanted(self) -> Wanted:
        options = merged(self._options(), self._chosen.options)
        if self._chosen.size is not None:
            return Wanted(self._chosen.size, None, self._notebook, options)
        memory_bytes = parse_memory(self.memory) if self.memory.strip() else None
        size = None if memory_bytes is not None else self.profile
        return Wanted(size, memory_bytes, self._notebook, options)

    def _read_choice(self, env: Mapping[str, str]) -> None:
        """Take what the user chose for this kernel in a browser, or in the environment of a program without one."""
        if self.in_server:
            chosen = intents.take(self.kernel_id, current_caller()) if self._first_launch else None
        else:
            size = env.get(SIZE, "").strip()
            chosen = ParsedRequest(size, {}) if size else None
        self._first_launch = False
        self._chosen = chosen or self._chosen

    def _read_name(self, env: Mapping[str, str]) -> None:
        """Take the name in the environment, unless it is the one that was there before a rename."""
        named = name_of_kernel(env, this_program(), has_sessions=self.in_server)
        if named is not None and named != self._named:
            self._notebook = self._named = named

    def _recorded(self) -> dict[str, Any]:
        """Return what the record of the kernel has of its request."""
        from ..wire.schemas.kept_kernel import RecordedRequest

        chosen = RecordedRequest(size=self._chosen.size, options=dict(self._chosen.options))
        return {"chosen": chosen, "notebook": self._notebook}
