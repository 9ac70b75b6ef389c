"""The format of the journal as data: its tables, and the fields of each event with their types.

``format-N.json`` beside this module describes format N. Every later version must read what was written in it, so a
difference is allowed only where that stays so: a new event, or a new field with a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.pool.journal.database import APPLICATION_ID, FORMAT, SCHEMA

FOLDER = Path(__file__).parent


def path_of(number: int = FORMAT) -> Path:
    """Return the file that describes a format."""
    return FOLDER / f"format-{number}.json"


def describe() -> dict[str, Any]:
    """Return the format of this version."""
    events = get_args(Event)
    _, definitions = msgspec.json.schema_components(events, ref_template="{name}")
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\) STRICT", " ".join(SCHEMA.split()))
    return {
        "format": FORMAT,
        "application_id": APPLICATION_ID,
        "tables": {name: columns.strip() for name, columns in sorted(tables)},
        "events": sorted(event.__name__ for event in events),
        "types": {name: _without_texts(one) for name, one in sorted(definitions.items())},
    }


def _without_texts(schema: Any) -> Any:
    """Return a JSON schema without its descriptions, which may change."""
    if isinstance(schema, dict):
        return {name: _without_texts(value) for name, value in schema.items() if name not in ("title", "description")}
    return [_without_texts(one) for one in schema] if isinstance(schema, list) else schema


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield what of a journal in the format ``old`` a version with the format ``new`` cannot read."""
    for name in ("format", "application_id", "tables"):
        if old[name] != new[name]:
            yield f"{name}: {old[name]!r} is now {new[name]!r}"
    yield from (f"the event {name} is unknown" for name in old["events"] if name not in new["events"])
    for name, schema in old["types"].items():
        there = new["types"].get(name)
        if there is None:
            yield f"{name} is unknown"
            continue
        if "enum" in schema:
            yield from (f"{name}.{one} is unknown" for one in schema["enum"] if one not in there.get("enum", ()))
            continue
        fields, now = schema.get("properties", {}), there.get("properties", {})
        yield from (
            f"{name}.{field} is now {now.get(field)}" for field in fields if _differs(fields[field], now, field)
        )
        added = set(there.get("required", ())) - set(schema.get("required", ()))
        yield from (f"{name}.{field} is required" for field in sorted(added))


def _differs(field: dict[str, Any], now: dict[str, Any], name: str) -> bool:
    """Return whether a value of ``field`` may not be read as what the field is now; another default may be."""
    if name not in now:
        return True
    old, new = ({key: value for key, value in one.items() if key != "default"} for one in (field, now[name]))
    if old == new:
        return False
    alternatives = old.get("anyOf", [old])
    return any(one not in new.get("anyOf", [new]) for one in alternatives)
