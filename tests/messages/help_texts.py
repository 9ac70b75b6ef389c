"""The English texts of the help of ``jupyter fastgpu``: those of its application classes and of their settings."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

from traitlets.config import Application, Configurable
from traitlets.utils.importstring import import_item

from fastgpu_jupyter.cli import FastGPUApp


def commands(app: type[Application] = FastGPUApp) -> Iterator[type[Application]]:
    """Yield the class of every command, those of subcommands included."""
    yield app
    for target, _ in _table(app, "subcommands").values():
        yield from commands(import_item(target) if isinstance(target, str) else target)


def texts() -> dict[str, str]:
    """Return every text that a help shows, in one line, with the class that has it."""
    found = ((text, app.__name__) for app in commands() for text in _texts_of(app))
    return {" ".join(cleandoc(text).split()): name for text, name in found if text}


def _texts_of(app: type[Application]) -> Iterator[str]:
    for name in ("description", "examples"):
        value = getattr(app, name)
        yield value if isinstance(value, str) else ""
    yield from (text for _, text in _table(app, "subcommands").values())
    yield from (text for _, text in _table(app, "flags").values())
    yield from (target[1] for target in _table(app, "aliases").values() if isinstance(target, tuple))
    named = {target for target in _table(app, "aliases").values() if isinstance(target, str)}
    classes: Any = _table(app, "classes") or []
    for cls in (app, *classes):
        for one in cls.mro():
            if issubclass(one, Configurable):
                for name, trait in one.class_own_traits(config=True).items():
                    if one.__module__.startswith("fastgpu_jupyter") or f"{one.__name__}.{name}" in named:
                        yield trait.help


def _table(app: type[Application], name: str) -> Any:
    """Return a table of an application class; a class that does not define it has the trait in its place."""
    value = getattr(app, name)
    return value if isinstance(value, dict | list) else value.default() or {}
