"""Make sentences of messages, by the templates of a catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple, TypedDict, Union, overload

from ..errors import FastGPUError, Message, Param, ReceivedMessage
from ..text import printable
from ..units import format_amount, format_duration, format_memory
from . import en
from .language import ENGLISH, current


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
def catalogue(language: str = ENGLISH) -> Catalogue:
    """Return the catalogue of a language. One that is not English may lack codes, and has no plural forms."""
    messages: Mapping[str, Any] = en.MESSAGES
    if language != ENGLISH:
        try:
            messages = import_module(f"{__package__}.{language}").MESSAGES
        except ImportError:  # the package was removed under this process
            return {}
    return {code: Plural(**entry) if isinstance(entry, dict) else entry for code, entry in messages.items()}


def render(message: Message, language: str | None = None) -> str:
    """Return the sentence of a message in ``language``, by default that of this process.

    What the catalogue of the language lacks is English: as another process said it, or by the English catalogue. A
    code without any sentence is returned with its parameters.
    """
    language = language or current()
    received = message.text if isinstance(message, ReceivedMessage) else ""
    template = None if received and language == ENGLISH else catalogue(language).get(message.code)
    if template is None and received:
        return _inserted(received)
    template = template or catalogue().get(message.code)
    if template is None:
        return printable(str(message))  # of a newer version
    if isinstance(template, Plural):
        template = template.one if message.params[template.plural] == 1 else template.other
    text = template.format(**{name: _format(name, value, language) for name, value in message.params.items()})
    return _FULL_WIDTH.sub("", " ".join(text.split()))  # an empty parameter leaves no gap


def say(code: str, /, **params: Param) -> str:
    """Return the sentence of a code in the language of this process; ``code`` is a literal, as for ``Message.of``."""
    return render(Message(code, params))


def word(subject: str, value: str) -> str:
    """Return the word for a value of an enumeration, such as a state; the value where a newer process has one more."""
    code = f"{subject}.{value}"
    return render(Message(code)) if code in catalogue() else value


#: A blank after a full-width stop, where a sentence follows another that was made separately.
_FULL_WIDTH = re.compile("(?<=[。！？；：，、]) ")


def joined(texts: Iterable[str | None]) -> str:
    """Return sentences one after the other, without those that are empty."""
    return _FULL_WIDTH.sub("", " ".join(filter(None, texts)))


def sentence_of(view: Mapping[str, Any] | None) -> str | None:
    """Return the sentence of a message on the wire, ``None`` without one."""
    return None if view is None else render(ReceivedMessage.from_view(view))


def sentences_of(views: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the sentences of messages on the wire one after the other, ``None`` without any."""
    return joined(map(sentence_of, views)) or None


def text_of(error: FastGPUError, language: str | None = None) -> str:
    """Return what an error tells its reader: the sentence of its message, or its text."""
    return render(error.message, language)


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
    if not message.params and type(message) is Message:
        return {"code": message.code, "params": {}, "text": _english(message.code)}
    return {"code": message.code, "params": _plain_params(message), "text": render(message, ENGLISH)}


@lru_cache(maxsize=1024)
def _english(code: str) -> str:
    """Return the English sentence of a message without parameters, which views of leases have again and again."""
    return render(Message(code), ENGLISH)


def _format(name: str, value: Param, language: str) -> str:
    if isinstance(value, Message):
        return render(value, language)
    if isinstance(value, tuple | list):
        return _enumerate(value, language)
    if isinstance(value, str):
        # The state of a lease is a word of the sentence.
        named = catalogue(language).get(f"state.{value}") if name == "state" else None
        return named if isinstance(named, str) else _inserted(value)
    formatter = _FORMATTERS.get(name.rpartition("_")[2])
    return str(value) if formatter is None else formatter(value)


def _inserted(text: str) -> str:
    """Return a text from outside on one line and printable, so that it cannot pass for a part of the sentence."""
    return printable(" ".join(text.split()))


def _enumerate(values: Sequence[str | Message], language: str) -> str:
    *first, last = [render(one, language) if isinstance(one, Message) else _inserted(one) for one in values] or [""]
    separator, pair = _LISTS[language]
    return pair.format(separator.join(first), last) if first else last


#: Language -> what separates the parts of a list, and how the last one is added.
_LISTS: Mapping[str, tuple[str, str]] = {ENGLISH: (", ", "{} and {}"), "zh_CN": ("、", "{} 和 {}")}


def _format_milli(milli: int) -> str:
    return f"{milli / 1000:g}"


_FORMATTERS: Mapping[str, Callable[[int], str]] = {
    "bytes": format_memory,
    "ms": format_duration,
    "milli": _format_milli,
    "micro": format_amount,
}
