"""``jupyter fastgpu kernelspec install``: a FastGPU twin of any installed kernelspec, in any environment.

A twin starts the same kernel through the FastGPU provisioner. Where the kernel is ipykernel and its interpreter can
import this package, the twin gets the *gate*: it starts at once, and a cell waits for the lease. Any other kernel has
no gate, so its start waits for the lease instead.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_core.application import JupyterApp, base_aliases
from traitlets import Bool, Unicode

from . import __version__
from .core.model.entities import LeaseRequest
from .errors import FastGPUError, InvalidRequest
from .units import parse_memory

PROVISIONER = "fastgpu-provisioner"
_IPYKERNEL_MODULES = ("ipykernel_launcher", "ipykernel")


def twin_of(spec: dict[str, Any], *, gate: bool, profile: str, memory: str) -> dict[str, Any]:
    """Return the kernel.json of the FastGPU twin of ``spec``, which is the content of a kernel.json.

    Raises :class:`~fastgpu_jupyter.errors.InvalidRequest` if ``profile`` or ``memory`` is not a size.
    """
    LeaseRequest(None if memory else profile, parse_memory(memory) if memory else None, None, None).validate()
    metadata = dict(spec.get("metadata", {}))
    size = {"memory": memory} if memory else {"profile": profile}
    metadata["kernel_provisioner"] = {"provisioner_name": PROVISIONER, "config": size}
    metadata["fastgpu"] = {"gate": gate}
    argv = list(spec["argv"])
    if gate:
        module = next(index for index, word in enumerate(argv) if word in _IPYKERNEL_MODULES)
        argv[module] = "fastgpu_jupyter.kernel"
    return {**spec, "argv": argv, "display_name": f"{spec['display_name']} (FastGPU)", "metadata": metadata}


def can_have_gate(argv: list[str]) -> bool:
    """Return whether ``argv`` starts an ipykernel whose interpreter can import this package."""
    if not any(argv[index] == "-m" and argv[index + 1] in _IPYKERNEL_MODULES for index in range(len(argv) - 1)):
        return False
    python = sys.executable if argv[0] in ("python", "python3") else argv[0]
    probe = [python, "-P", "-c", "import fastgpu_jupyter.kernel"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=60, check=False, cwd="/").returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class KernelSpecInstallApp(JupyterApp):
    """Install a FastGPU twin of a kernelspec."""

    name = "jupyter-fastgpu-kernelspec-install"
    version = __version__
    description = "Install a FastGPU twin of the installed kernelspec that is named (default: python3)."

    profile = Unicode("full", help="Size that the twin requests: full, half, quarter or eighth.").tag(config=True)
    memory = Unicode("", help="Memory that the twin requests, like 24GiB, in place of a profile.").tag(config=True)
    target = Unicode("", help="Name of the twin; default: the kernel's name, a dash and fastgpu.").tag(config=True)
    prefix = Unicode("", help="Environment to install into, like {sys.prefix}; default: the user's.").tag(config=True)
    sys_prefix = Bool(False, help="Install into this environment.").tag(config=True)

    aliases = {
        **base_aliases,
        "profile": "KernelSpecInstallApp.profile",
        "memory": "KernelSpecInstallApp.memory",
        "name": "KernelSpecInstallApp.target",
        "prefix": "KernelSpecInstallApp.prefix",
    }
    flags = {"sys-prefix": ({"KernelSpecInstallApp": {"sys_prefix": True}}, "Install into this environment.")}

    def start(self) -> None:
        """Install the twin, and print its folder and whether it has a gate."""
        super().start()
        try:
            print(self._install(self.extra_args[0] if self.extra_args else "python3"))
        except (FastGPUError, OSError) as error:
            print(f"jupyter fastgpu kernelspec install: {error}", file=sys.stderr)
            sys.exit(1)

    def _install(self, source: str) -> str:
        manager = KernelSpecManager(parent=self)
        try:
            folder = Path(manager.get_kernel_spec(source).resource_dir)
        except NoSuchKernel:
            known = ", ".join(sorted(manager.find_kernel_specs()))
            raise InvalidRequest(f"There is no kernelspec {source[:60]!r}. Installed are: {known}.") from None
        spec = json.loads((folder / "kernel.json").read_text())
        gate = can_have_gate(spec["argv"])
        twin = twin_of(spec, gate=gate, profile=self.profile, memory=self.memory)
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(folder, scratch, dirs_exist_ok=True)
            (Path(scratch) / "kernel.json").write_text(json.dumps(twin, indent=1) + "\n")
            prefix = sys.prefix if self.sys_prefix else self.prefix or None
            where = manager.install_kernel_spec(scratch, self.target or f"{source}-fastgpu", not prefix, prefix=prefix)
        starts = "it starts at once, and a cell waits for its GPU" if gate else "its start waits for its GPU"
        return f"Installed {twin['display_name']} in {where}: {starts}."


class KernelSpecApp(JupyterApp):
    """Kernelspecs that lease a GPU."""

    name = "jupyter-fastgpu-kernelspec"
    version = __version__
    description = "Install kernelspecs that lease a GPU."
    subcommands = {"install": (KernelSpecInstallApp, KernelSpecInstallApp.description)}

    def start(self) -> None:
        """Run the subcommand, or print the subcommands."""
        if self.subapp is None:
            self.print_help()
            sys.exit(1)
        self.subapp.start()
