"""The options of a request beside its size, as users write them: words of a command, or a mapping of metadata.

One table, :data:`OPTIONS`, serves ``%fastgpu request`` and a kernelspec's ``metadata.fastgpu``, so that a name means
the same everywhere. The pool manager has a default for each option. This module imports the standard library only,
because the kernel imports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..errors import InvalidRequest, Message
from ..units import parse_cores, parse_duration, parse_memory, parse_money
from .client import LeaseOptions
from .preload import MODULES_MAX, is_module_name


class _Option(NamedTuple):
    field: str  #: of :class:`LeaseOptions`, or of its ``cluster``
    argument: str  #: the value in the help; empty for a flag
    read: Callable[[str], Any]
    is_cluster: bool = False  #: for pools whose GPUs a cluster's scheduler places


class KernelspecRequest(NamedTuple):
    """What ``metadata.fastgpu`` of a kernelspec says; a field that it does not have is None or empty."""

    gate: bool | None  #: whether cells of the kernel wait for the grant
    profile: str
    memory: str
    options: LeaseOptions
    preload: tuple[str, ...] = ()  #: modules that a standby kernel imports ahead
    python: str | None = None  #: the interpreter on the hosts of a cluster


class ParsedRequest(NamedTuple):
    """The size, None if none was named, and the options of a request, or a lease that was granted to it before."""

    size: str | None
    options: LeaseOptions
    lease_id: str | None = None


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise InvalidRequest(Message.of("option.none_of", text=repr(text[:40]), choices=choices))
        return text.lower()

    return read


def _yes_or_no(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise InvalidRequest(Message.of("option.yes_or_no", text=repr(text[:40])))
    return _TRUTH[text.lower()]


def _retention(text: str) -> str:
    return "hold" if _yes_or_no(text) else "yield"


def _name(text: str) -> str:
    """Return a name of the cluster, which nothing but the cluster knows; it is an argument of its commands."""
    if not _CLUSTER_NAME.fullmatch(text):
        raise InvalidRequest(Message.of("option.not_a_name", text=repr(text[:40])))
    return text


#: Also the pattern of the parameters of a start. A constraint may combine features: ``a100&nvlink``, ``[a|b]``.
CLUSTER_NAME = r"[A-Za-z0-9_.,:@+&|()*\[\]!=-]{1,100}"
_CLUSTER_NAME = re.compile(rf"(?!-){CLUSTER_NAME}")
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
#: Entries of a kernelspec's ``metadata.fastgpu`` that are not options of a request.
_NOT_OPTIONS = ("gate", "profile", "memory", "preload", "cluster")
OPTIONS: dict[str, _Option] = {
    "priority": _Option("priority", "low|normal|high", _one_of("low", "normal", "high", "system")),
    "hold": _Option("retention", "", _retention),
    "parkable": _Option("parkable", "", _yes_or_no),
    "isolation": _Option("isolation", "none|limited|hardware", _one_of("none", "limited", "hardware")),
    "cpu": _Option("cpu_milli", "CORES", parse_cores),
    "host-memory": _Option("host_memory_bytes", "16GiB", parse_memory),
    "max-rate": _Option("rate_micro_per_hour_max", "2.50", parse_money),
    "wait": _Option("wait_ms_max", "10m", parse_duration),
    "budget": _Option("budget_micro", "20", parse_money),
    "idle-notify": _Option("idle_notify_ms", "30m", parse_duration),
    "idle-park": _Option("idle_park_ms", "1h", parse_duration),
    "idle-release": _Option("idle_release_ms", "4h", parse_duration),
    "idle-shut-down": _Option("idle_shut_down_ms", "8h", parse_duration),
    "time": _Option("time_limit_ms", "4h", parse_duration, is_cluster=True),
    "partition": _Option("partition", "NAME", _name, is_cluster=True),
    "account": _Option("account", "NAME", _name, is_cluster=True),
    "qos": _Option("qos", "NAME", _name, is_cluster=True),
    "constraint": _Option("constraint", "FEATURES", _name, is_cluster=True),
}


def read_words(words: Sequence[str]) -> ParsedRequest:
    """Return the request in words such as ``["half", "--priority", "low", "--hold", "--wait=10m"]``.

    The words that are not options are the size. Raises :class:`InvalidRequest` with a sentence that names the option.
    """
    size: list[str] = []
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            size.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        negated = name.removeprefix("no-")
        if name not in OPTIONS and negated in OPTIONS and not OPTIONS[negated].argument and not equals:
            name, value = negated, "no"
        elif not equals:
            value = _next_word(name, rest)
        if name in given:
            raise InvalidRequest(Message.of("option.given_twice", option=name))
        given[name] = value
    return ParsedRequest(" ".join(size) or None, read_mapping(given))


def _next_word(name: str, rest: list[str]) -> str:
    option = OPTIONS.get(name)
    if option is None or not option.argument:
        return "yes"
    if not rest or rest[0].startswith("--"):
        raise InvalidRequest(Message.of("option.needs_value", option=name, example=option.argument))
    return rest.pop(0)


def read_mapping(given: Mapping[str, Any]) -> LeaseOptions:
    """Return the options in a mapping such as ``{"priority": "low", "hold": True, "cpu": 4}``.

    Names may have underscores for hyphens. Raises :class:`InvalidRequest` for an unknown name or an invalid value.
    """
    options: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("_", "-")
        option = OPTIONS.get(name)
        if option is None:
            raise InvalidRequest(Message.of("option.unknown", text=repr(key[:40]), choices=tuple(OPTIONS)))
        try:
            target = options.setdefault("cluster", {}) if option.is_cluster else options
            target[option.field] = option.read(_as_text(value))
        except InvalidRequest as error:
            raise InvalidRequest(Message.of("option.invalid", option=name, reason=error.message)) from None
    return cast(LeaseOptions, options)


def merged(options: LeaseOptions, over: LeaseOptions) -> LeaseOptions:
    """Return ``options`` with those of ``over`` in their place; each option of a cluster by itself."""
    result: dict[str, Any] = {**options, **over}
    cluster = {**options.get("cluster", {}), **over.get("cluster", {})}
    return cast(LeaseOptions, {**result, "cluster": cluster} if cluster else result)


def read_kernelspec(metadata: Mapping[str, Any]) -> KernelspecRequest:
    """Return what the ``metadata`` of a kernelspec says of its request, in the object ``fastgpu``.

    Raises :class:`InvalidRequest` for anything that is not understood, because an option that is ignored would be
    noticed only by its cost.
    """
    try:
        return _read_request(metadata.get("fastgpu", {}))
    except InvalidRequest as error:
        raise InvalidRequest(Message.of("kernelspec.metadata", reason=error.message)) from None


def _read_request(found: Any) -> KernelspecRequest:
    if not isinstance(found, Mapping):
        raise InvalidRequest(Message.of("kernelspec.not_object", value=repr(found)[:40]))
    gate, profile, memory = found.get("gate"), found.get("profile", ""), found.get("memory", "")
    if not isinstance(gate, bool | None):
        raise InvalidRequest(Message.of("kernelspec.not_boolean", field="gate", value=repr(gate)[:40]))
    for size in (profile, memory):
        if not isinstance(size, str):
            raise InvalidRequest(Message.of("kernelspec.not_text", field="A size", value=repr(size)[:40]))
    for field in found:
        if field.replace("_", "-") not in {*_NOT_OPTIONS, *OPTIONS}:
            choices = (*_NOT_OPTIONS, *OPTIONS)
            raise InvalidRequest(Message.of("kernelspec.no_option", field=repr(field[:40]), choices=choices))
    options = read_mapping({name: value for name, value in found.items() if name not in _NOT_OPTIONS})
    preload, python = _read_preload(found.get("preload", [])), _read_python(found.get("cluster", {}))
    return KernelspecRequest(gate, profile, memory, options, preload, python)


def _read_python(cluster: Any) -> str | None:
    """Return the interpreter in ``{"python": PATH}``."""
    path = cluster.get("python") if isinstance(cluster, Mapping) else cluster
    if not isinstance(cluster, Mapping) or cluster.keys() - {"python"} or not isinstance(path, str | None):
        raise InvalidRequest(Message.of("kernelspec.cluster", value=repr(cluster)[:40]))
    return path or None


def _read_preload(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or len(names) > MODULES_MAX or not all(map(is_module_name, names)):
        raise InvalidRequest(Message.of("kernelspec.preload", value=repr(names)[:40], modules_max=MODULES_MAX))
    return tuple(names)


def _as_text(value: Any) -> str:
    """Return a JSON value as the word of a command."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def usage() -> str:
    """Return the options with their values, for the help of a command."""
    named = (f"--{name} {option.argument}".rstrip() for name, option in OPTIONS.items())
    return " ".join(f"[{name}]" for name in named)
