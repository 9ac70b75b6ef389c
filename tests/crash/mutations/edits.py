"""Edits of functions, addressed by the function and by a piece of its syntax tree.

An :class:`Edit` replaces the one place in a function where a pattern matches. Patterns are Python code: they match
whatever comments, line breaks or parentheses the product has, and they are found after the function has moved to
another module. In a pattern

- ``...`` matches any expression, any arguments of a call, or any body of a compound statement, and
- ``_1`` to ``_9`` match any expression, which the same name puts into the replacement.

Edits are applied to the running process (:func:`apply`) or written as source (:func:`edited_sources`).
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

_CAPTURE = re.compile(r"_[1-9]$")
#: Fields of syntax nodes that are no part of what the code does, or that follow from its place.
_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment"})


class NoSuchCode(LookupError):
    """The function has no place, or more than one, that the pattern of an edit matches."""


@dataclass(frozen=True)
class Edit:
    """One replacement in one function."""

    function: Any  #: the function, method or property that is edited
    old: str  #: pattern of an expression, or of one or more statements
    new: str  #: what takes its place: an expression, or statements

    @property
    def address(self) -> str:
        """Return the module and the qualified name of the function."""
        function = plain_function(self.function)
        return f"{function.__module__}.{function.__qualname__}"


def plain_function(function: Any) -> FunctionType:
    """Return the function whose code runs when a method, property or decorated function is called."""
    if isinstance(function, property | functools.cached_property):
        function = function.fget if isinstance(function, property) else function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is no Python function")
    return function


def source_path(edit: Edit) -> Path:
    """Return the source file of the edited function."""
    return Path(plain_function(edit.function).__code__.co_filename)


@functools.cache
def read_source(path: Path) -> str:
    """Return the source in ``path`` as it was when this process read it first."""
    return path.read_text(encoding="utf-8")


def edited_sources(edits: Iterable[Edit]) -> dict[Path, str]:
    """Return the source of every edited module by its file. Raises :class:`NoSuchCode` as :func:`apply` does."""
    return {path: ast.unparse(module) for path, module in _edited_modules(edits).items()}


def apply(edits: Sequence[Edit]) -> None:
    """Give each function its edited code, for every importer in this process.

    Raises :class:`NoSuchCode` where a pattern does not match once or an edit changes nothing.
    """
    modules = {
        path: compile(module, str(path), "exec", dont_inherit=True) for path, module in _edited_modules(edits).items()
    }
    for edit in edits:
        function, code = plain_function(edit.function), modules[source_path(edit)]
        for name in _path(function):
            code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
        if _compiled(code) == _compiled(function.__code__):
            raise NoSuchCode(f"{edit.address}: the edit changes nothing")
        function.__code__ = code


def _compiled(code: CodeType) -> tuple[object, ...]:
    return code.co_code, code.co_consts, code.co_names


def _path(function: FunctionType) -> list[str]:
    return [name for name in function.__qualname__.split(".") if name != "<locals>"]


def _edited_modules(edits: Iterable[Edit]) -> dict[Path, ast.Module]:
    modules: dict[Path, ast.Module] = {}
    for edit in edits:
        path = source_path(edit)
        if path not in modules:
            modules[path] = ast.parse(read_source(path))
        scope = _definition(modules[path], edit)
        before = ast.dump(scope)
        pattern, replacement = _parsed(edit)
        places = list(_places(scope, pattern))
        if len(places) != 1:
            raise NoSuchCode(f"{edit.address}: {len(places)} places match {edit.old!r}")
        places[0].replace(replacement)
        if ast.dump(scope) == before:
            raise NoSuchCode(f"{edit.address}: the edit changes nothing")
    return {path: ast.fix_missing_locations(module) for path, module in modules.items()}


def _definition(module: ast.Module, edit: Edit) -> ast.AST:
    """Return the definition of the edited function in ``module``."""
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    scope: ast.AST = module
    for name in _path(plain_function(edit.function)):
        found = [one for one in getattr(scope, "body", ()) if isinstance(one, definitions) and one.name == name]
        if len(found) != 1:
            raise NoSuchCode(f"{edit.address}: {name} is defined {len(found)} times")
        scope = found[0]
    return scope


@dataclass
class _Place:
    """A matched expression or run of statements: ``count`` items of a list, or the value of a field."""

    parent: ast.AST
    field: str
    index: int | None  #: in the list that the field is; None where it is a single node
    count: int
    captured: dict[str, ast.expr]

    def replace(self, body: list[Any]) -> None:
        """Put ``body``, with what was captured, in this place."""
        found = getattr(self.parent, self.field)
        origin = found if self.index is None else found[self.index]
        body = [ast.copy_location(_Substitution(self.captured).visit(one), origin) for one in body]
        for node in (child for one in body for child in ast.walk(one)):
            if "lineno" in node._attributes and not hasattr(node, "end_lineno"):
                ast.copy_location(node, origin)
        if self.index is None:
            setattr(self.parent, self.field, body[0])
        else:
            found[self.index : self.index + self.count] = body


class _Substitution(ast.NodeTransformer):
    """Replaces the names of captures by what they matched."""

    def __init__(self, captured: dict[str, ast.expr]) -> None:
        self._captured = captured

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._captured[node.id]) if node.id in self._captured else node


def _parsed(edit: Edit) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return the pattern and the replacement: an expression each where both are one, else statements."""
    both = [ast.parse(code).body for code in (edit.old, edit.new)]
    expressions = [body[0].value for body in both if len(body) == 1 and isinstance(body[0], ast.Expr)]
    old, new = ([one] for one in expressions) if len(expressions) == len(both) else both
    return list(old), list(new)


def _places(scope: ast.AST, pattern: list[ast.AST]) -> Iterator[_Place]:
    """Yield the places in ``scope`` where ``pattern``, one expression or a run of statements, matches."""
    for parent in ast.walk(scope):
        for field, value in ast.iter_fields(parent):
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                run = value[index : index + len(pattern)] if index is not None else [node]
                captured: dict[str, ast.expr] = {}
                if isinstance(node, ast.AST) and len(run) == len(pattern) and _matches(pattern, run, captured):
                    yield _Place(parent, field, index, len(pattern), captured)


def _matches(pattern: Any, node: Any, captured: dict[str, ast.expr]) -> bool:
    """Return whether ``node`` is what ``pattern`` describes; add to ``captured`` what its names match."""
    if isinstance(node, ast.expr) and isinstance(pattern, ast.Name) and _CAPTURE.match(pattern.id):
        known = captured.setdefault(pattern.id, node)
        return ast.dump(known) == ast.dump(node)
    if isinstance(node, ast.expr) and _is_any(pattern):
        return True
    if isinstance(pattern, list) and isinstance(node, list):
        if len(pattern) == 1 and isinstance(pattern[0], ast.Expr) and _is_any(pattern[0].value):
            return True
        return len(pattern) == len(node) and all(
            _matches(one, other, captured) for one, other in zip(pattern, node, strict=True)
        )
    if type(pattern) is not type(node):
        return False
    if not isinstance(pattern, ast.AST):
        return bool(pattern == node)
    fields = [field for field in pattern._fields if field not in _IGNORED_FIELDS]
    if isinstance(pattern, ast.Call) and len(pattern.args) == 1 and _is_any(pattern.args[0]) and not pattern.keywords:
        fields = ["func"]
    return all(_matches(getattr(pattern, field, None), getattr(node, field, None), captured) for field in fields)


def _is_any(pattern: object) -> bool:
    return isinstance(pattern, ast.Constant) and pattern.value is ...
