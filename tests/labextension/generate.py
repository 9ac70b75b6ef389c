"""Generate TypeScript sources from definitions in Python: types, validation schemas, lease states and messages.

``python -m tests.labextension.generate`` (``make generate``) writes the files of :data:`OUTPUT`;
``tests/labextension/test_generated.py`` compares them with what the definitions in Python produce.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastgpu_jupyter.core.model.lifecycle import CHANGED, GROUPS, LeaseState
from fastgpu_jupyter.messages.en import MESSAGES
from fastgpu_jupyter.wire import version
from fastgpu_jupyter.wire.job_states import ENDED, JobState
from fastgpu_jupyter.wire.openapi import jupyter_document, text
from fastgpu_jupyter.wire.schemas.common import INTEGER_MAX
from tests.labextension.strings import bundle, escaped, is_in_browser

LABEXTENSION = Path(__file__).resolve().parent.parent.parent / "labextension"
OUTPUT = LABEXTENSION / "src/generated"
#: What the browser reads. The schemas that these refer to are included.
ROOTS = (
    "SnapshotMessage", "ChangedMessage", "UsageMessage", "KeepaliveMessage", "UnreachableMessage",
    "LeaseView", "HistoryView", "QuotaView", "SizeOptions", "AdviceView",
    "SpendingView", "IntentView", "RequestedView", "KeptKernelList",
    "JobsMessage", "JobsUnreachableMessage", "JobLog", "JobExplanation", "JobDetailsView", "JobsUsage", "PruneReport",
)  # fmt: skip
#: The keywords of JSON Schema that labextension/src/leases/validate.ts implements.
_KEYWORDS = ("$ref", "anyOf", "enum", "type", "minimum", "maximum", "maxLength", "items", "additionalProperties")
#: The longest text that the browser keeps of a field without a higher limit, as in that module.
_TEXT_MAX = 4096
_HEADER = "// Generated from {source} by `make generate`. Do not edit.\n\n"
_PREFIX = "#/components/schemas/"


def openapi() -> str:
    """Return the OpenAPI document of the Jupyter server's interface."""
    return text(jupyter_document())


