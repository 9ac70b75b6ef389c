"""The description of one operation of an HTTP interface, and the parameters that several operations have."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from ...core.model.entities import Isolation
from ...core.model.size import SizeUnit
from ..ids import DEVICE_ID, LEASE_ID
from ..schemas.common import INTEGER_MAX, PRIORITIES


class Permission(Enum):
    """What a caller needs for an operation, beside a connection to the socket."""

    NONE = "none"  #: every caller gets the answer; names of other tenants' leases are left out
    TENANT = "tenant"  #: the caller's tenant must own the lease
    LEASE = "lease"  #: and the caller must have the token of the lease
    ADMINISTRATOR = "administrator"  #: the caller must be root or the user of the pool manager


class Parameter(NamedTuple):
    """A parameter of the path, the query or a header."""

    name: str
    where: str
    schema: dict[str, Any]
    text: str


class Operation(NamedTuple):
    """One method of one path: its texts, its types, and what a caller needs for it."""

    method: str
    path: str
    text: str
    answer: Any  #: the type of its JSON, or a media type
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    status: int = 200
    problems: tuple[int, ...] = ()  #: beside those of every operation
    permission: Permission = Permission.NONE

    @property
    def name(self) -> str:
        """The method and the path, such as ``GET /v1/leases``."""
        return f"{self.method} {self.path}"


LEASE = Parameter("lease_id", "path", {"type": "string", "pattern": LEASE_ID}, "The lease.")
DEVICE = Parameter("device_id", "path", {"type": "string", "pattern": DEVICE_ID}, "The device, by id.")
WAIT = Parameter("wait_ms", "query", {"type": "integer", "maximum": INTEGER_MAX}, "Wait so long, at most 30000 ms.")
AFTER = Parameter("after", "query", {"type": "integer", "maximum": INTEGER_MAX}, "For a version beyond this.")
RESOLUTION = Parameter(
    "resolution",
    "query",
    {"type": "string", "enum": ["1s", "1m"]},
    "By the second for an hour, or the minute for a week.",
)
FROM = Parameter("since", "query", {"type": "integer"}, "Nothing before this, in wall-clock milliseconds.")
#: The query of the sizes that a request or a lease can have.
SIZES = (
    Parameter("lease_id", "query", {"type": "string", "pattern": LEASE_ID}, "Sizes of this lease, else of a request."),
    Parameter("model", "query", {"type": "string"}, "Only devices of this model."),
    Parameter("isolation", "query", {"type": "string", "enum": [one.value for one in Isolation]}, "Of the request."),
    Parameter("priority", "query", {"type": "string", "enum": list(PRIORITIES)}, "Of the request."),
    Parameter(
        "unit", "query", {"type": "string", "enum": [one.value for one in SizeUnit]}, "Parts of devices, or memory."
    ),
)
MONTH = Parameter("month", "path", {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"}, "Such as 2026-11.")
