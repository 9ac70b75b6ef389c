"""Attributes of modules that code reads, and functions of installed libraries that the user's code has replaced.

A job imports libraries by itself, and so has none of these changes. A key has them all the same: a user who changed a
library expects another result, and must not be given one from before the change.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

from ..results.values import type_name
from .canonical import Form
from .origins import LOCAL, origin_of_function, origin_of_module

#: What of a library counts by content: plain values and code.
_BY_CONTENT = (
    type(None), bool, int, float, complex, str, bytes, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    type,
)  # fmt: skip


def follow(module: types.ModuleType, chain: tuple[str, ...]) -> tuple[str, Any]:
    """Return the first thing on a chain of attributes that is no module, with its full name; ``None`` without one."""
    value: Any = module
    name = module.__name__
    for attribute in chain:
        name = f"{name}.{attribute}"
        value = vars(value).get(attribute)  # one that is made on demand is made by the job, too
        if not isinstance(value, types.ModuleType):
            return name, value
    return name, None


def write_attribute(name: str, value: Any, form: Form) -> None:
    """Write an attribute of a module. Of a library only code and plain values count, as no job receives its objects."""
    if isinstance(value, _BY_CONTENT) or value is os.environ or origin_of_module(name) == LOCAL:
        form.value(value)
        return
    form.tag(type_name(value))
    # Which of the library's functions has this name is seen, also where it is a compiled object.
    form.items([str(getattr(value, one, "")) for one in ("__module__", "__name__") if callable(value)])


def replaced_functions(tops: Collection[str]) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield each function of the user's that is in a loaded module or class of these libraries, by its place."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in tops and isinstance(module, types.ModuleType):
            for place, function in _functions(name, module):
                if origin_of_function(function) == LOCAL:
                    yield place, function


def _functions(name: str, module: types.ModuleType) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield the functions in a module, and those in the classes that it defines."""
    for attribute, value in list(vars(module).items()):
        if type(value) is types.FunctionType:
            yield f"{name}.{attribute}", value
        elif isinstance(value, type) and value.__module__ == name:
            for method, function in list(vars(value).items()):
                if type(function) is types.FunctionType:
                    yield f"{name}.{attribute}.{method}", function
