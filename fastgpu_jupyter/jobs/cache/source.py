"""The normal form of code: its syntax tree without positions, or its bytecode where there is no source to trust.

The source of a function is looked up by its file and line, which may have changed since. It is used only if it
compiles to the very code object of the function. Comments, formatting and line numbers are not in the tree; docstrings
are, because code can read them. The name of the function itself is left out.
"""

from __future__ import annotations
import __future__ as future_module

import ast
import dis
import itertools
import linecache
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from .limits import too_deep

if TYPE_CHECKING:
    from .canonical import Form

_FUTURES = 0
for _name in future_module.all_feature_names:
    _FUTURES |= getattr(future_module, _name).compiler_flag
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
#: Fields of the tree that are no part of what the code does.
_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
#: By these a function can learn its own name.
NAME_READERS = frozenset({"__name__", "__qualname__"})
#: Source files that are kept parsed.
_PARSED_MAX = 64


class _Parsed(NamedTuple):
    """A source file: its code objects, and its functions, by name and first line."""

    codes: Mapping[tuple[str, int], list[CodeType]]
    nodes: Mapping[tuple[str, int], list[Function]]


def function_node(code: CodeType) -> Function | None:
    """Return the syntax tree of a function, or ``None`` where its source is not there or is that of other code."""
    filename = code.co_filename
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename))
    if not text:
        return None
    parsed = _parse(text, filename, code.co_flags & _FUTURES)
    if parsed is None:
        return None
    place = (code.co_name, code.co_firstlineno)
    nodes, codes = parsed.nodes.get(place, ()), parsed.codes.get(place, ())
    return nodes[0] if len(nodes) == len(codes) == 1 and codes[0] == code else None


@lru_cache(_PARSED_MAX)
def _parse(text: str, filename: str, flags: int) -> _Parsed | None:
    try:
        tree = compile(
            text, filename, "exec", flags | ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
        compiled = compile(tree, filename, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    codes: dict[tuple[str, int], list[CodeType]] = {}
    for code in inner_codes(compiled):
        codes.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    nodes: dict[tuple[str, int], list[Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            decorators = getattr(node, "decorator_list", ())
            line = min([node.lineno, *(one.lineno for one in decorators)])
            nodes.setdefault((getattr(node, "name", "<lambda>"), line), []).append(node)
    return _Parsed(codes, nodes)


def inner_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are defined inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from inner_codes(constant)


def write_function_node(node: Function, form: Form, own_name: str | None) -> bool:
    """Write a function's tree without its name and default values; return whether it may read its own name.

    The values of defaults are ingredients of their own. ``own_name`` is the name by which the function calls itself.
    """
    writer = _TreeWriter(form, own_name)
    arguments = node.args
    form.tag(type(node).__name__, len(arguments.defaults))
    form.value([one is not None for one in arguments.kw_defaults])
    for part in (arguments.posonlyargs, arguments.args, arguments.vararg, arguments.kwonlyargs, arguments.kwarg):
        writer.write(part)
    for field in node._fields:
        if field not in ("name", "args"):
            writer.write(getattr(node, field))
    return writer.reads_names


def write_tree(tree: ast.AST, form: Form) -> None:
    """Write a syntax tree as it is."""
    _TreeWriter(form, None).write(tree)


def write_bytecode(code: CodeType, form: Form) -> bool:
    """Write what a code object does, without its names, file and lines; return whether it may read its own name.

    Bytecode is that of one version of the interpreter, which is an ingredient of each key.
    """
    form.tag("code", len(code.co_consts))
    form.items(
        (
            code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount,
            code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, getattr(code, "co_exceptiontable", b""),
        )
    )  # fmt: skip
    reads = _reads_names(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            reads |= write_bytecode(constant, form)
        else:
            form.value(constant)
            reads |= _is_name_reader(constant)
    return reads


def _reads_names(code: CodeType) -> bool:
    """Return whether bytecode reads the name of something, other than of the class of an object."""
    if NAME_READERS.isdisjoint(code.co_names):
        return False
    read = [one.argval for one in dis.get_instructions(code) if one.opname != "CACHE"]
    return any(name in NAME_READERS and before != "__class__" for before, name in itertools.pairwise(read))


def _is_name_reader(constant: object) -> bool:
    return isinstance(constant, str) and constant in NAME_READERS


def _is_of_class(node: ast.AST) -> bool:
    """Return whether an attribute is one of ``x.__class__`` or of ``type(x)``, which is no function."""
    match node:
        case ast.Attribute(value=ast.Attribute(attr="__class__") | ast.Call(func=ast.Name(id="type"))):
            return True
    return False


class _TreeWriter:
    """Writes a syntax tree without positions, contexts and notations."""

    def __init__(self, form: Form, own_name: str | None) -> None:
        self._form = form
        self._own_name = own_name
        self.reads_names = False

    def write(self, node: Any) -> None:
        form = self._form
        if isinstance(node, list):
            form.tag("list", len(node))
            for one in node:
                self.write(one)
        elif isinstance(node, ast.Name) and node.id == self._own_name:
            form.tag("itself")
        elif isinstance(node, ast.AST):
            self.reads_names |= getattr(node, "attr", None) in NAME_READERS and not _is_of_class(node)
            self.reads_names |= isinstance(node, ast.Constant) and _is_name_reader(node.value)
            form.tag(type(node).__name__)
            try:
                for field in node._fields:
                    if field not in _IGNORED:
                        self.write(getattr(node, field, None))
            except RecursionError:
                raise too_deep() from None
        else:
            form.value(node)
