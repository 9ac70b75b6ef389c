"""The structures of ``state.h`` as ctypes classes, read from its text: C and Python cannot disagree about them."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

_TYPES: dict[str, Any] = {"uint32_t": ctypes.c_uint32, "uint64_t": ctypes.c_uint64, "char": ctypes.c_char}
_STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^    (?:struct )?(\w+) (\w+)(?:\[(\w+)\])?;$", re.MULTILINE)
_NUMBER = re.compile(r"^#define (\w+) (\w+)$", re.MULTILINE)

_text = (Path(__file__).parent / "state.h").read_text()

#: The ``#define``s by name.
NUMBERS = {name: int(value, 0) for name, value in _NUMBER.findall(_text)}


def _structures() -> dict[str, Any]:
    known = dict(_TYPES)
    for name, body in _STRUCT.findall(_text):
        fields = []
        for kind, field, dimension in _FIELD.findall(body):
            length = int(dimension) if dimension.isdigit() else NUMBERS.get(dimension, 0)
            fields.append((field, known[kind] * length if dimension else known[kind]))
        assert len(fields) == body.count(";"), f"struct {name} has a field that cannot be read"
        known[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return known


#: The structures by name, as ``struct NAME`` in the header.
STRUCTURES = _structures()
