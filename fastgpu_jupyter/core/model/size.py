"""The one text form in which people ask for a GPU, everywhere: in JupyterLab, ``%fastgpu request``, configuration, CLI.

    full  half  quarter  eighth      a device, or a part of one by memory
    24GiB                            that much memory of any device
    a100                             a whole device of that model
    a100:1/2   a100:24GiB            a part of one
    h100|a100                        any of several models
    2xh100                           two whole devices of one host and model, both or none
    any>=40GiB                       a whole device with at least that much memory
    1g.10gb   h100:2g.20gb           a partition of a device that MIG divides, by the name that the driver has for it

Models are matched by their leading words, without regard to case: ``a100`` is every A100, ``a100-80gb`` those of 80 GB.
An error names the character at which the text stops making sense.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from ...errors import InvalidRequest, Message
from ...units import exact_memory, parse_memory

#: Named parts of a device, by memory.
PROFILES = {"full": (1, 1), "half": (1, 2), "quarter": (1, 4), "eighth": (1, 8)}
_NAMES = {part: name for name, part in PROFILES.items()}
ANY = "any"
TEXT_MAX = 200
DEVICES_MAX = 64
MODELS_MAX = 16
PARTS_MAX = 64
#: Smallest explicit amount of memory: below it not even the context of a program fits.
MEMORY_BYTES_MIN = 2**20

#: How many sizes users can choose from at most.
OPTIONS_MAX = 16


class SizeUnit(StrEnum):
    """What sizes are counted in."""

    SHARE = "share"  #: parts of a device, and numbers of devices
    MEMORY = "memory"  #: amounts of memory


class SizeEffect(StrEnum):
    """What choosing a size does."""

    NOW = "now"  #: it is granted at once
    AFTER_PARKING = "after_parking"  #: idle leases are parked for it, and then it is granted
    NEEDS_RESTART = "needs_restart"  #: only another kernel process can have it
    QUEUED = "queued"  #: it waits
    UNAVAILABLE = "unavailable"  #: it is refused


_COUNT = re.compile(r"([0-9]{1,4})\s*x\s*(?=[A-Za-z])")
_MODEL = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]*")
_PARTITION = re.compile(r"[0-9]{1,2}g\.[0-9]{1,4}gb(?:[+-][a-z]{1,8}(?:\.[a-z]{1,8})?)?", re.IGNORECASE)
_FRACTION = re.compile(r"([0-9]{1,3})\s*/\s*([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of which devices: several whole ones, one whole one, or a part of one."""

    devices: int = 1  #: more than one only where they are whole
    models: tuple[str, ...] = ()  #: any of these, lower case; empty: whatever there is
    part: tuple[int, int] | None = None  #: numerator and denominator of a device's memory
    memory_bytes: int | None = None  #: a part as an amount
    device_memory_min: int = 0  #: only devices that have at least this much in all
    partition: str | None = None  #: a part as one of the device's own profiles, by its name in lower case
    _hash: int = field(init=False, repr=False, compare=False)  #: the queue looks sizes up all the time

    def __post_init__(self) -> None:
        values = (self.devices, self.models, self.part, self.memory_bytes, self.device_memory_min, self.partition)
        object.__setattr__(self, "_hash", hash(values))

    def __hash__(self) -> int:
        return self._hash

    @property
    def whole(self) -> bool:
        """Whether it is whole devices."""
        return self.part is None and self.memory_bytes is None and self.partition is None

    def matches(self, model: str, memory_bytes: int) -> bool:
        """Whether a device of that model and memory is of the kind that is asked for."""
        return memory_bytes >= self.device_memory_min and (not self.models or _is_one_of(self.models, model))

    def memory_on(self, device_memory_bytes: int) -> int:
        """Bytes that it takes of each device with that much memory."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        numerator, denominator = self.part or (1, 1)
        return device_memory_bytes * numerator // denominator

    def __str__(self) -> str:
        """The shortest text that is read as this size."""
        if self.models:
            kind = "|".join(self.models)
        else:
            kind = f"{ANY}>={exact_memory(self.device_memory_min)}" if self.device_memory_min else ANY
        if self.memory_bytes is not None:
            return f"{kind}:{exact_memory(self.memory_bytes)}" if kind != ANY else exact_memory(self.memory_bytes)
        if self.partition is not None:
            return f"{kind}:{self.partition}" if kind != ANY else self.partition
        part = self.part or (1, 1)
        if kind == ANY and self.devices == 1:
            return _NAMES.get(part) or f"{ANY}:{part[0]}/{part[1]}"
        kind = f"{self.devices}x{kind}" if self.devices > 1 else kind
        return kind if self.whole else f"{kind}:{part[0]}/{part[1]}"


def parse_size(text: str) -> Size:
    """The size that ``text`` asks for. Raises :class:`InvalidRequest` that points at the character."""
    if len(text) > TEXT_MAX:
        raise InvalidRequest(Message.of("size.too_long", characters_max=TEXT_MAX, characters=len(text)))
    return _Reader(text).size()


class _Reader:
    """Reads a text from left to right and knows where it is when something is wrong."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def size(self) -> Size:
        name = self._text.strip().lower()
        if name in PROFILES:
            return Size(part=None if name == "full" else PROFILES[name])
        self._blanks()
        if _PARTITION.fullmatch(name):
            return Size(partition=name)
        if self._text[self._at : self._at + 1].isdigit() and not _COUNT.match(self._text, self._at):
            return Size(memory_bytes=self._memory(Message.of("size.expected_memory", example="24GiB")))
        devices = self._count()
        models, least = self._models()
        if devices > 1 and self._text[self._at : self._at + 1] == ":":
            raise self._wrong(Message.of("size.expected_no_part"))
        part, memory_bytes, partition = self._part()
        self._blanks()
        if self._at < len(self._text):
            raise self._wrong(Message.of("size.end"))
        return Size(devices, models, part, memory_bytes, least, partition)

    def _count(self) -> int:
        match = _COUNT.match(self._text, self._at)
        if not match:
            return 1
        count = int(match[1])
        if not 1 <= count <= DEVICES_MAX:
            raise self._wrong(Message.of("size.expected_count", devices_max=DEVICES_MAX))
        self._at = match.end()
        return count

    def _models(self) -> tuple[tuple[str, ...], int]:
        models: list[str] = []
        least = 0
        while True:
            self._blanks()
            match = _MODEL.match(self._text, self._at)
            if not match:
                raise self._wrong(Message.of("size.expected_model"))
            if match[0].strip().lower() != ANY:
                models.append(match[0].strip().lower())
            if len(models) > MODELS_MAX:
                raise self._wrong(Message.of("size.expected_fewer_models", models_max=MODELS_MAX))
            self._at = match.end()
            if self._text[self._at : self._at + 2] == ">=":
                self._at += 2
                least = self._memory(Message.of("size.expected_memory", example="40GiB"))
            if self._text[self._at : self._at + 1] != "|":
                return tuple(models), least
            self._at += 1

    def _part(self) -> tuple[tuple[int, int] | None, int | None, str | None]:
        if self._text[self._at : self._at + 1] != ":":
            return None, None, None
        self._at += 1
        self._blanks()
        named = _PARTITION.match(self._text, self._at)
        if named:
            self._at = named.end()
            return None, None, named[0].lower()
        match = _FRACTION.match(self._text, self._at)
        if not match:
            return None, self._memory(Message.of("size.expected_part")), None
        numerator, denominator = int(match[1]), int(match[2])
        if not 1 <= numerator <= denominator <= PARTS_MAX:
            raise self._wrong(Message.of("size.expected_fraction", parts_max=PARTS_MAX))
        self._at = match.end()
        return (None if numerator == denominator else (numerator, denominator)), None, None

    def _memory(self, expected: Message) -> int:
        end = next((i for i in range(self._at, len(self._text)) if self._text[i] in ":|"), len(self._text))
        try:
            memory_bytes = parse_memory(self._text[self._at : end])
        except InvalidRequest as error:
            raise self._wrong(expected) from error
        if memory_bytes < MEMORY_BYTES_MIN:
            raise self._wrong(Message.of("size.expected_more_memory", least_bytes=MEMORY_BYTES_MIN))
        self._at = end
        return memory_bytes

    def _blanks(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _wrong(self, expected: Message) -> InvalidRequest:
        at_end = self._at >= len(self._text)
        found = Message.of("size.end") if at_end else Message.of("size.found", character=repr(self._text[self._at]))
        return InvalidRequest(
            Message.of("size.syntax", text=repr(self._text), position=self._at + 1, expected=expected, found=found)
        )


@lru_cache(maxsize=4096)
def _is_one_of(models: tuple[str, ...], model: str) -> bool:
    name = _words(model)
    return any(_is_lead(_words(wanted), name) for wanted in models)


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _is_lead(wanted: list[str], name: list[str]) -> bool:
    """Return whether the words of ``wanted`` occur in ``name`` in this order."""
    words = iter(name)
    return all(word in words for word in wanted)
