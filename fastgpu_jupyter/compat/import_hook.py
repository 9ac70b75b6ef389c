"""A hook of the import system that calls functions before and after given modules are imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any


class ImportHook(importlib.abc.MetaPathFinder):
    """Calls ``importing`` before and ``imported`` after each module of ``names`` is executed, with its name."""

    def __init__(
        self, names: Collection[str], imported: Callable[[str], None], importing: Callable[[str], None] = lambda _: None
    ) -> None:
        self._names = names
        self._imported = imported
        self._importing = importing

    def install(self) -> None:
        """Put the hook in front of the other finders."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Take the hook away, if it is installed."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec that the other finders return, with a loader that calls the functions."""
        if fullname not in self._names:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _NotifyingLoader(spec.loader, self._imported, self._importing)
        return spec


class _NotifyingLoader(importlib.abc.Loader):
    """A loader that calls ``importing`` before and ``imported`` after ``loader`` executes a module."""

    def __init__(self, loader: Any, imported: Callable[[str], None], importing: Callable[[str], None]) -> None:
        self._loader = loader
        self._imported = imported
        self._importing = importing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Return what the wrapped loader creates."""
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with the wrapped loader, between the two functions."""
        # The module must look as if the wrapped loader had been there alone.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._importing(module.__name__)
        self._loader.exec_module(module)
        self._imported(module.__name__)
