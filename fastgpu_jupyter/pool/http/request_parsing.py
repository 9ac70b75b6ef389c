"""Parse and validate request bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from ...core.model import commands as c
from ...core.model.entities import (
    WEIGHT_DEFAULT,
    BudgetPolicy,
    ClusterRequest,
    IdleStep,
    IdleTimes,
    Isolation,
    LeaseRequest,
    Plan,
    Priority,
    Retention,
)
from ...core.model.size import Size, SizeUnit, parse_size
from ...errors import InvalidRequest, Message
from ...wire.schemas import common
from ...wire.schemas.common import INTEGER_MAX, TEXT_MAX
from ..monitors.use import FrameworkCounters

NAMES_MAX = 16
#: More cells do not end between two reports of a kernel.
CELLS_MAX = 10_000
GROUP, LIBRARY = map(re.compile, (common.GROUP, common.LIBRARY))
#: The names of the fields of :class:`IdleTimes` in a request, in their order.
_IDLE_TIMES = tuple(f"idle_{step.value}_ms" for step in IdleStep)
#: The names of the fields of :class:`ClusterRequest` in a request, in their order.
_CLUSTER_FIELDS = ("partition", "account", "qos", "constraint", "time_limit_ms")
_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_Choice = TypeVar("_Choice", bound=Enum)


def lease_request(body: dict[str, Any]) -> LeaseRequest:
    """Return the request for a lease; the core validates its values together."""
    return LeaseRequest(
        profile=text(body, "size"),
        memory_bytes=integer(body, "memory_bytes"),
        kernel_id=text(body, "kernel_id"),
        notebook=text(body, "notebook"),
        priority=_priority(body),
        wait_ms_max=integer(body, "wait_ms_max"),
        isolation=_choice(body, "isolation", Isolation.NONE),
        parkable=_maybe(body, "parkable"),
        resizable=_maybe(body, "resizable"),
        retention=_choice(body, "retention", Retention.YIELD),
        cpu_milli=integer(body, "cpu_milli") or 0,
        host_memory_bytes=integer(body, "host_memory_bytes") or 0,
        rate_micro_per_hour_max=integer(body, "rate_micro_per_hour_max"),
        budget_micro=integer(body, "budget_micro"),
        idle=IdleTimes(*(integer(body, name) for name in _IDLE_TIMES)),
        job=text(body, "job"),
        keep_ms=integer(body, "keep_ms") or 0,
    )


def require_no_cluster(body: dict[str, Any]) -> None:
    """Raise :class:`InvalidRequest` for options that only an engine understands."""
    given = body.get("cluster")
    if given is not None and not isinstance(given, dict):
        raise InvalidRequest(Message.of("request.body_not_object"))
    if any(given.values() if given else ()):
        raise InvalidRequest(Message.of("cluster.not_configured"))


def cluster_request(body: dict[str, Any]) -> ClusterRequest:
    """Return what a request says to the engine. Raises :class:`InvalidRequest`."""
    given = {} if body.get("cluster") is None else body["cluster"]
    if not isinstance(given, dict):
        raise InvalidRequest(Message.of("request.body_not_object"))
    if unknown := sorted(given.keys() - set(_CLUSTER_FIELDS)):
        raise InvalidRequest(Message.of("cluster.no_option", name=repr(unknown[0][:40]), choices=_CLUSTER_FIELDS))
    partition, account, qos, constraint = (text(given, name) or "" for name in _CLUSTER_FIELDS[:-1])
    return ClusterRequest(partition, account, qos, constraint, integer(given, "time_limit_ms") or None)


class SizeQuery(NamedTuple):
    """A query of the sizes of a lease, or of a request with these options."""

    lease_id: str | None
    like: str  #: a size of the devices that are asked for
    isolation: Isolation
    priority: Priority
    unit: SizeUnit


def size_query(query: Mapping[str, str]) -> SizeQuery:
    """Return the query of sizes. Raises :class:`InvalidRequest`."""
    lease_id, model = text(query, "lease_id"), text(query, "model")
    like = Size() if not model else Size(models=parse_size(model).models)
    isolation, unit = _choice(query, "isolation", Isolation.NONE), _choice(query, "unit", SizeUnit.SHARE)
    return SizeQuery(lease_id, str(like), isolation, _priority(query), unit)


def entitlement(body: dict[str, Any]) -> tuple[int, int | None, int]:
    """Return the weight, the limit and the guarantee of an entitlement."""
    weight = integer(body, "weight")
    limit_milli, guaranteed_milli = integer(body, "limit_milli"), integer(body, "guaranteed_milli")
    return WEIGHT_DEFAULT if weight is None else weight, limit_milli, guaranteed_milli or 0


def budget(body: dict[str, Any]) -> tuple[int | None, BudgetPolicy | None]:
    """Return what may be spent, and the policy at the limit, None to keep it.

    The amount is required, or a slip would lift a budget.
    """
    if "budget_micro" not in body:
        raise InvalidRequest(Message.of("request.budget_missing", field="budget_micro"))
    policy = None if body.get("policy") is None else _choice(body, "policy", BudgetPolicy.WARN)
    return integer(body, "budget_micro"), policy


def group(values: Mapping[str, Any]) -> str | None:
    """Return the name of a group, None without one. Raises :class:`InvalidRequest`."""
    found = text(values, "group")
    if found is not None and not GROUP.fullmatch(found):
        raise InvalidRequest(Message.of("request.group"))
    return found


def reservation(
    body: dict[str, Any], reservation_id: str, tenant_key: str, discounts: Mapping[str, int]
) -> c.ReserveCapacity:
    """Return the command that reserves capacity for a tenant, at the discount of the pool."""
    wanted = text(body, "size") or ""
    size, plan = parse_size(wanted), _choice(body, "plan", Plan.MONTH)
    if size.memory_bytes is not None:
        raise InvalidRequest(Message.of("request.reserved_size"))
    numerator, denominator = size.part or (1, 1)
    milli = -(-1000 * size.devices * numerator // denominator)
    kind = str(replace(size, devices=1, part=None))
    model = None if kind == "full" else kind
    discount = discounts[plan.value]
    return c.ReserveCapacity(reservation_id, tenant_key, milli, model, plan, discount, integer(body, "start"))


def text(body: Mapping[str, Any], name: str) -> str | None:
    """Return a text, None without it. Raises :class:`InvalidRequest`."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        raise InvalidRequest(Message.of("request.not_text", field=name, characters_max=TEXT_MAX))
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidRequest(Message.of("request.lone_surrogate", field=name))
    return value


