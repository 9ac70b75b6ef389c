"""The parameters of a start: a JSON Schema as Jupyter's JEP 87 puts it into a kernelspec's ``metadata.parameters``.

JupyterLab's form asks for them, the Jupyter server takes them as an intent, and a notebook's ``metadata.fastgpu``
remembers them. All but ``size`` are options of :data:`~fastgpu_jupyter.wire.options.OPTIONS`, in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from ...core.model.entities import LeaseRequest
from ...errors import InvalidRequest, Message
from ..options import ParsedRequest, read_mapping
from .requests import IntentBody, RequestBody, StartParameters

T = TypeVar("T")
FULL = "full"


def parameters(defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema for a kernelspec with ``defaults`` of its own, which need not have all names."""
    properties = msgspec.json.schema(StartParameters)["$defs"]["StartParameters"]["properties"]
    own = defaults or {}
    # In the order of the definition, which is that of the form.
    named = {
        name: {**properties[name], "default": own.get(name, properties[name]["default"])}
        for name in StartParameters.__annotations__
    }
    return {"type": "object", "additionalProperties": False, "properties": named}


def read_parameters(given: Mapping[str, Any]) -> ParsedRequest:
    """Return the size, None if none was given, the options, and the lease, in parameters of a start.

    Raises :class:`InvalidRequest` for an unknown name, and for a value that the pool manager would refuse as invalid.
    """
    _converted(given, IntentBody)
    options = {name: value for name, value in given.items() if value != "" and name not in ("size", "lease_id")}
    known = get_type_hints(IntentBody)
    unknown = sorted(set(options) - set(known))
    if unknown:
        choices = (*known,)
        raise InvalidRequest(Message.of("intent.no_parameter", name=repr(unknown[0][:40]), choices=choices))
    request = ParsedRequest(given.get("size"), read_mapping(options), given.get("lease_id") or None)
    _validate(request)
    return request


def read_request(given: Mapping[str, Any]) -> RequestBody:
    """Return the body of a request for a kernel that is started later. Raises :class:`InvalidRequest`."""
    return _converted(given, RequestBody)


def _converted(given: Mapping[str, Any], schema: type[T]) -> T:
    try:
        return msgspec.convert(given, schema)
    except msgspec.ValidationError as error:
        raise InvalidRequest(Message.of("intent.parameters", reason=str(error)[:200])) from None


def _validate(request: ParsedRequest) -> None:
    wait_ms_max, budget_micro = request.options.get("wait_ms_max"), request.options.get("budget_micro")
    LeaseRequest(request.size or FULL, None, None, None, wait_ms_max=wait_ms_max, budget_micro=budget_micro).validate()
