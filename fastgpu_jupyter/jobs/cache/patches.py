"""Attributes of modules that code reads, and functions of installed libraries that the user's code has replaced.

A job imports libraries by itself, and so has none of these changes. A key has them all the same: a user who changed a
library expects another result, and must not be given one from before the change.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
import warnings
from collections.abc import Collection, Iterator, Mapping
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
        value = _attribute(value, attribute)
        if not isinstance(value, types.ModuleType):
            return name, value
    return name, None


def _attribute(module: types.ModuleType, name: str) -> Any:
    """Return an attribute. One that is imported on demand is imported: a key must not depend on whether it was."""
    found = vars(module).get(name)
    if found is not None or not hasattr(module, "__getattr__"):
        return found
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        return getattr(module, name)
    return None


def write_attribute(name: str, value: Any, form: Form) -> None:
    """Write an attribute of a module. Of a library only code and plain values count, as no job receives its objects."""
    owner = getattr(value, "__self__", None)
    # ``random.random`` is a method of a generator, whose state changes with each call.
    is_state = owner is not None and not isinstance(owner, (type, types.ModuleType))
    if origin_of_module(name) == LOCAL or value is os.environ or (isinstance(value, _BY_CONTENT) and not is_state):
        form.value(value)
        return
    form.tag(type_name(value))
    # Which of the library's functions has this name is seen, also where it is a compiled object.
    form.items([str(getattr(value, one, "")) for one in ("__module__", "__name__") if callable(value)])


def replaced_functions(tops: Collection[str]) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield each function of the user's that is in a loaded module or class of these libraries, by its place."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in tops and isinstance(module, types.ModuleType):
            values = list(vars(module).values())
            classes = [one for one in values if isinstance(one, type) and one.__module__ == name]
            for place, owner in ((name, module), *((f"{name}.{one.__name__}", one) for one in classes)):
                for attribute, function in _local_functions(vars(owner)):
                    yield f"{place}.{attribute}", function


def _local_functions(namespace: Mapping[str, Any]) -> list[tuple[str, types.FunctionType]]:
    """Return the functions of the user's in a module or a class. Each key looks at thousands, so this is short."""
    return [
        (name, value)
        for name, value in list(namespace.items())
        if type(value) is types.FunctionType and value.__code__.co_filename not in _OF_LIBRARIES and _is_local(value)
    ]


def _is_local(function: types.FunctionType) -> bool:
    if origin_of_function(function) == LOCAL:
        return True
    path = function.__code__.co_filename
    if not path.startswith("<"):
        _OF_LIBRARIES.add(path)
    return False


#: Files of installed code that were met; a file does not become the user's.
_OF_LIBRARIES: set[str] = set()
