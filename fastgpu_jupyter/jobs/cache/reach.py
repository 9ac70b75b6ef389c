"""What code reaches: the global names that it reads, with the attributes that it reads from them, and its imports."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from .source import inner_codes

_READS_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_READS_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
#: Instructions that may stand between a global name and its attribute.
_BETWEEN = frozenset({"CACHE", "PUSH_NULL", "EXTENDED_ARG", "NOP"})


class ImportedName(NamedTuple):
    """One import statement: how many packages up it starts, the module, and the names that it takes from there."""

    level: int
    module: str
    names: tuple[str, ...]


class Reached(NamedTuple):
    """What one code object and those inside it read. A chain is the attributes that follow a name, in their order."""

    names: dict[str, frozenset[tuple[str, ...]]]
    imports: frozenset[ImportedName]


@lru_cache(4096)
def reached_by(code: CodeType) -> Reached:
    """Return the names that a code object reads from its module, and what it imports."""
    names: dict[str, set[tuple[str, ...]]] = {}
    imports: set[ImportedName] = set()
    for inner in inner_codes(code):
        for name, chain in _reads(inner):
            names.setdefault(name, set()).add(chain)
        imports.update(_imports(inner))
    return Reached({name: frozenset(chains) for name, chains in sorted(names.items())}, frozenset(imports))


def _reads(code: CodeType) -> Iterator[tuple[str, tuple[str, ...]]]:
    name: str | None = None
    chain: list[str] = []
    for instruction in dis.get_instructions(code):
        if name is not None and instruction.opname in _READS_ATTRIBUTE:
            chain.append(str(instruction.argval))
        elif instruction.opname not in _BETWEEN:
            if name is not None:
                yield name, tuple(chain)
            name, chain = None, []
            if instruction.opname in _READS_GLOBAL:
                name = str(instruction.argval)
    if name is not None:
        yield name, tuple(chain)


def _imports(code: CodeType) -> Iterator[ImportedName]:
    """Yield the imports in one code object: level and names are the constants that are loaded before."""
    loaded: list[object] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            loaded.append(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            level, names = loaded[-2:]
            taken = names if isinstance(names, tuple) else ()
            yield ImportedName(level if isinstance(level, int) else 0, str(instruction.argval), taken)


def imports_of_tree(tree: ast.AST) -> Iterator[ImportedName]:
    """Yield every import statement in a syntax tree, at any place in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (ImportedName(0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ImportedName(node.level, node.module or "", tuple(alias.name for alias in node.names))


def names_set_first(tree: ast.Module) -> set[str]:
    """Return the names that a cell certainly sets before it reads them, whatever the notebook had under them.

    Only plain assignments and definitions at the top of the cell count: what stands in a branch may not run.
    """
    certain: set[str] = set()
    read: set[str] = set()
    for statement in tree.body:
        loads = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and not _is_store(node)}
        loads |= {node.target.id for node in ast.walk(statement) if _is_augmented(node)}  # type: ignore[attr-defined]
        stored: set[str] = set()
        match statement:
            case ast.Assign(targets=targets):
                stored = {node.id for one in targets for node in ast.walk(one) if isinstance(node, ast.Name)} - loads
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                stored = {name}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                stored = {name}
                if name not in _read_by_definition(statement):
                    loads.discard(name)  # only when it is called, and then it is set
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                stored = {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        read |= loads - certain
        certain |= stored - read
    return certain


def _is_augmented(node: ast.AST) -> bool:
    return isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)


def _is_store(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _read_by_definition(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Return the names that run with a definition: its decorators, defaults and bases, and the body of a class."""
    parts: list[ast.AST] = list(statement.decorator_list)
    if isinstance(statement, ast.ClassDef):
        parts += [*statement.bases, *statement.keywords, *statement.body]
    else:
        parts += [one for one in (*statement.args.defaults, *statement.args.kw_defaults) if one is not None]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}
