"""The pool manager's interface as an OpenAPI 3.1 document, made from the table of operations below.

The schemas of answers are the types in :mod:`.schemas`, those of bodies are the types here; there is no second
description. Tests hold the table against the routes that there are and the answers that they give.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec

from .. import __version__
from . import schemas
from .schemas import HistoryView, LeaseView

TEXT_MAX = 1024
INTEGER_MAX = 2**53 - 1
LEASE_ID = "^[0-9A-Za-z_-]{1,64}$"
DEVICE_ID = "^[0-9A-Za-z_.:-]{1,80}$"
TENANT = "^[0-9A-Za-z_.@-]{1,64}$"
LIBRARY = "^[0-9A-Za-z_.()+ -]{1,64}$"

Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Bytes = Annotated[int, msgspec.Meta(ge=2**20, le=INTEGER_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


class HealthView(TypedDict):
    """The pool manager serves."""

    status: Literal["ok"]


class DevicesView(TypedDict):
    """All devices."""

    devices: list[schemas.DeviceView]


class LeasesView(TypedDict):
    """The caller's leases, those that ended in the last hour included."""

    leases: list[LeaseView]


class QueuesView(TypedDict):
    """The queue in order of grant."""

    queue: list[schemas.QueueView]


class TenantsView(TypedDict):
    """Entitlements: the caller's own, or everybody's for an administrator."""

    tenants: list[schemas.TenantView]


class GroupsView(TypedDict):
    """Entitlements of groups: of the caller's own, or of all for an administrator."""

    groups: list[schemas.GroupView]


class StatementsView(TypedDict):
    """Statements: the caller's own, or everybody's for an administrator."""

    statements: list[schemas.StatementView]


class RatesView(TypedDict):
    """What each model costs."""

    rates: list[schemas.RateView]


class ReservationsView(TypedDict):
    """Reservations: the caller's own, or everybody's for an administrator."""

    reservations: list[schemas.ReservationView]


