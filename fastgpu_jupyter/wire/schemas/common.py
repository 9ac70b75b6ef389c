"""Field types that several schemas share: bounded numbers, texts, enumerations, messages and tenants.

The bounds and the values of the enumerations become part of the OpenAPI document, and of the browser's validators,
which are generated from it. The enumerations are those of the core; no schema lists their values.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypedDict

import msgspec

from ...core.model import entities as model
from ...core.model.device import MISSING

TEXT_MAX = 1024
#: The largest integer that every JSON implementation reads exactly.
INTEGER_MAX = 2**53 - 1
#: What a user database may hold, such as ``EXAMPLE\\dave`` or ``eve@example.org``: all but control characters and line
#: breaks. The longest login name of Linux has 256 characters; a key has a tag in front of it.
NAME = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
TENANT = f"^{NAME}{{1,264}}$"
GROUP = f"^{NAME}{{1,256}}$"
LIBRARY = "^[0-9A-Za-z_.()+ -]{1,64}$"
PRIORITIES = tuple(priority.name.lower() for priority in model.Priority)


def one_of(values: type[Enum] | tuple[str, ...]) -> msgspec.Meta:
    """Return the constraint that a text is the value of an enumeration, or one of ``values``."""
    choices = values if isinstance(values, tuple) else tuple(member.value for member in values)
    return msgspec.Meta(extra_json_schema={"enum": list(choices)})


Text = Annotated[str, msgspec.Meta(max_length=TEXT_MAX)]
Integer = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]

LeaseStateName = Annotated[str, one_of(model.LeaseState)]
HealthName = Annotated[str, one_of((*(health.value for health in model.Health), MISSING))]
BudgetPolicyName = Annotated[str, one_of(model.BudgetPolicy)]
PlanName = Annotated[str, one_of(model.Plan)]
PriorityName = Annotated[str, one_of(PRIORITIES)]
IsolationName = Annotated[str, one_of(model.Isolation)]
RetentionName = Annotated[str, one_of(model.Retention)]
EnforcementName = Annotated[str, one_of(model.Enforcement)]
LimitScopeName = Annotated[str, one_of(model.LimitScope)]
MechanismName = Annotated[str, one_of(model.Mechanism)]
ScrubOutcomeName = Annotated[str, one_of(model.ScrubOutcome)]


class MessageView(TypedDict):
    """A sentence for the user as a code with parameters; ``text`` is the sentence in English.

    The parameters are texts, numbers, truth values, messages, or lists of texts and messages.
    """

    code: str
    params: dict[str, Any]
    text: str


class TenantReference(TypedDict):
    """A tenant by its key, such as ``uid:1001``, and the name to display."""

    key: str
    name: str
