"""What a cell needs from the notebook and what it defines, read from its syntax tree.

A job runs in a fresh kernel, so a name that is missing there would be noticed only after the wait in the queue.
Modules, functions and classes that the cell uses go along by themselves; variables only where they are named.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from ..errors import InvalidRequest, Message

#: Names that every IPython kernel has.
OF_THE_KERNEL = frozenset(
    {"get_ipython", "display", "In", "Out", "exit", "quit", "_", "__", "___", "_ih", "_oh", "_dh"}
)
#: Calls after which it is not known which names there are.
_UNKNOWABLE = frozenset({"exec", "eval", "globals", "locals", "vars", "get_ipython", "setattr"})


class JobCell:
    """A cell as Python code: ``transform`` makes that of IPython's syntax, and raises :class:`SyntaxError`."""

    def __init__(self, code: str, transform: Callable[[str], str] = str) -> None:
        text = transform(code)
        self._tree = ast.parse(text)
        self._table = symtable.symtable(text, "<cell>", "exec")
        nodes = list(ast.walk(self._tree))
        calls = {one.func.id for one in nodes if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
        stars = any(name.name == "*" for one in nodes if isinstance(one, ast.ImportFrom) for name in one.names)
        #: The cell may define, or use, names that its syntax tree does not show.
        self.is_open = stars or bool(calls & _UNKNOWABLE)

    @property
    def is_empty(self) -> bool:
        """Whether the cell has no statement."""
        return not self._tree.body

    def defined(self) -> set[str]:
        """Return the names that the cell assigns, imports or defines at its top level, or as globals in a function."""
        found = {one.get_name() for one in self._table.get_symbols() if one.is_assigned() or one.is_imported()}
        return found | {name for table in _inside(self._table) for name in _global_assignments(table)}

    def used(self) -> set[str]:
        """Return the names that the cell takes from outside: not built in, and not assigned before their first use."""
        free = {one.get_name() for one in self._table.get_symbols() if one.is_referenced()}
        free |= {one.get_name() for table in _inside(self._table) for one in table.get_symbols() if one.is_global()}
        first = _first_uses(self._tree)
        free |= {name for name, kind in first.items() if kind == "load"}
        own = {name for name in self.defined() if first.get(name) != "load"}
        return free - own - set(dir(builtins)) - OF_THE_KERNEL

    def title(self) -> str:
        """Return the name of the function that the last call of the cell's last statement names; empty without one."""
        for statement in reversed(self._tree.body):
            for node in ast.walk(statement):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
                    name = name.rpartition(".")[2]
                    if name.isidentifier() and name not in dir(builtins):
                        return name
        return ""


def _inside(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inside(child)


def _global_assignments(table: symtable.SymbolTable) -> Iterator[str]:
    return (one.get_name() for one in table.get_symbols() if one.is_declared_global() and one.is_assigned())


def _first_uses(tree: ast.Module) -> dict[str, str]:
    """Return for each name whether the cell reads or binds it first, in the order in which statements run.

    Functions run later, so only statements of the top level count; in an assignment the right side comes first.
    """
    first: dict[str, str] = {}
    for node in tree.body:
        for name, kind in _uses(node):
            first.setdefault(name, kind)
    return first


def _uses(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each name that a statement reads (``load``) or binds (``store``), in the order in which it does."""
    match node:
        case ast.Name():
            yield node.id, "load" if isinstance(node.ctx, ast.Load) else "store"
        case ast.Import() | ast.ImportFrom():
            yield from (((one.asname or one.name).partition(".")[0], "store") for one in node.names)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            # Its body is a scope of its own, and that of a function runs later.
            heads = node.bases if isinstance(node, ast.ClassDef) else node.args.defaults
            yield from _uses_of([*node.decorator_list, *heads])
            yield node.name, "store"
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            # A scope of its own, but for what it iterates over first: its targets hide names from outside.
            yield from _uses(node.generators[0].iter)
            hidden = {name for one in node.generators for name, kind in _uses(one.target) if kind == "store"}
            yield from ((name, kind) for name, kind in _uses_of(ast.iter_child_nodes(node)) if name not in hidden)
        case ast.AugAssign():
            yield from _uses(node.value)
            yield from ((name, "load") for name, _ in _uses(node.target))
        case ast.AnnAssign() if node.value is None:
            return  # it binds nothing
        case _:
            yield from _uses_in_order(node)


def _uses_in_order(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the uses of the parts of a node; what is assigned or iterated over is read before the target is bound."""
    name = getattr(node, "name", None)
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and name:
        yield name, "store"
    read_first = [getattr(node, field, None) for field in ("value", "iter")]
    children = list(ast.iter_child_nodes(node))
    yield from _uses_of([*(one for one in children if one in read_first), *children])


def _uses_of(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        yield from _uses(node)


def is_code(value: Any) -> bool:
    """Return whether a value is a module, a function, a class or the like, which goes along without being named."""
    return isinstance(value, ModuleType | type) or (
        callable(value) and isinstance(getattr(value, "__name__", None), str)
    )


def sent(cell: JobCell, inputs: list[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes into the job: the named inputs, and the code of the notebook that the cell uses.

    Raises :class:`InvalidRequest` where an input is not defined, and where the cell uses a variable of the notebook
    that is not named, or a name that nothing defines.
    """
    for name in inputs:
        if name not in namespace:
            raise InvalidRequest(_undefined(name, namespace))
    values = {name: namespace[name] for name in inputs}
    unnamed = []
    for name in sorted(cell.used() - values.keys()):
        if name not in namespace:
            if not cell.is_open:
                raise InvalidRequest(_nowhere(name, namespace))
        elif is_code(namespace[name]):
            values[name] = namespace[name]
        else:
            unnamed.append(name)
    if unnamed:
        every = ",".join([*inputs, *unnamed])
        raise InvalidRequest(Message.of("job_cell.not_named", names=tuple(unnamed), every=every))
    return values


def require_outputs(cell: JobCell, outputs: list[str], values: Mapping[str, Any]) -> None:
    """Raise :class:`InvalidRequest` where the cell cannot define one of ``outputs``."""
    known = cell.defined() | set(values)
    for name in outputs:
        if name not in known and not cell.is_open:
            near = get_close_matches(name, sorted(cell.defined()), n=1)
            if near:
                raise InvalidRequest(Message.of("job_cell.no_output_near", name=name, near=near[0]))
            raise InvalidRequest(Message.of("job_cell.no_output", name=name))


def _undefined(name: str, namespace: Mapping[str, Any]) -> Message:
    near = get_close_matches(name, _variables(namespace), n=1)
    if near:
        return Message.of("job_cell.no_input_near", name=name, near=near[0])
    return Message.of("job_cell.no_input", name=name)


def _nowhere(name: str, namespace: Mapping[str, Any]) -> Message:
    near = get_close_matches(name, _variables(namespace), n=1)
    if near:
        return Message.of("job_cell.unknown_name_near", name=name, near=near[0])
    return Message.of("job_cell.unknown_name", name=name)


def _variables(namespace: Mapping[str, Any]) -> list[str]:
    return [name for name in namespace if not (name.startswith("_") or name in OF_THE_KERNEL or name in dir(builtins))]