def types() -> str:
    """Return the TypeScript types of the interface, made by openapi-typescript from ``labextension/openapi.json``."""
    command = [
        "npx", "--no-install", "openapi-typescript", "openapi.json",
        "--immutable", "--root-types", "--root-types-no-schema-prefix", "--root-types-keep-casing",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=LABEXTENSION, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def schemas() -> str:
    """Return the schemas that the browser validates answers with, reduced to the keywords that it implements."""
    components = jupyter_document()["components"]["schemas"]
    names = list(dict.fromkeys(name for root in ROOTS for name in _referenced(components, root)))
    reduced = {name: _reduce(components[name]) for name in sorted(names)}
    return (
        _HEADER.format(source="fastgpu_jupyter/wire")
        + "import type { ISchema } from '../leases/validate';\n\n"
        + f"export const SCHEMAS: Readonly<Record<string, ISchema>> = {_literal(reduced)};\n"
    )


def lifecycle() -> str:
    """Return the states of a lease, their transitions and the named groups of states."""
    after: dict[str, list[str]] = {
        state.value: list(dict.fromkeys(to.value for (before, _), to in CHANGED.items() if before is state))
        for state in LeaseState
    }
    groups = "".join(
        f"\nexport const {name}: ReadonlySet<LeaseState> = /* @__PURE__ */ new Set<LeaseState>("
        f"{_literal([state.value for state in LeaseState if state in states])});\n"
        for name, states in GROUPS.items()
    )
    return (
        _HEADER.format(source="fastgpu_jupyter/core/model/lifecycle.py")
        + f"export const LEASE_STATES = {_literal([state.value for state in LeaseState])} as const;\n\n"
        + "export type LeaseState = (typeof LEASE_STATES)[number];\n\n"
        + "/** The states that can follow each state. */\n"
        + f"export const TRANSITIONS: Readonly<Record<LeaseState, ReadonlyArray<LeaseState>>> = {_literal(after)};\n"
        + groups
    )


def job_states() -> str:
    """Return the states of a job, and those of a job that is over."""
    return (
        _HEADER.format(source="fastgpu_jupyter/wire/job_states.py")
        + f"export const JOB_STATES = {_literal([state.value for state in JobState])} as const;\n\n"
        + "export type JobState = (typeof JOB_STATES)[number];\n\n"
        + "export const ENDED_JOBS: ReadonlySet<JobState> = /* @__PURE__ */ new Set<JobState>("
        + f"{_literal([state.value for state in JobState if state in ENDED])});\n"
    )


def messages() -> str:
    """Return the English sentences of all messages that leases, devices, the queue and the pool can have."""
    shown = {code: _escaped(MESSAGES[code]) for code in sorted(MESSAGES) if is_in_browser(code)}
    return (
        _HEADER.format(source="fastgpu_jupyter/messages")
        + "import type { MessageTemplate } from '../texts/message';\n\n"
        + f"export const MESSAGES = {_literal(shown)} satisfies Record<string, MessageTemplate>;\n\n"
        + "export type MessageCode = keyof typeof MESSAGES;\n"
    )


def _escaped(template: str | dict[str, str]) -> str | dict[str, str]:
    """Return a sentence, or its forms, as the translator of the page takes it."""
    if isinstance(template, str):
        return escaped(template)
    return {name: escaped(text) for name, text in template.items()}


def stated_version() -> str:
    """Return the version of the page and the number of the interface that it understands."""
    return (
        _HEADER.format(source="fastgpu_jupyter/wire/version.py")
        + f"/** The version of this page. */\nexport const VERSION = {_literal(version.OURS.version)};\n\n"
        + f"/** The interface that it understands; see `wire/version.py`. */\nexport const INTERFACE = {version.INTERFACE};\n\n"
        + f"/** The interface of a server from before versions were stated. */\nexport const UNSTATED = {version.UNSTATED};\n\n"
        + f"/** The header in which the server states both. */\nexport const HEADER = {_literal(version.HEADER)};\n"
    )


#: Each generated file with the function that returns its text; later ones read earlier ones.
FILES: dict[Path, Callable[[], str]] = {
    LABEXTENSION / "openapi.json": openapi,
    OUTPUT / "api.ts": types,
    OUTPUT / "schemas.ts": schemas,
    OUTPUT / "lifecycle.ts": lifecycle,
    OUTPUT / "jobstates.ts": job_states,
    OUTPUT / "messages.ts": messages,
    OUTPUT / "version.ts": stated_version,
    LABEXTENSION.parent / "fastgpu_jupyter/locale/zh_CN/LC_MESSAGES/fastgpu_jupyter.json": bundle,
}


def _referenced(components: dict[str, Any], name: str) -> Iterator[str]:
    """Yield ``name`` and the names of all schemas that it refers to."""
    found = {name}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        yield current
        text = json.dumps(components[current])
        targets = {part.split('"')[0] for part in text.split(_PREFIX)[1:]}
        waiting.extend(sorted(targets - found))
        found |= targets


def _reduce(schema: Any) -> Any:
    """Return ``schema`` with only the keywords that the browser implements."""
    if not isinstance(schema, dict):
        return schema
    reduced: dict[str, Any] = {}
    for key in _KEYWORDS:
        if key in schema and not _is_default(key, schema[key]):
            value = schema[key]
            reduced[key] = [_reduce(one) for one in value] if isinstance(value, list) else _reduce(value)
    if "$ref" in reduced:
        reduced["$ref"] = reduced["$ref"].removeprefix(_PREFIX)
    if "properties" in schema:
        reduced["properties"] = {name: _reduce(value) for name, value in schema["properties"].items()}
        optional = sorted(set(schema["properties"]) - set(schema.get("required", ())))
        if optional:
            reduced["optional"] = optional
    return reduced


def _is_default(key: str, value: Any) -> bool:
    """Return whether the browser has the same limit anyway: for integers those that are exact."""
    if key == "maxLength":
        return bool(value <= _TEXT_MAX)
    return value in (INTEGER_MAX, -INTEGER_MAX)


def _literal(value: Any, indent: str = "", width: int = 110) -> str:
    """Return ``value`` as a TypeScript literal in the style of the sources: on one line if it fits."""
    if isinstance(value, dict):
        parts = [
            f"{_key(name)}: {_literal(item, indent + '  ', width - len(name) - 4)}" for name, item in value.items()
        ]
        opening, closing, space = "{", "}", " "
    elif isinstance(value, list):
        parts = [_literal(item, indent + "  ", width) for item in value]
        opening, closing, space = "[", "]", ""
    elif isinstance(value, str):
        text = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        return f"'{text}'"
    else:
        return json.dumps(value)
    line = opening + space + ", ".join(parts) + space + closing
    if not parts or (len(indent) + len(line) <= width and "\n" not in line):
        return line if parts else opening + closing
    return f"{opening}\n{indent}  " + f",\n{indent}  ".join(parts) + f"\n{indent}{closing}"


def _key(name: str) -> str:
    return name if name.isidentifier() or name == "$ref" else f"'{name}'"


if __name__ == "__main__":
    OUTPUT.mkdir(exist_ok=True)
    for path, generate in FILES.items():
        path.write_text(generate())
