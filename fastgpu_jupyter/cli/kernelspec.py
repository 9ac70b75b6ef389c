"""``jupyter fastgpu kernelspec install``: a FastGPU twin of any installed kernelspec, in any environment."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_core.application import base_aliases
from traitlets import Bool, Unicode

from .. import __version__
from ..core.model.size import parse_size
from ..errors import FastGPUError, InvalidRequest, Message
from ..kernelspec.command import Probe, probe
from ..kernelspec.logo import TWIN_LOGO, logo_with_label
from ..kernelspec.twin import TwinSize, is_fastgpu, name_of_twin, require_valid_name, twin_of
from ..messages import render, text_of
from ..messages.help import CommandApp
from ..pool.devices.catalog import similar_names
from ..pool.devices.registry import CATALOG
from ..wire.client import PoolClient
from ..wire.locate import pool_socket
from .output import write, write_error

#: What a logo shows where no size is given.
_NO_SIZE = "GPU"


class KernelSpecInstallApp(CommandApp):
    """Install a FastGPU twin of a kernelspec."""

    name = "jupyter-fastgpu-kernelspec-install"
    version = __version__
    description = "Install a FastGPU twin of the installed kernelspec that is named (default: python3)."

    profile = Unicode("", help="Size that the twin requests, like half or a100:1/2; default: a whole GPU.").tag(
        config=True
    )
    memory = Unicode("", help="Memory that the twin requests, like 24GiB, in place of a profile.").tag(config=True)
    target = Unicode("", help="Name of the twin; default: the kernel's name, fastgpu and the size.").tag(config=True)
    prefix = Unicode("", help="Environment to install into, like {sys.prefix}; default: the user's.").tag(config=True)
    sys_prefix = Bool(False, help="Install into this environment.").tag(config=True)
    replace = Bool(False, help="Replace or hide another kernelspec of that name.").tag(config=True)
    any_model = Bool(False, help="Accept a GPU model that FastGPU does not know.").tag(config=True)

    aliases = {
        **base_aliases,
        "profile": "KernelSpecInstallApp.profile",
        "memory": "KernelSpecInstallApp.memory",
        "name": "KernelSpecInstallApp.target",
        "prefix": "KernelSpecInstallApp.prefix",
    }
    flags = {
        "sys-prefix": ({"KernelSpecInstallApp": {"sys_prefix": True}}, "Install into this environment."),
        "replace": ({"KernelSpecInstallApp": {"replace": True}}, "Replace another kernelspec of that name."),
        "any-model": ({"KernelSpecInstallApp": {"any_model": True}}, "Accept a GPU model that FastGPU does not know."),
    }

    def start(self) -> None:
        """Install the twin, and print its folder and whether it has a gate."""
        super().start()
        try:
            if len(self.extra_args) > 1:
                raise InvalidRequest(Message.of("kernelspec.one_source"))
            write(self._install(self.extra_args[0] if self.extra_args else "python3"))
        except FastGPUError as error:
            self._refuse(text_of(error))
        except OSError as error:
            self._refuse(str(error))

    def _refuse(self, sentence: str) -> None:
        write_error("jupyter fastgpu kernelspec install", sentence)
        sys.exit(1)

    def _install(self, source: str) -> str:
        size = TwinSize(self.profile.strip(), self.memory.strip())
        size.validate()
        if not self.any_model:
            require_known_model(size)
        manager = KernelSpecManager(parent=self)
        folder, spec = _read(manager, source)
        name = self.target.strip().lower() or name_of_twin(source, spec, size)
        require_valid_name(name)
        twin_of(spec, gate=False, size=size)  # what is refused is refused before the command is run
        found = probe(spec, folder)
        twin = twin_of(spec, gate=bool(found.gate), size=size)
        if not self.replace:
            _require_free_name(manager, name, twin)
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(folder, scratch, dirs_exist_ok=True)
            (Path(scratch) / "kernel.json").write_text(json.dumps(twin, indent=1) + "\n")
            (Path(scratch) / TWIN_LOGO).write_text(logo_with_label(folder, size.label or _NO_SIZE))
            prefix = sys.prefix if self.sys_prefix else self.prefix or None
            where = manager.install_kernel_spec(scratch, name, not prefix, prefix=prefix)
        return _outcome(twin, where, found)


def require_known_model(size: TwinSize) -> None:
    """Raise :class:`InvalidRequest` if ``size`` names no model that FastGPU knows or a pool of this host has.

    A word that is no profile is the name of a model, so that this is the only way to notice a misspelt profile.
    """
    wanted = parse_size(size.profile) if size.profile else None
    if wanted is None or not wanted.models:
        return
    known = {(name, model.memory_bytes) for name, model in CATALOG.models.items()}
    known |= {(" ".join(model.words), model.memory_bytes) for model in CATALOG.models.values()}
    with suppress(FastGPUError, OSError):
        devices = PoolClient(pool_socket(), timeout_s=2.0).devices()
        known |= {(device["model"], device["memory"]["total_bytes"]) for device in devices}
    if not any(wanted.matches(model, memory_bytes) for model, memory_bytes in known):
        names = ", ".join(similar_names(wanted.models[0], list(CATALOG.models)))
        raise InvalidRequest(Message.of("kernelspec.unknown_model", size=repr(size.profile[:60]), models=names))


def _read(manager: KernelSpecManager, source: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder and the content of the kernelspec ``source``."""
    try:
        folder = Path(manager.get_kernel_spec(source).resource_dir)
    except NoSuchKernel:
        known = ", ".join(sorted(manager.find_kernel_specs()))
        raise InvalidRequest(Message.of("kernelspec.no_source", name=repr(source[:60]), known=known)) from None
    spec = json.loads((folder / "kernel.json").read_text())
    if not isinstance(spec.get("metadata", {}), dict):
        raise InvalidRequest(Message.of("kernelspec.no_metadata", name=repr(source[:60])))
    return folder, spec


def _require_free_name(manager: KernelSpecManager, name: str, twin: dict[str, Any]) -> None:
    """Refuse a name that another kernelspec has; a twin that requests the same in the same words is replaced."""
    try:
        there = manager.get_kernel_spec(name).to_dict()
    except NoSuchKernel:
        return
    if not is_fastgpu(there) or there["display_name"] != twin["display_name"]:
        raise InvalidRequest(Message.of("kernelspec.taken", name=name, display_name=str(there["display_name"])[:80]))


def _outcome(twin: dict[str, Any], where: str, found: Probe) -> str:
    name = twin["display_name"]
    if found.reason is None:
        return render(Message.of("kernelspec.installed_with_gate", display_name=name, folder=where))
    return render(Message.of("kernelspec.installed", display_name=name, folder=where, reason=found.reason))


class KernelSpecApp(CommandApp):
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
