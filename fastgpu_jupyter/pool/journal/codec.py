"""Encodes the records of the journal as bytes, and decodes them.

A record is a JSON object ``{"ms", "wall_ms", "events": [{"type": NAME, ...fields}]}``. Names and fields are those of
:mod:`fastgpu_jupyter.core.model.events`. They stay valid for ever, so a rename there needs a migration here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, get_args

import msgspec

from ...core.model.entities import Instant, State
from ...core.model.events import Event
from ...errors import StoreFault

_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Event)}


class Record(NamedTuple):
    """The events of one command, and the time of the decision."""

    at: Instant
    events: list[Event]


def encode(at: Instant, events: Iterable[Event]) -> bytes:
    """Return the bytes of a record, which are stored and sealed."""
    tagged = [{"type": type(event).__name__, **msgspec.to_builtins(event)} for event in events]
    return msgspec.json.encode({"ms": at.ms, "wall_ms": at.wall_ms, "events": tagged})


def decode(payload: bytes) -> Record:
    """Return the record that :func:`encode` was given. Raises :class:`StoreFault` if ``payload`` is not a record."""
    try:
        raw = msgspec.json.decode(payload)
        events = [msgspec.convert(fields, _TYPES[fields.pop("type")]) for fields in raw["events"]]
        return Record(Instant(raw["ms"], raw["wall_ms"]), events)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise StoreFault(f"{error!r}.") from error


class _Snapshot(msgspec.Struct):
    shape: str
    state: State


@cache
def _shape() -> str:
    """Return a digest of the fields of a state: fields that another version did not have must not be read as empty."""
    return hashlib.sha256(msgspec.json.encode(msgspec.json.schema(State), order="sorted")).hexdigest()[:16]


def encode_state(state: State) -> bytes:
    """Return the bytes of the whole state, for a snapshot."""
    return msgspec.json.encode(_Snapshot(_shape(), state))


def decode_state(payload: bytes) -> State | None:
    """Return the state of a snapshot, or ``None`` if its fields are others and the records must be replayed."""
    try:
        snapshot = msgspec.json.decode(payload, type=_Snapshot)
    except msgspec.MsgspecError:
        return None
    return snapshot.state if snapshot.shape == _shape() else None
