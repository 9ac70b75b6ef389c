"""The help of the commands, in the language of this process.

The English texts are where traitlets has them: descriptions, options and settings of application classes. Their
translations are in ``zh_CN_help`` by the English text, as those of the front end are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from inspect import cleandoc
from typing import Any

from jupyter_core.application import JupyterApp
from traitlets.config import Application, Configurable

from ..text import display_width, wrapped
from .language import ENGLISH, current
from .render import say

COLUMNS = 80
INDENT = "    "
DEFAULT_CHARS_MAX = 64


class CommandApp(JupyterApp):
    """An application whose help is in the language of this process."""

    def print_help(self, classes: bool = False) -> None:
        """Print the help, and with ``classes`` all settings."""
        sys.stdout.write("\n".join(help_lines(self, settings=classes)) + "\n")


def help_lines(app: Application, *, settings: bool) -> Iterator[str]:
    """Yield the lines of an application's help."""
    yield from wrapped(translated(str(app.description)), COLUMNS)
    if app.subcommands:
        yield from _head(say("help.subcommands"))
        yield from wrapped(say("help.of_subcommand", command=app.name.replace("-", " ")), COLUMNS)
        for name, (_, text) in app.subcommands.items():
            yield from ("", name, *_indented(translated(text)))
    yield from _head(say("help.options"))
    for names, (values, text) in app.flags.items():
        given = " ".join(f"--{cls}.{name}={value}" for cls, traits in values.items() for name, value in traits.items())
        yield from _option(_option_names(names), translated(text), [say("help.equivalent", option=given)])
    for names, target in app.aliases.items():
        yield from _alias(app, names, target)
    if settings:
        yield from _head(say("help.class_options"))
        yield from wrapped(say("help.in_files"), COLUMNS)
        for cls in filter(_is_own, _configurables(app)):
            for name, trait in sorted(cls.class_own_traits(config=True).items()):
                yield from _option(f"--{cls.__name__}.{name}={_kind(trait)}", translated(trait.help), _facts(trait))
    if app.examples:
        yield from _head(say("help.examples"))
        yield from (INDENT + line for line in translated(cleandoc(str(app.examples))).splitlines())
    if not settings:
        yield from ("", say("help.all"))


def translated(text: str) -> str:
    """Return a text of an application class in the language of this process; as it is where that has none."""
    return _translations(current()).get(" ".join(text.split()), text)


@cache
def _translations(language: str) -> Mapping[str, str]:
    if language == ENGLISH:
        return {}
    found: Mapping[str, str] = import_module(f"{__package__}.{language}_help").TEXTS
    return found


def _alias(app: Application, names: Any, target: Any) -> Iterator[str]:
    path, text = target if isinstance(target, tuple) else (target, None)
    class_name, name = path.split(".")
    cls = next(cls for cls in _configurables(app) if cls.__name__ == class_name)
    trait = cls.class_traits(config=True)[name]
    facts = [*_facts(trait), say("help.equivalent", option=f"--{path}={_kind(trait)}")]
    yield from _option(f"{_option_names(names)}={_kind(trait)}", translated(text or trait.help), facts)


def _option(head: str, text: str, facts: Iterable[str]) -> Iterator[str]:
    yield from ("", head, *_indented(text), *(INDENT + fact for fact in facts))


def _option_names(names: str | tuple[str, ...]) -> str:
    listed = sorted([names] if isinstance(names, str) else names, key=len)
    return ", ".join(f"-{name}" if len(name) == 1 else f"--{name}" for name in listed)


def _kind(trait: Any) -> str:
    return f"<{type(trait).__name__}>"


def _facts(trait: Any) -> Iterator[str]:
    if "Enum" in type(trait).__name__:
        yield say("help.choices", choices=", ".join(map(str, trait.values)))
    default = trait.default_value_repr()
    if default and default != "traitlets.Undefined":
        yield say("help.default", value=default[:DEFAULT_CHARS_MAX])


def _configurables(app: Application) -> list[type[Configurable]]:
    """Return the classes that can be configured, each after those that it inherits from."""
    found = (one for cls in app.classes for one in reversed(cls.mro()) if issubclass(one, Configurable))
    return list(dict.fromkeys(found))


def _is_own(cls: type[Configurable]) -> bool:
    """Return whether a class is of this package; the settings of libraries are in their own documentation."""
    return cls.__module__.partition(".")[0] == __package__.partition(".")[0]


def _head(title: str) -> tuple[str, ...]:
    return "", title, "-" * display_width(title)


def _indented(text: str) -> list[str]:
    return [INDENT + line for line in wrapped(text, COLUMNS - len(INDENT))]