class ProblemView(TypedDict):
    """An error (RFC 9457); ``code`` is for programs, ``detail`` a sentence or two for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class _LeaseBodyRequired(TypedDict):
    token_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class LeaseBody(_LeaseBodyRequired, total=False):
    """A request for a lease: a size as text (``profile``) or an amount of memory, one of the two."""

    profile: Text | None
    memory_bytes: Bytes | None
    kernel_id: Text | None
    notebook: Text | None
    priority: schemas.PriorityName | None
    wait_ms_max: Count | None
    isolation: schemas.IsolationName | None
    parkable: bool | None
    resizable: bool | None
    retention: schemas.RetentionName | None
    cpu_milli: Count | None
    host_memory_bytes: Count | None
    rate_micro_per_hour_max: Count | None
    budget_micro: Count | None


class BindBody(TypedDict, total=False):
    """The process that is to hold the lease; ``null`` is the caller itself."""

    pid: Annotated[int, msgspec.Meta(ge=1, le=2**22)] | None


class ResizeBody(TypedDict):
    """The size that the lease is to have."""

    profile: Text


class LibrariesBody(TypedDict):
    """What the kernel told its libraries (``null``: all of a device), and the names of those that cannot follow."""

    memory_bytes: Count | None
    needs_restart: Annotated[list[Annotated[str, msgspec.Meta(pattern=LIBRARY)]], msgspec.Meta(max_length=16)]


class PinBody(TypedDict):
    """Whether the lease is to be held; one that is not may be parked for others."""

    pinned: bool


class ActivityBody(TypedDict):
    """Whether a cell runs; one that begins wants a parked lease back."""

    busy: bool


class TransferBody(TypedDict):
    """Who is to be billed."""

    tenant: Text


class LeaseBudgetBody(TypedDict):
    """What the lease may cost in all; ``null`` for no budget."""

    budget_micro: Count | None


class BudgetBody(TypedDict):
    """What a tenant may spend in a month; ``null`` for no budget. At the limit it is told (``warn``), gets no more
    leases (``stop``), and what it has is parked where that is possible (``park``).
    """

    budget_micro: Count | None
    policy: schemas.BudgetPolicyName


class _ReservationBodyRequired(TypedDict):
    tenant: Annotated[str, msgspec.Meta(pattern=TENANT)]
    size: Text
    plan: schemas.PlanName


class ReservationBody(_ReservationBodyRequired, total=False):
    """What is to be held: devices or a part of one, like ``2xa100`` or ``a100:1/2``; from ``start`` on, or from now."""

    start: Count | None


class DrainBody(TypedDict):
    """Whether the device is to be out of service."""

    drained: bool


class PartitionModeBody(TypedDict):
    """Whether MIG mode is to be on."""

    on: bool


class GroupBody(TypedDict, total=False):
    """An entitlement; amounts are thousandths of devices, a limit of ``null`` is none."""

    weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None
    guaranteed_milli: Count | None
    limit_milli: Count | None


class TenantBody(GroupBody, total=False):
    """An entitlement of one tenant, and the group that it belongs to."""

    group: Annotated[str, msgspec.Meta(pattern=TENANT)] | None


class SnapshotMessage(schemas.StatusView):
    """The first message of the event stream, and whenever the pool manager itself changed: everything."""

    type: Literal["snapshot"]
    seq: int


class ChangedMessage(TypedDict):
    """What changed: those devices and leases, and the whole queue."""

    type: Literal["changed"]
    seq: int
    devices: list[schemas.DeviceView]
    leases: list[LeaseView]
    queue: list[schemas.QueueView]


class UsageMessage(TypedDict):
    """What was used at the last reading, each second."""

    type: Literal["usage"]
    devices: list[schemas.DeviceUsageView]
    leases: list[schemas.LeaseUsageView]


class Parameter(NamedTuple):
    """A parameter of the path, the query or a header."""

    name: str
    where: str
    schema: dict[str, Any]
    text: str


class Operation(NamedTuple):
    """One method of one route."""

    method: str
    path: str
    text: str
    answer: Any  #: the type of its JSON, or a media type
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    status: int = 200
    problems: tuple[int, ...] = ()  #: beside those that every operation can give
    token: bool = False  #: whether the lease's token is needed


_LEASE = Parameter("lease_id", "path", {"type": "string", "pattern": LEASE_ID}, "The lease.")
_DEVICE = Parameter("device_id", "path", {"type": "string", "pattern": DEVICE_ID}, "The device, by id.")
_TENANT = Parameter("tenant", "path", {"type": "string", "pattern": TENANT}, "The tenant.")
_GROUP = Parameter("group", "path", {"type": "string", "pattern": TENANT}, "The group.")
_RESERVATION = Parameter(
    "reservation_id", "path", {"type": "string", "pattern": LEASE_ID}, "The reservation, by an id of your choice."
)
_MONTH = Parameter("month", "path", {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"}, "Such as 2026-11.")
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": "^[!-~]{1,128}$"},
    "Makes a repeated call find the first one's answer.",
)
_WAIT = Parameter("wait_ms", "query", {"type": "integer", "maximum": INTEGER_MAX}, "Wait so long, at most 30000 ms.")
_AFTER = Parameter("after", "query", {"type": "integer", "maximum": INTEGER_MAX}, "For a version beyond this.")
_SINCE = Parameter(
    "since", "query", {"type": "integer"}, "`seq` of the last message that was seen: send what was missed."
)
_RESOLUTION = Parameter(
    "resolution",
    "query",
    {"type": "string", "enum": ["1s", "1m"]},
    "By the second for an hour, or the minute for a week.",
)
_FROM = Parameter("since", "query", {"type": "integer"}, "Nothing before this, in wall-clock milliseconds.")
_ONE = Parameter("lease", "query", {"type": "string", "pattern": LEASE_ID}, "Only this lease.")

#: What anything but health can be answered with: malformed, the caller has ended, another method, over a limit.
_ALWAYS = (400, 404, 405, 429)

OPERATIONS = (
    Operation("get", "/v1/health", "Whether the pool manager serves; never refused", HealthView),
    Operation("get", "/v1/status", "Everything at one instant", schemas.StatusView),
    Operation("get", "/v1/pool", "The pool manager itself", schemas.PoolView),
    Operation("get", "/v1/devices", "All devices", DevicesView),
    Operation("put", "/v1/devices/{device_id}", "Take a device out of service, or put it back; administrators only",
              schemas.DeviceView, DrainBody, (_DEVICE, _KEY), problems=(403, 507)),
    Operation("get", "/v1/devices/{device_id}/history", "What was used of it since the pool manager started",
              HistoryView, None, (_DEVICE, _RESOLUTION, _FROM)),
    Operation("get", "/v1/devices/{device_id}/mig", "MIG mode, and what it would disturb to switch it; administrators",
              schemas.PartitionModeView, None, (_DEVICE,), problems=(403,)),
    Operation("put", "/v1/devices/{device_id}/mig", "Switch MIG mode where nothing is there; administrators only",
              schemas.PartitionModeView, PartitionModeBody, (_DEVICE,), problems=(403, 409, 507)),
    Operation("get", "/v1/queue", "Who waits, in order of grant", QueuesView),
    Operation("get", "/v1/leases", "The caller's leases", LeasesView),
    Operation("post", "/v1/leases", "Ask for a lease, held by the calling process", LeaseView, LeaseBody, (_KEY,),
              status=201, problems=(403, 422, 507)),
    Operation("get", "/v1/leases/{lease_id}", "One lease, now or as soon as it changes", LeaseView, None,
              (_LEASE, _WAIT, _AFTER)),
    Operation("delete", "/v1/leases/{lease_id}", "Release it", LeaseView, None, (_LEASE, _KEY), problems=(507,)),
    Operation("get", "/v1/leases/{lease_id}/history", "What it used since the pool manager started", HistoryView,
              None, (_LEASE, _RESOLUTION, _FROM)),
    Operation("post", "/v1/leases/{lease_id}/bind", "Make a process its holder", LeaseView, BindBody,
              (_LEASE, _KEY), problems=(403, 409, 507), token=True),
    Operation("post", "/v1/leases/{lease_id}/resize", "Give it another size", LeaseView, ResizeBody,
              (_LEASE, _KEY), problems=(409, 422, 507)),
    Operation("post", "/v1/leases/{lease_id}/move", "Take it off a device that is not well; see `move`",
              LeaseView, None, (_LEASE, _KEY), problems=(409, 507)),
    Operation("post", "/v1/leases/{lease_id}/libraries", "Say what came of a change of size in the kernel",
              LeaseView, LibrariesBody, (_LEASE, _KEY), problems=(403, 507), token=True),
    Operation("post", "/v1/leases/{lease_id}/park", "Move its memory to the host's and give its device to others",
              LeaseView, None, (_LEASE, _KEY), problems=(409, 507)),
    Operation("post", "/v1/leases/{lease_id}/resume", "Let a parked lease wait for a device", LeaseView, None,
              (_LEASE, _KEY), problems=(409, 507)),
    Operation("post", "/v1/leases/{lease_id}/pin", "Hold it, or let it be parked for others", LeaseView, PinBody,
              (_LEASE, _KEY), problems=(409, 507)),
    Operation("post", "/v1/leases/{lease_id}/activity", "A cell begins or ends", LeaseView, ActivityBody,
              (_LEASE, _KEY), problems=(403, 409, 507), token=True),
    Operation("post", "/v1/leases/{lease_id}/transfer", "Let another tenant be billed; administrators only",
              LeaseView, TransferBody, (_LEASE, _KEY), problems=(403, 409, 507)),
    Operation("post", "/v1/leases/{lease_id}/budget", "Say what it may cost in all", LeaseView, LeaseBudgetBody,
              (_LEASE, _KEY), problems=(409, 507)),
    Operation("get", "/v1/tenants", "Entitlements", TenantsView),
    Operation("put", "/v1/tenants/{tenant}", "Set an entitlement; administrators only", schemas.TenantView, TenantBody,
              (_TENANT, _KEY), problems=(403, 507)),
    Operation("put", "/v1/tenants/{tenant}/budget", "Say what it may spend in a month; administrators only",
              schemas.TenantView, BudgetBody, (_TENANT, _KEY), problems=(403, 507)),
    Operation("get", "/v1/reservations", "Reservations", ReservationsView),
    Operation("put", "/v1/reservations/{reservation_id}", "Hold capacity for a tenant; administrators only",
              schemas.ReservationView, ReservationBody, (_RESERVATION, _KEY), problems=(403, 422, 507)),
    Operation("delete", "/v1/reservations/{reservation_id}", "End a reservation now; administrators only",
              schemas.ReservationView, None, (_RESERVATION, _KEY), problems=(403, 507)),
    Operation("get", "/v1/groups", "Entitlements of groups", GroupsView),
    Operation("put", "/v1/groups/{group}", "Set a group's entitlement; administrators only", schemas.GroupView,
              GroupBody, (_GROUP, _KEY), problems=(403, 507)),
    Operation("get", "/v1/statements/{month}", "What was used in a month", StatementsView, None, (_MONTH,),
              problems=(507,)),
    Operation("get", "/v1/rates", "What devices cost", RatesView),
    Operation("get", "/v1/events", "The event stream: a line of JSON a message, for as long as it is read",
              "application/x-ndjson", None, (_ONE, _SINCE)),
    Operation("get", "/v1/metrics", "Metrics in Prometheus' format", "text/plain"),
    Operation("get", "/v1/openapi.json", "This document", dict),
)  # fmt: skip

_TEXTS = {
    400: "Malformed or out of bounds",
    403: "The caller may not do that",
    404: "There is no such thing, or none that the caller may know of",
    405: "The route has no such method",
    409: "The state of the lease does not allow it",
    422: "No device of this pool could ever serve it",
    429: "A limit is reached; `Retry-After` says when to try again",
    507: "The journal cannot be written",
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    types = {operation.answer for operation in OPERATIONS if isinstance(operation.answer, type)}
    types |= {operation.body for operation in OPERATIONS if operation.body is not None}
    types |= {ProblemView, SnapshotMessage, ChangedMessage, UsageMessage}
    ordered = sorted(types - {dict}, key=lambda cls: cls.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "FastGPU pool manager",
            "version": __version__,
            "description": "Served on a Unix socket. A caller is known by the user id that the system recorded for its "
            "connection; the token of a lease is needed where that is said.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"lease": {"type": "http", "scheme": "bearer", "description": "The lease's token."}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {str(operation.status): {"description": operation.text, "content": _content(operation)}}
    problems = () if operation.path == "/v1/health" else (*_ALWAYS, *operation.problems)
    for status in sorted(problems):
        responses[str(status)] = {
            "description": _TEXTS[status],
            "content": {"application/problem+json": {"schema": _ref(ProblemView)}},
        }
        if status == 429:
            retry = {"description": "Seconds.", "required": True, "schema": {"type": "integer", "minimum": 1}}
            responses["429"]["headers"] = {"Retry-After": retry}
    described: dict[str, Any] = {
        "summary": operation.text,
        "operationId": f"{operation.method} {operation.path}",
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": responses,
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _ref(operation.body)}}
        described["requestBody"] = {"required": bool(operation.body.__required_keys__), "content": content}
    if operation.token:
        described["security"] = [{"lease": []}]
    return described


def _content(operation: Operation) -> dict[str, Any]:
    if isinstance(operation.answer, str):
        return {operation.answer: {"schema": {"type": "string"}}}
    schema = {"type": "object"} if operation.answer is dict else _ref(operation.answer)
    return {"application/json": {"schema": schema}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    required = parameter.where == "path"
    described = {"name": parameter.name, "in": parameter.where, "required": required, "schema": parameter.schema}
    return {**described, "description": parameter.text}


def _ref(cls: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{cls.__name__}"}
