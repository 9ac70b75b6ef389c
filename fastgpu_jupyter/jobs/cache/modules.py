"""Imported modules: the source of the user's own, with what these import, and names of installed ones."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from .canonical import Form
from .distributions import has_distribution
from .limits import MODULES_MAX, Budget, too_many, unreadable
from .origins import LOCAL, STANDARD, file_of, origin_of_module, origin_of_path
from .reach import ImportedName, imports_of_tree
from .source import write_tree


class ModuleSource(NamedTuple):
    """A module of the user's: the digest of its source, and its file."""

    name: str
    digest: str
    path: str


class _SourceContent(NamedTuple):
    digest: str
    imports: tuple[ImportedName, ...]


class ImportWalk:
    """Follows imports, without importing anything. ``search`` replaces ``sys.path`` for a program of its own."""

    def __init__(self, search: Sequence[str] | None = None) -> None:
        self._search = search
        self.local: dict[str, ModuleSource] = {}
        #: Top-level modules of installed distributions.
        self.installed: set[str] = set()
        self._seen: set[str] = set()

    def add(self, name: str) -> None:
        """Add a module, the packages that it is in, and all that these import."""
        pending = [name]
        while pending:
            name = pending.pop()
            pending.extend(one for one in self._imports_of(name) if one not in self._seen)

    def add_imports(self, imports: Iterable[ImportedName], package: str | None) -> None:
        """Add what import statements in a module of ``package`` name."""
        for name in absolute_names(imports, package):
            self.add(name)

    def _imports_of(self, name: str) -> Iterator[str]:
        """Yield the names that the import of a module leads to, and take the module down."""
        if name in self._seen or not name:
            return
        self._seen.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            yield parent
        top = name.partition(".")[0]
        if self._search is None and origin_of_module(top) == STANDARD:
            return
        path, is_package = self._find(name)
        if path is None:
            return
        origin = origin_of_path(path)
        if origin == STANDARD:
            return
        if origin != LOCAL and (self._search is not None or has_distribution(top) or origin_of_module(top) != origin):
            self.installed.add(top)
            return
        if not Path(path).is_file():  # a namespace package has no code
            return
        if len(self.local) >= MODULES_MAX:
            raise too_many(MODULES_MAX).within(name)
        status = os.stat(path)  # noqa: PTH116
        try:
            content = _read(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise unreadable(error.strerror or str(error)).within(path) from None
        self.local[name] = ModuleSource(name, content.digest, path)
        yield from absolute_names(content.imports, name if is_package else parent)

    def _find(self, name: str) -> tuple[str | None, bool]:
        """Return the file of a module and whether it is a package; no file for one that cannot be found."""
        module = sys.modules.get(name) if self._search is None else None
        if module is not None:
            return file_of(module), hasattr(module, "__path__")
        spec = self._spec(name)
        if spec is None:
            return None, False
        folders = spec.submodule_search_locations
        path = spec.origin if spec.has_location else next(iter(folders or ()), None)
        return path, folders is not None

    def _spec(self, name: str) -> ModuleSpec | None:
        """Return where a module would be found. ``importlib.util.find_spec`` would import the packages around it."""
        spec: ModuleSpec | None = None
        path: Sequence[str] | None = self._search
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            full = ".".join(parts[:count])
            finders = [PathFinder] if self._search is not None else sys.meta_path
            spec = None
            for finder in finders:
                find = getattr(finder, "find_spec", None)
                try:
                    spec = find(full, path) if find else None
                except Exception:  # noqa: BLE001 (a finder of any library)
                    spec = None
                if spec is not None:
                    break
            if spec is None or (count < len(parts) and spec.submodule_search_locations is None):
                return None
            path = list(spec.submodule_search_locations or ())
        return spec


def absolute_names(imports: Iterable[ImportedName], package: str | None) -> Iterator[str]:
    """Yield the modules that import statements may load: what is taken from a package can be a module of it."""
    for level, module, names in imports:
        try:
            base = importlib.util.resolve_name("." * level + module, package) if level else module
        except ImportError:
            continue
        if base:
            yield base
        yield from (f"{base}.{name}" for name in names if base and name != "*")


@lru_cache(1024)
def _read(path: str, _changed_ns: int, _size: int) -> _SourceContent:
    """Return the digest of a module's source without comments and formatting, and its imports."""
    raw = Path(path).read_bytes()
    form = Form(path, _NoReferences(), Budget(), {}, [])
    try:
        tree = ast.parse(importlib.util.decode_source(raw))
    except (SyntaxError, ValueError, UnicodeDecodeError):  # it is compiled, or for another interpreter
        form.data(raw)
        return _SourceContent(form.hexdigest(), ())
    write_tree(tree, form)
    return _SourceContent(form.hexdigest(), tuple(imports_of_tree(tree)))


class _NoReferences:
    """The form of a syntax tree refers to nothing."""

    def _refuse(self, *_: object) -> None:
        raise AssertionError("a constant of a syntax tree is no code")

    refer_to_function = refer_to_class = refer_to_module = refer_to_environment = _refuse
