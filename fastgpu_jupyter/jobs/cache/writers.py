"""The canonical forms of plain Python: atoms, containers, and references to code; see :mod:`.canonical`."""

from __future__ import annotations

import functools
import struct
import sys
import types
from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .limits import Unhashable
from .source import write_bytecode

if TYPE_CHECKING:
    from .canonical import Form

_DOUBLE = struct.Struct("<d")
#: Lists with more items than this are written at once where all are of one type.
_PACKED_MIN = 16
_DESCRIPTORS = (
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType,
    types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip


class Unbound:
    """Stands for a name or a cell without a value, which no value is equal to."""


UNBOUND = Unbound()


def _write_unbound(_: Unbound, form: Form) -> None:
    form.tag("unbound")


def _write_tuple(value: tuple[Any, ...], form: Form) -> None:
    form.tag("tuple", len(value))
    form.items(value)


def _write_list(value: list[Any], form: Form) -> None:
    if form.is_known(value):
        return
    kinds = set(map(type, value)) if len(value) > _PACKED_MIN else set()
    packed = _PACKED.get(kinds.pop()) if len(kinds) == 1 else None
    content = packed(value) if packed else None
    if content is None:
        form.tag("list", len(value))
        form.items(value)
    else:
        form.tag("packed list", len(value))
        for part in content:
            form.data(part)


def _write_dict(value: dict[Any, Any], form: Form) -> None:
    if not form.is_known(value):
        form.tag("dict", len(value))
        form.pairs(value.items())


def _write_set(value: set[Any] | frozenset[Any], form: Form) -> None:
    if isinstance(value, set) and form.is_known(value):
        return
    form.tag(type(value).__name__, len(value))
    try:
        for digest in sorted(map(form.isolated, value)):
            form.tag(digest)
    except Unhashable as error:
        raise error.within("{…}") from None


def _write_int(value: int, form: Form) -> None:
    form.tag("int")
    form.data(value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _write_float(value: float, form: Form) -> None:
    form.tag("float")
    form.raw(_DOUBLE.pack(value))


def _write_complex(value: complex, form: Form) -> None:
    form.tag("complex")
    form.raw(_DOUBLE.pack(value.real) + _DOUBLE.pack(value.imag))


def _write_str(value: str, form: Form) -> None:
    form.tag("str")
    form.data(value.encode("utf-8", "surrogatepass"))


def _write_bytes(value: bytes, form: Form) -> None:
    form.tag("bytes")
    form.data(value)


def _write_bytearray(value: bytearray, form: Form) -> None:
    if not form.is_known(value):
        form.tag("bytearray")
        form.data(value)


def _write_constant(value: Any, form: Form) -> None:
    form.tag(repr(value))


def _write_slice(value: slice, form: Form) -> None:
    form.tag("slice")
    form.items((value.start, value.stop, value.step))


def _write_range(value: range, form: Form) -> None:
    form.tag("range")
    form.items((value.start, value.stop, value.step))


def _write_function(value: types.FunctionType, form: Form) -> None:
    form.references.refer_to_function(value, form)


def _write_method(value: types.MethodType, form: Form) -> None:
    form.tag("method")
    form.items((value.__func__, value.__self__))


def _write_builtin(value: types.BuiltinFunctionType, form: Form) -> None:
    owner = value.__self__
    form.tag("builtin")
    if owner is None or isinstance(owner, types.ModuleType):
        form.items((value.__module__, value.__qualname__))
        if value.__module__ in sys.modules:
            form.references.refer_to_module(sys.modules[value.__module__], form)
    else:
        form.items((value.__name__, owner))


def _write_descriptor(value: Any, form: Form) -> None:
    form.tag("descriptor")
    form.items((value.__objclass__, value.__name__))


def _write_wrapper(value: Any, form: Form) -> None:
    form.tag("method wrapper")
    form.items((value.__name__, value.__self__))


def _write_property(value: property, form: Form) -> None:
    form.tag("property")
    form.items((value.fget, value.fset, value.fdel))


def _write_wrapped_method(value: staticmethod[..., Any] | classmethod[Any, ..., Any], form: Form) -> None:
    form.tag(type(value).__name__)
    form.value(value.__func__)


def _write_cached(value: Any, form: Form) -> None:
    form.tag("lru_cache")
    form.value(value.__wrapped__)
    form.pairs(value.cache_parameters().items())


def _write_mapping_proxy(value: Mapping[Any, Any], form: Form) -> None:
    form.tag("mappingproxy", len(value))
    form.pairs(value.items())


def _write_code(value: types.CodeType, form: Form) -> None:
    write_bytecode(value, form)


@functools.lru_cache
def _example() -> None:
    """Do nothing; the type of this function has no public name."""


def _packed_ints(value: list[int]) -> list[Any] | None:
    try:
        return [b"int", array("q", value)]
    except OverflowError:
        return None


def _packed_texts(value: list[str]) -> list[Any]:
    return [b"str", array("q", map(len, value)), "".join(value).encode("utf-8", "surrogatepass")]


#: Long lists of one type are written at once.
_PACKED: Mapping[type, Callable[[list[Any]], list[Any] | None]] = {
    int: _packed_ints,
    float: lambda value: [b"float", array("d", value)],
    str: _packed_texts,
}
WRITERS: Mapping[type, Callable[[Any, Form], None]] = {
    **dict.fromkeys((type(None), bool, type(...), type(NotImplemented)), _write_constant),
    int: _write_int, float: _write_float, complex: _write_complex, str: _write_str, bytes: _write_bytes,
    bytearray: _write_bytearray, tuple: _write_tuple, list: _write_list, dict: _write_dict, set: _write_set,
    frozenset: _write_set, slice: _write_slice, range: _write_range,
    types.FunctionType: _write_function, types.MethodType: _write_method, types.BuiltinFunctionType: _write_builtin,
    types.MethodWrapperType: _write_wrapper, property: _write_property, staticmethod: _write_wrapped_method,
    classmethod: _write_wrapped_method, types.MappingProxyType: _write_mapping_proxy, types.CodeType: _write_code,
    type(_example): _write_cached, Unbound: _write_unbound,
    **dict.fromkeys(_DESCRIPTORS, _write_descriptor),
}  # fmt: skip
