"""The canonical form of values: equal forms mean that a computation cannot tell one value from the other.

Each value is written as a tag with lengths, so that no two values have the same form. What a computation can observe
counts: types, the order of a dictionary, the sign of zero, the bits of a NaN, which lists are one and the same object.
What it cannot observe, or what changes from run to run, does not: addresses, the order of a set, padding.

Any other object has the form of what pickle would send for it: that is also what the process of a job receives.
"""

from __future__ import annotations

import copyreg
import hashlib
import os
import struct
import types
from collections.abc import Iterable
from typing import Any, Protocol

from ..results.values import type_name
from .arrays import writer_for
from .limits import Budget, Unhashable, not_hashable
from .origins import found_by_name
from .writers import WRITERS

_LENGTH = struct.Struct("<Q")
#: How much is hashed at a time; in between, time limits and interrupts are looked at.
_CHUNK_BYTES = 64 << 20


class CodeReferences(Protocol):
    """What the form of a value needs of the key that it becomes a part of: code is an ingredient of its own."""

    def refer_to_function(self, function: types.FunctionType, form: Form) -> None:
        """Write a reference to a function into ``form``."""

    def refer_to_class(self, cls: type, form: Form) -> None:
        """Write a reference to a class into ``form``."""

    def refer_to_module(self, module: types.ModuleType, form: Form) -> None:
        """Write a reference to a module into ``form``."""

    def refer_to_environment(self, form: Form) -> None:
        """Note that the variables of the environment are read."""


class Form:
    """The digest of one value, while it is written.

    ``seen`` has the objects that this key has met, with the place where, so that a second meeting is a reference and
    cycles end. ``kept`` keeps them alive, as a new object could have the address of one that is gone.
    """

    def __init__(
        self, label: str, references: CodeReferences, budget: Budget, seen: dict[int, str], kept: list[Any]
    ) -> None:
        self.label = label
        self.references = references
        self.budget = budget
        self._checksum = hashlib.sha256()
        self._seen = seen
        self._kept = kept
        self._met = 0

    def hexdigest(self) -> str:
        """Return the digest of what was written."""
        return self._checksum.hexdigest()

    # -- writing ----------------------------------------------------------------------------------------------------

    def tag(self, name: str, count: int = 0) -> None:
        """Write what follows: a kind of value, and how many parts it has."""
        encoded = name.encode("utf-8", "surrogatepass")
        self._checksum.update(b"%d:%b%d;" % (len(encoded), encoded, count))

    def data(self, content: Any) -> None:
        """Write bytes, or the memory of an array without copying it."""
        with memoryview(content) as view:
            self.stream(view.nbytes, (view,))

    def stream(self, count: int, parts: Iterable[Any]) -> None:
        """Write so many bytes, which come in parts; how they are divided is not seen."""
        self._checksum.update(_LENGTH.pack(count))
        for part in parts:
            with memoryview(part) as view, view.cast("B") if view.nbytes else memoryview(b"") as memory:
                for start in range(0, memory.nbytes, _CHUNK_BYTES):
                    chunk = memory[start : start + _CHUNK_BYTES]
                    self.budget.spend_bytes(chunk.nbytes)
                    self._checksum.update(chunk)

    def raw(self, content: bytes) -> None:
        """Write bytes of which the number is fixed by the tag before them."""
        self._checksum.update(content)

    def value(self, value: Any) -> None:
        """Write any value. Raises :class:`Unhashable` for one without a canonical form."""
        self.budget.spend_objects(1)
        write = WRITERS.get(type(value))
        if write is not None:
            write(value, self)
        elif isinstance(value, type):
            self.references.refer_to_class(value, self)
        elif isinstance(value, types.ModuleType):
            self.references.refer_to_module(value, self)
        elif not self.is_known(value):
            self._other(value)

    def isolated(self, value: Any) -> str:
        """Return the digest of a value whatever was met before: for members of a set, which have no order."""
        form = Form(self.label, self.references, self.budget, {}, self._kept)
        form.value(value)
        return form.hexdigest()

    def is_known(self, value: Any) -> bool:
        """Return whether the key has this very object already, and write where; else remember it."""
        known = self._seen.get(id(value))
        if known is not None:
            self.tag("again")
            self.tag(known)
            return True
        self._met += 1
        self._seen[id(value)] = f"{self.label}#{self._met}"
        self._kept.append(value)
        return False

    def memory(self, address: int) -> None:
        """Write whether memory, which several objects can have, was met before in this key, and where."""
        known = self._seen.get(-address) if address else None
        self.tag("again" if known else "memory")
        if known:
            self.tag(known)
        elif address:
            self._met += 1
            self._seen[-address] = f"{self.label}#{self._met}"

    # -- containers -------------------------------------------------------------------------------------------------

    def items(self, items: Iterable[Any], step: str = "[{}]") -> None:
        """Write values one after the other; ``step`` names one in an error, by its position."""
        position = -1
        try:
            for position, item in enumerate(items):  # noqa: B007 (for the error)
                self.value(item)
        except Unhashable as error:
            raise error.within(step.format(position)) from None

    def pairs(self, pairs: Iterable[tuple[Any, Any]], step: str = "[{!r}]") -> None:
        """Write keys and values in their order."""
        key = None
        try:
            for key, item in pairs:
                self.value(key)
                self.value(item)
        except Unhashable as error:
            raise error.within(step.format(key)[:60]) from None

    # -- everything else --------------------------------------------------------------------------------------------

    def _other(self, value: Any) -> None:
        if value is os.environ or value is os.environb:
            self.references.refer_to_environment(self)
            return
        write = writer_for(value)
        if write is not None:
            self.references.refer_to_class(type(value), self)  # the version of the library counts
            write(value, self)
        else:
            self.reduced(value)

    def reduced(self, value: Any) -> None:
        """Write what pickle sends for an object. Raises :class:`Unhashable` where it sends nothing."""
        cls = type(value)
        try:
            reducer = copyreg.dispatch_table.get(cls)
            reduced: Any = reducer(value) if reducer is not None else value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 (of any library: it has no form)
            raise not_hashable(type_name(value)) from None
        self.tag("object")
        self.references.refer_to_class(cls, self)
        if isinstance(reduced, str):
            self._global(value, reduced)
            return
        create, arguments, *more = reduced
        state, items, pairs = (*more, None, None, None)[:3]
        if state is value or create is None:
            raise not_hashable(type_name(value))
        self.value(create)
        self.items(arguments, "({})")
        if isinstance(state, dict) and isinstance(getattr(value, "__dict__", None), dict):
            self.tag("state", len(state))
            self.pairs(state.items(), ".{}")
        else:
            self.tag("state")
            self.value(state)
        for part in (items, pairs):
            parts = None if part is None else list(part)
            self.tag("parts", -1 if parts is None else len(parts))
            self.items(parts or ())

    def _global(self, value: Any, name: str) -> None:
        """Write an object that pickle names. Raises :class:`Unhashable` where the name is that of something else."""
        module = getattr(value, "__module__", None) or type(value).__module__
        if found_by_name(module, name) is not value:
            raise not_hashable(type_name(value))
        self.tag(f"{module}.{name}")
