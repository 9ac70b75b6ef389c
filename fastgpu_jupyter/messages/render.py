"""Make sentences of messages, by the templates of a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypedDict, Union, overload

from ..errors import FastGPUError, Message, Param
from ..text import printable
from ..units import format_amount, format_duration, format_memory
from . import en


class Plural(NamedTuple):
    """Templates by the plural category of a parameter; English has ``one`` and ``other``."""

    plural: str
    one: str
    other: str


Template = Union[str, Plural]  # noqa: UP007
Catalogue = Mapping[str, Template]


class RenderedMessage(TypedDict):
    """A message on the wire; ``text`` is the English sentence, for readers without a catalogue."""

    code: str
    params: dict[str, Any]
    text: str


@cache
def catalogue() -> Catalogue:
    """Return the English catalogue."""
    return {code: Plural(**entry) if isinstance(entry, dict) else entry for code, entry in en.MESSAGES.items()}


def render(message: Message) -> str:
    """Return the sentence of a message. A code that the catalogue does not have is returned with its parameters."""
    template = catalogue().get(message.code)
    if template is None:
        return printable(str(message))  # of a newer version
    if isinstance(template, Plural):
        template = template.one if message.params[template.plural] == 1 else template.other
    text = template.format(**{name: _format(name, value) for name, value in message.params.items()})
    return " ".join(text.split())  # an empty parameter leaves no gap


def text_of(error: FastGPUError) -> str:
    """Return what an error tells its reader: the sentence of its message, or its text."""
    return render(error.message)


@overload
def view_of(message: Message) -> RenderedMessage: ...
@overload
def view_of(message: Message | None) -> RenderedMessage | None: ...
def view_of(message: Message | None) -> RenderedMessage | None:
    """Return a message as it is on the wire; ``None`` stays ``None``."""
    return None if message is None else _view(message)


def _plain_params(message: Message) -> dict[str, Any]:
    def plain(value: Param) -> Any:
        if isinstance(value, Message):
            return _view(value)
        if isinstance(value, tuple | list):
            return [_view(one) if isinstance(one, Message) else one for one in value]
        return value

    return {name: plain(value) for name, value in message.params.items()}


def _view(message: Message) -> RenderedMessage:
    return {"code": message.code, "params": _plain_params(message), "text": render(message)}


def _format(name: str, value: Param) -> str:
    if isinstance(value, Message):
        return render(value)
    if isinstance(value, tuple | list):
        return _enumerate(value)
    if isinstance(value, str):
        return _inserted(value)
    formatter = _FORMATTERS.get(name.rpartition("_")[2])
    return str(value) if formatter is None else formatter(value)


def _inserted(text: str) -> str:
    """Return a text from outside on one line and printable, so that it cannot pass for a part of the sentence."""
    return printable(" ".join(text.split()))


def _enumerate(values: Sequence[str | Message]) -> str:
    *first, last = [render(one) if isinstance(one, Message) else _inserted(one) for one in values] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _format_milli(milli: int) -> str:
    return f"{milli / 1000:g}"


_FORMATTERS: Mapping[str, Callable[[int], str]] = {
    "bytes": format_memory,
    "ms": format_duration,
    "milli": _format_milli,
    "micro": format_amount,
}
