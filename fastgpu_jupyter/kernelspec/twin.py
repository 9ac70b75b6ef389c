"""The content and the name of a twin. Pure functions of the content of another kernelspec."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..core.model.entities import LeaseRequest
from ..errors import InvalidRequest, Message
from ..units import parse_memory
from ..wire.options import read_kernelspec
from ..wire.schemas.parameters import parameters
from .command import KERNEL_MODULE, with_module

PROVISIONER = "fastgpu-provisioner"
#: Provisioners whose kernels are processes of this host, which the FastGPU provisioner starts in the same way.
_LOCAL = (PROVISIONER, "local-provisioner")
#: jupyter_client accepts these characters, and changes capital letters.
_NAME = re.compile(r"[a-z0-9._-]{1,100}")
_SUFFIX = re.compile(r" \(FastGPU[^)]*\)$")
_SIZE_KEYS = ("profile", "memory")


class TwinSize(NamedTuple):
    """The size that a twin requests, as text; both empty for the size of its source, or a whole GPU."""

    profile: str = ""
    memory: str = ""

    @property
    def label(self) -> str:
        """The size for names and logos; empty where none was given."""
        return self.profile or self.memory

    def validate(self) -> None:
        """Raise :class:`InvalidRequest` if both are given, or if the one that is given is not a size."""
        if self.profile and self.memory:
            raise InvalidRequest(Message.of("kernelspec.two_sizes"))
        if self.label:
            memory_bytes = parse_memory(self.memory) if self.memory else None
            LeaseRequest(self.profile or None, memory_bytes, None, None).validate()


def size_of(spec: Mapping[str, Any]) -> TwinSize:
    """Return the size that a kernelspec of FastGPU requests. Raises :class:`InvalidRequest` if it has no valid one."""
    request = read_kernelspec(spec.get("metadata", {}))
    config = _provisioner(spec).get("config", {})
    memory = str(config.get("memory", request.memory))
    return TwinSize("" if memory else str(config.get("profile", request.profile)), memory)


def is_fastgpu(spec: Mapping[str, Any]) -> bool:
    """Return whether the kernels of ``spec`` are started by the FastGPU provisioner."""
    return _provisioner(spec).get("provisioner_name") == PROVISIONER


def twin_of(spec: Mapping[str, Any], *, gate: bool, size: TwinSize) -> dict[str, Any]:
    """Return the content of the twin of ``spec``, with all other metadata and options of that.

    Raises :class:`InvalidRequest` if the size is none, if the options of ``spec`` are not valid, or if its kernels are
    started by a provisioner for other hosts.
    """
    request = read_kernelspec(spec.get("metadata", {}))
    provisioner = _provisioner(spec)
    if provisioner.get("provisioner_name", PROVISIONER) not in _LOCAL:
        raise InvalidRequest(Message.of("kernelspec.other_provisioner", name=str(provisioner["provisioner_name"])[:60]))
    if is_fastgpu(spec) and not size.label:
        raise InvalidRequest(Message.of("kernelspec.no_size"))
    wanted = size if size.label else (size_of(spec) if request.profile or request.memory else TwinSize("full"))
    wanted.validate()
    twin = copy.deepcopy(dict(spec))
    options = twin.setdefault("metadata", {}).get("fastgpu", {})
    config = provisioner.get("config", {}) if is_fastgpu(spec) else {}
    twin["metadata"]["fastgpu"] = {**_without_size(options), "gate": gate}
    twin["metadata"]["kernel_provisioner"] = {
        "provisioner_name": PROVISIONER,
        "config": {**_without_size(config), **{key: text for key, text in wanted._asdict().items() if text}},
    }
    twin["metadata"]["parameters"] = _parameters(spec, _defaults(wanted, options))
    twin["argv"] = (with_module(spec["argv"], KERNEL_MODULE) if gate else None) or list(spec["argv"])
    named = f"FastGPU {size.label}" if size.label else "FastGPU"
    twin["display_name"] = f"{_SUFFIX.sub('', str(spec['display_name']))} ({named})"
    return twin


def name_of_twin(source: str, spec: Mapping[str, Any], size: TwinSize) -> str:
    """Return the name of a twin for which none is given: that of its source, ``fastgpu`` and the size."""
    base = source.lower()
    if is_fastgpu(spec):
        base = base.removesuffix(_slug(size_of(spec).label))
    base = base if re.search(r"(^|[._-])fastgpu$", base) else f"{base}-fastgpu"
    return base + _slug(size.label)


def require_valid_name(name: str) -> None:
    """Raise :class:`InvalidRequest` if a kernelspec cannot have that name."""
    if not _NAME.fullmatch(name) or name.strip(".") == "":
        raise InvalidRequest(Message.of("kernelspec.name", name=repr(name[:60])))


def _slug(label: str) -> str:
    text = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")
    return f"-{text}" if text else ""


def _without_size(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _SIZE_KEYS}


def _parameters(spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return FastGPU's parameters with ``defaults``, beside those that ``spec`` has itself."""
    found = spec.get("metadata", {}).get("parameters")
    there = found.get("properties") if isinstance(found, Mapping) else None
    added = parameters(defaults)
    return {**added, "properties": {**(there if isinstance(there, Mapping) else {}), **added["properties"]}}


def _defaults(size: TwinSize, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the parameters of a kernelspec with that size and those options."""
    return {"size": size.label or "full"} | {
        name: options[name] if isinstance(options[name], bool) else str(options[name])
        for name in ("isolation", "priority", "hold", "budget", "wait")
        if name in options
    }


def _provisioner(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    found = spec.get("metadata", {}).get("kernel_provisioner", {})
    return found if isinstance(found, Mapping) else {}