def libraries(body: dict[str, Any], name: str) -> tuple[str, ...]:
    """Return a list of names of libraries. Raises :class:`InvalidRequest`."""
    value = body.get(name)
    if not isinstance(value, list) or len(value) > NAMES_MAX:
        raise InvalidRequest(Message.of("request.not_names", field=name, names_max=NAMES_MAX))
    if not all(isinstance(one, str) and LIBRARY.fullmatch(one) for one in value):
        raise InvalidRequest(Message.of("request.library", field=name))
    return tuple(value)


def integer(body: dict[str, Any], name: str) -> int | None:
    """Return a whole number, None without it. Raises :class:`InvalidRequest`."""
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or abs(value) > INTEGER_MAX):
        raise InvalidRequest(Message.of("request.not_bounded_integer", field=name))
    return value


def cells_ended(body: dict[str, Any]) -> tuple[int, FrameworkCounters | None]:
    """Return how many cells ended, and what the frameworks of the kernel count. Raises :class:`InvalidRequest`.

    A kernel that does not count says that one has.
    """
    cells, memory = integer(body, "cells"), body.get("frameworks")
    count = 1 if cells is None else min(max(0, cells), CELLS_MAX)
    if memory is None:
        return count, None
    if not isinstance(memory, dict):
        raise InvalidRequest(Message.of("request.body_not_object"))
    peak_bytes, reserved_bytes = integer(memory, "peak_bytes"), integer(memory, "reserved_bytes")
    if peak_bytes is None or reserved_bytes is None or min(peak_bytes, reserved_bytes) < 0:
        return count, None
    return count, FrameworkCounters(peak_bytes, reserved_bytes)


def optional_truth(body: dict[str, Any], name: str) -> bool | None:
    """Return a truth value, None without it. Raises :class:`InvalidRequest`."""
    return _maybe(body, name)


def yes_or_no(body: dict[str, Any], name: str) -> bool:
    """Return a required truth value. Raises :class:`InvalidRequest`."""
    value = _maybe(body, name)
    if value is None:
        raise InvalidRequest(Message.of("request.not_boolean", field=name))
    return value


def _maybe(body: dict[str, Any], name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(Message.of("request.not_boolean", field=name))
    return value


def _choice(body: Mapping[str, Any], name: str, default: _Choice) -> _Choice:
    value = body.get(name)
    if value is None:
        return default
    kind = type(default)
    found = next((choice for choice in kind if choice.value == value), None)
    if found is None:
        choices = ", ".join(str(choice.value) for choice in kind)
        raise InvalidRequest(Message.of("request.choice", field=name, value=repr(str(value)[:40]), choices=choices))
    return found


def _priority(body: Mapping[str, Any]) -> Priority:
    given = body.get("priority")
    name = "normal" if given is None else given
    found = _PRIORITIES.get(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidRequest(Message.of("request.priority", value=repr(str(name)[:40])))
    return found
