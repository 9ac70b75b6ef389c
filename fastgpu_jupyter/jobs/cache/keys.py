"""The key of each kind of job, or why there is none."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...errors import Message
from .command import add_command
from .declared import add_declared
from .ingredients import CacheKey, Declared, Environment, NotCacheable
from .limits import Unhashable, too_deep
from .making import Making
from .reach import imports_of_tree, names_set_first, reached_by
from .source import write_tree

_NOTHING = Declared()
_CELL = "<cell>"


def key_of_cell(
    code: str,
    namespace: Mapping[str, Any],
    inputs: Collection[str],
    *,
    outputs: Collection[str] = (),
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a cell with ``inputs``, names of variables, that leaves the variables ``outputs``.

    What else of ``namespace`` the cell reaches, such as functions and modules, is in the key, too. ``environment`` is
    that of the job, by default the one of this process.
    """

    def make(making: Making) -> None:
        compiled = _add_code(making, [code])
        making.add_value("outputs", "", sorted(outputs))
        for name in sorted(inputs):
            if name not in namespace:
                raise Unhashable(lambda missing: Message.of("cache.undefined", name=missing)).within(name)
            making.add_value("input", name, namespace[name])
        for part, tree in compiled:
            own = names_set_first(tree)
            making.add_reached(part, namespace, known={*inputs, *own})
            _add_imported_attributes(making, part, tree, own)

    return _made(make, declared, environment)


def key_of_function(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a call of ``function`` with those arguments."""

    def make(making: Making) -> None:
        from .origins import LOCAL, origin_of_function

        if isinstance(function, FunctionType) and origin_of_function(function) == LOCAL:
            making.set_root(function)
        else:
            making.add_value("code", "", function, label=getattr(function, "__name__", type(function).__name__))
        for name, value in _bound(function, args, kwargs):
            making.add_value("parameter", name, value)

    return _made(make, declared, environment)


def key_of_notebook(
    notebook: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    kernel: str | None = None,
    declared: Declared = _NOTHING,
    environment: Environment | None = None,
) -> CacheKey | NotCacheable:
    """Return the key of a run of ``notebook``, a document of nbformat 4, with those parameters and that kernel.

    Text between the cells is not in the key, so that the notebook of a hit is the one that was run.
    """

    def make(making: Making) -> None:
        metadata = notebook.get("metadata", {})
        named = kernel or metadata.get("kernelspec", {}).get("name")
        making.add_value("environment", "kernel", named)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        # The cell after which parameters are put is a part of what runs.
        tags = [sorted(cell.get("metadata", {}).get("tags", ())) for cell in cells]
        making.add_value("environment", "tags", tags)
        sources = [cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"]) for cell in cells]
        language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
        if language in (None, "python"):
            for part, tree in _add_code(making, sources):
                _add_imported_attributes(making, part, tree, names_set_first(tree))
        else:
            making.add_value("code", "", sources)
        for name, value in parameters.items():
            making.add_value("parameter", name, value)

    return _made(make, declared, environment)


def key_of_command(
    argv: Sequence[str], *, declared: Declared = _NOTHING, environment: Environment | None = None
) -> CacheKey | NotCacheable:
    """Return the key of a command: its arguments, its program, and the files among its arguments by content.

    Of a Python program the modules of the user's that it imports are in the key, and all installed distributions.
    """
    return _made(lambda making: add_command(making, argv, environment), declared, environment)


def _made(
    make: Callable[[Making], None], declared: Declared, environment: Environment | None
) -> CacheKey | NotCacheable:
    making = Making()
    try:
        make(making)
        add_declared(making, declared, environment)
        key = making.finish()
    except Unhashable as error:
        return NotCacheable(error.message)
    except RecursionError:
        return NotCacheable(too_deep().within(_CELL).message)
    if making.environment_reader is not None and not declared.variables:
        return NotCacheable(Message.of("cache.reads_environment", name=making.environment_reader))
    return key


def _add_code(making: Making, cells: Iterable[str]) -> list[tuple[CodeType, ast.Module]]:
    """Add the code of cells as one ingredient, and what they import; return each compiled, with its tree."""
    form = making.form("code ")
    compiled = []
    for cell in cells:
        text = _python_of(cell)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            tree = compile(text, _CELL, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
            code = compile(tree, _CELL, "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError):
            raise Unhashable(lambda _: Message.of("cache.syntax")) from None
        write_tree(tree, form)
        making.add_imports(imports_of_tree(tree), None)
        compiled.append((code, tree))
    making.add("code", "", form.hexdigest())
    return compiled


def _python_of(cell: str) -> str:
    """Return a cell with IPython's syntax as Python; as it is where IPython is not installed."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError:
        return cell
    try:
        return str(TransformerManager().transform_cell(cell))  # type: ignore[no-untyped-call]
    except SyntaxError:
        return cell


def _add_imported_attributes(making: Making, code: CodeType, tree: ast.Module, own: Collection[str]) -> None:
    """Add what a cell reads from modules that it imports itself, as far as they are loaded here."""
    modules = {
        alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
        for statement in tree.body
        if isinstance(statement, ast.Import)
        for alias in statement.names
    }
    for name, chains in reached_by(code).names.items():
        module = sys.modules.get(modules.get(name, ""))
        if name in own and isinstance(module, ModuleType):
            for chain in chains:
                making.add_attribute(module, chain)


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the arguments by parameter, defaults included: ``f(1)`` and ``f(lr=1)`` are one call."""
    try:
        bound = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
    except (TypeError, ValueError):  # it has no signature, or they do not fit it
        return [*((str(position), one) for position, one in enumerate(args)), *kwargs.items()]
    bound.apply_defaults()
    return list(bound.arguments.items())
