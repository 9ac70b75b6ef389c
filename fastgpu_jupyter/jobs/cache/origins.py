"""Where code comes from: the interpreter, an installed distribution, or the user's own files and notebooks.

What an interpreter or a distribution brings is identified by its version. Everything else is the user's and counts by
content, also where it was installed in an editable way.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

#: This package counts by its version, also in a checkout.
_OWN = __name__.partition(".")[0]
STANDARD, DISTRIBUTION, LOCAL = "standard", "distribution", "local"


def origin_of_module(name: str) -> str:
    """Return where the module of that name comes from; an unknown one is local."""
    top = name.partition(".")[0]
    if top == _OWN:
        return DISTRIBUTION
    if top == "__main__":
        return LOCAL
    if top.startswith("_cython_"):  # types that compiled extensions share, in a module without a file
        return STANDARD
    module = sys.modules.get(name) or sys.modules.get(top)
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        path = file_of(module) if module else None
        return STANDARD if path is None or origin_of_path(path) == STANDARD else LOCAL
    path = file_of(module) if module else None
    return origin_of_path(path) if path else LOCAL


def file_of(module: ModuleType) -> str | None:
    """Return the file or, for a namespace package, the first folder of a module; ``None`` for one without."""
    path = getattr(module, "__file__", None)
    if isinstance(path, str):
        return path
    folders = getattr(module, "__path__", None)
    return next((one for one in list(folders) if isinstance(one, str)), None) if folders is not None else None


@cache
def origin_of_path(path: str) -> str:
    """Return where a file of Python code comes from, by the folder that it is in."""
    if path.startswith("<frozen"):
        return STANDARD
    real = os.path.realpath(path)
    for kind, folders in ((DISTRIBUTION, _installed()), (STANDARD, _standard())):
        if any(real.startswith(folder) for folder in folders):
            return kind
    return DISTRIBUTION if f"{os.sep}{_OWN}{os.sep}" in real and real.startswith(_own_folder()) else LOCAL


def origin_of_function(function: FunctionType) -> str:
    """Return where the code of a function comes from. Code that a library makes of text is that library's."""
    path = function.__code__.co_filename
    if path.startswith("<") and not path.startswith("<ipython"):
        return origin_of_module(str(function.__globals__.get("__name__", "__main__")))
    return origin_of_path(path)


def found_by_name(module: str | None, qualname: str) -> Any:
    """Return what a loaded module has under a qualified name, or ``None``."""
    value: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        value = getattr(value, part, None)
        if value is None:
            return None
    return value


def _ending(paths: Any) -> tuple[str, ...]:
    """Return the real paths of folders with a separator at the end, so that they are prefixes of what is inside."""
    real = {os.path.join(os.path.realpath(path), "") for path in paths if path}  # noqa: PTH118 (a prefix)
    return tuple(sorted(real))


@cache
def _installed() -> tuple[str, ...]:
    named = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    own = [sysconfig.get_path(one) for one in ("purelib", "platlib")]
    return _ending([*named, *own, *site.getsitepackages(), site.getusersitepackages()])


@cache
def _standard() -> tuple[str, ...]:
    return _ending([*(sysconfig.get_path(one) for one in ("stdlib", "platstdlib")), os.path.dirname(os.__file__)])  # noqa: PTH120


@cache
def _own_folder() -> str:
    return _ending([os.path.join(os.path.dirname(__file__), "..", "..")])[0]  # noqa: PTH118, PTH120
