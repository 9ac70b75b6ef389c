"""Generate the OpenAPI 3.1 documents of the two HTTP interfaces from their tables of operations and the schemas.

``python -m fastgpu_jupyter.wire.openapi`` prints the document of the pool manager's interface, with ``--jupyter`` that
of the Jupyter server's. Tests compare the tables with the routes that there are, and the schemas with the answers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from .. import __version__
from . import schemas
from .interfaces import jupyter, pool
from .interfaces.operation import Operation, Parameter, Permission

#: Statuses of every operation of the pool manager but health: malformed, the caller has ended, method, limit.
_POOL_PROBLEMS = (400, 404, 405, 429)
#: Statuses of every operation of the Jupyter server: not authorized, not found, method, no pool manager.
_JUPYTER_PROBLEMS = (403, 404, 405, 503)

_TEXTS = {
    400: "Malformed or out of bounds",
    403: "The caller may not do that",
    404: "There is no such thing, or none that the caller may know of",
    405: "The route has no such method",
    409: "The state of the lease or of the device does not allow it",
    422: "No device of this pool could ever serve it",
    429: "A limit is reached; `Retry-After` says when to try again",
    502: "The driver of the device, the engine of the cluster or the host of the lease does not answer, or failed",
    507: "The journal cannot be written",
}
_JUPYTER_TEXTS = {**_TEXTS, 503: "The pool manager does not answer"}


@cache
def document() -> dict[str, Any]:
    """Return the document of the pool manager's interface."""
    lease_token = {"type": "http", "scheme": "bearer", "description": "The token of the lease."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FastGPU pool manager",
            "version": __version__,
            "description": "Served on a Unix socket. A caller is identified by the user id that the system recorded "
            "for its connection; some operations need the token of the lease.",
        },
        "paths": _paths(pool.OPERATIONS, _POOL_PROBLEMS, schemas.ProblemView),
        "components": {
            "schemas": _components(pool.OPERATIONS, (*pool.MESSAGES, schemas.ProblemView)),
            "securitySchemes": {"lease": lease_token},
        },
    }


@cache
def jupyter_document() -> dict[str, Any]:
    """Return the document of the Jupyter server's interface."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FastGPU in a Jupyter server",
            "version": __version__,
            "description": "Paths are relative to `{base_url}fastgpu/api`. The Jupyter server authenticates.",
        },
        "paths": _paths(jupyter.OPERATIONS, _JUPYTER_PROBLEMS, schemas.ErrorView),
        "components": {"schemas": _components(jupyter.OPERATIONS, (*jupyter.MESSAGES, schemas.ErrorView))},
    }


def reference(schema: Any) -> dict[str, str]:
    """Return the reference to the component that describes ``schema``."""
    return {"$ref": f"#/components/schemas/{schema.__name__}"}


def _components(operations: Iterable[Operation], others: Iterable[Any]) -> dict[str, Any]:
    types = {operation.answer for operation in operations if isinstance(operation.answer, type)}
    types |= {operation.body for operation in operations if operation.body is not None}
    ordered = sorted((types | {*others}) - {dict}, key=lambda schema: str(schema.__name__))
    _, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    components["MessageView"]["properties"]["params"]["additionalProperties"] = _message_parameter()
    return dict(sorted(components.items()))


def _message_parameter() -> dict[str, Any]:
    """Return the schema of a parameter of a message, which may be a message again."""
    text, message = {"type": "string"}, reference(schemas.MessageView)
    texts = {"type": "array", "items": {"anyOf": [text, message]}}
    return {"anyOf": [text, {"type": "number"}, {"type": "boolean"}, texts, message]}


def _paths(operations: Iterable[Operation], always: tuple[int, ...], problem: Any) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, () if operation.path.endswith("/health") else always, problem)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return paths


def _operation(operation: Operation, always: tuple[int, ...], problem: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {str(operation.status): {"description": operation.text, "content": _content(operation)}}
    media_type = "application/problem+json" if problem is schemas.ProblemView else "application/json"
    for status in sorted({*always, *operation.problems}):
        responses[str(status)] = {
            "description": (_TEXTS if problem is schemas.ProblemView else _JUPYTER_TEXTS)[status],
            "content": {media_type: {"schema": reference(problem)}},
        }
        if status == 429:
            retry = {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}
            responses["429"]["headers"] = {"Retry-After": retry}
    described: dict[str, Any] = {
        "summary": operation.text,
        "operationId": f"{operation.method.lower()} {operation.path}",
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": responses,
    }
    if operation.body is not None:
        content = {"application/json": {"schema": reference(operation.body)}}
        described["requestBody"] = {"required": bool(operation.body.__required_keys__), "content": content}
    if operation.permission is Permission.LEASE:
        described["security"] = [{"lease": []}]
    return described


def _content(operation: Operation) -> dict[str, Any]:
    if isinstance(operation.answer, str):
        return {operation.answer: {"schema": {"type": "string"}}}
    schema = {"type": "object"} if operation.answer is dict else reference(operation.answer)
    return {"application/json": {"schema": schema}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    required = parameter.where == "path"
    described = {"name": parameter.name, "in": parameter.where, "required": required, "schema": parameter.schema}
    return {**described, "description": parameter.text}


def text(described: dict[str, Any]) -> str:
    """Return a document as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(described), indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(jupyter_document() if "--jupyter" in sys.argv[1:] else document()))
