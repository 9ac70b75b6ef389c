"""The making of one key: ingredients are added, and the code that they reach is followed until nothing new is found.

Local functions and classes are ingredients of their own, each with its defaults, closure and globals, so that an
explanation can name what changed. A value that holds such code has a reference to it, by a label. The label of the
function that was submitted is empty: its name is not in the key.
"""

from __future__ import annotations

import builtins
import inspect
import os
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..cells import OF_THE_KERNEL
from ..results.values import type_name
from .canonical import Form
from .distributions import interpreter_text, versions_of
from .ingredients import SCHEMA_VERSION, CacheKey, Ingredient
from .limits import INGREDIENTS_MAX, Budget, Unhashable, too_deep, too_many
from .modules import ImportWalk
from .origins import LOCAL, STANDARD, file_of, found_by_name, origin_of_function, origin_of_module
from .patches import follow, replaced_functions, write_attribute
from .reach import ImportedName, reached_by
from .shown import shown
from .source import function_node, write_bytecode, write_function_node
from .writers import UNBOUND

#: Attributes of a class that say nothing about what it does, or that appear once it is used.
_CLASS_INTERNALS = frozenset(
    {
        "__dict__", "__weakref__", "__module__", "__qualname__", "_abc_impl", "__firstlineno__",
        "__static_attributes__", "__annotations_cache__", "__slotnames__", "__abstractmethods__",
        "_value2member_map_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_",
    }
)  # fmt: skip
#: So long a name is shown as it is; of a longer one, its digest makes it unique.
_NAME_CHARS_MAX = 300


class Making:
    """One key while it is made."""

    def __init__(self) -> None:
        self.imports = ImportWalk()
        self._budget = Budget()
        self._seen: dict[int, str] = {}
        self._kept: list[Any] = []
        self._ingredients: dict[tuple[str, str], Ingredient] = {}
        self._labels: dict[int, str] = {}
        self._namespaces: dict[int, str] = {}
        self._pending: deque[Callable[[], None]] = deque()
        self._looked_for_patches: set[str] = set()
        #: What reads variables of the environment.
        self.environment_reader: str | None = None
        self._at = ""
        self._root: types.FunctionType | None = None
        self._reads_names = False

    # -- ingredients ------------------------------------------------------------------------------------------------

    def form(self, label: str) -> Form:
        """Return an empty form whose objects are met under ``label``."""
        return Form(label, self, self._budget, self._seen, self._kept)

    def add(self, category: str, name: str, digest: str, text: str = "") -> None:
        """Add an ingredient with a digest that was made already. Raises :class:`Unhashable` beyond their number."""
        if len(name) > _NAME_CHARS_MAX:
            name = f"{name[:_NAME_CHARS_MAX]}…{self._text_digest(name)}"
        if len(self._ingredients) >= INGREDIENTS_MAX:
            raise too_many(INGREDIENTS_MAX).within(name)
        self._ingredients[category, name] = Ingredient(category=category, name=name, digest=digest, shown=text)

    def add_value(self, category: str, name: str, value: Any, *, label: str | None = None) -> None:
        """Add a value by content. Raises :class:`Unhashable` with ``label`` or the name."""
        form = self.form(f"{category} {name}")
        try:
            form.value(value)
        except Unhashable as error:
            raise error.within(name if label is None else label) from None
        except RecursionError:
            raise too_deep().within(name if label is None else label) from None
        self.add(category, name, form.hexdigest(), shown(value))

    def has(self, category: str, name: str) -> bool:
        """Return whether there is such an ingredient already."""
        return (category, name) in self._ingredients

    def finish(self) -> CacheKey:
        """Follow what was reached, add the versions, and return the key. Raises :class:`Unhashable`."""
        while self._pending or self._follow_patches():
            while self._pending:
                self._pending.popleft()()
        if self._root is not None and self._reads_names:  # a helper may be given the function, and read its name
            self.add_value("attribute", "__name__", self._root.__qualname__)
        for module in self.imports.local.values():
            self.add("module", module.name, module.digest, module.path)
        for name, version in versions_of(self.imports.installed):
            self.add("distribution", name, self._text_digest(version), version)
        if not self.has("interpreter", "python"):
            self.add("interpreter", "python", self._text_digest(interpreter_text()), interpreter_text())
        self.add("schema", "", self._text_digest(str(SCHEMA_VERSION)), str(SCHEMA_VERSION))
        return CacheKey.of(self._ingredients.values())

    def _text_digest(self, text: str) -> str:
        form = self.form("")
        form.value(text)
        return form.hexdigest()

    # -- references from values ---------------------------------------------------------------------------------------

    def set_root(self, function: types.FunctionType) -> None:
        """Make a function the one that the job calls; its name is not in the key."""
        self._root = function
        self._labels[id(function)] = ""
        self._kept.append(function)
        self._pending.append(lambda: self._add_function("", function))

    def refer_to_function(self, function: types.FunctionType, form: Form) -> None:
        """Write a reference: a label of local code, the name of an installed function, the content of a made one."""
        module = function.__module__
        if origin_of_function(function) == LOCAL:
            form.tag("function")
            form.tag(self._label(function, self._add_function))
            return
        if function is os.getenv:
            self.refer_to_environment(form)
        self._refer_to_installed(module)
        form.tag("installed function")
        form.tag(f"{module}.{function.__qualname__}")
        if found_by_name(module, function.__qualname__) is not function and not form.is_known(function):
            write_bytecode(function.__code__, form)
            cells = [_content(cell) for cell in function.__closure__ or ()]
            form.items((cells, function.__defaults__, function.__kwdefaults__))
            form.pairs(function.__dict__.items())

    def refer_to_class(self, cls: type, form: Form) -> None:
        """Write a reference: a label of a local class, or the name of an installed one."""
        module, qualname = cls.__module__, cls.__qualname__
        if not isinstance(module, str):  # of a compiled extension
            form.tag(repr(cls))  # type: ignore[unreachable]
            return
        if module != "__main__" and origin_of_module(module) != LOCAL and found_by_name(module, qualname) is cls:
            self._refer_to_installed(module)
            form.tag("installed class")
            form.tag(f"{module}.{qualname}")
            return
        form.tag("class")
        form.tag(self._label(cls, self._add_class))

    def refer_to_module(self, module: types.ModuleType, form: Form) -> None:
        """Write the name of a module, and add its source or its distribution; one without a file counts by content."""
        name = module.__name__
        form.tag("module")
        form.tag(name)
        if name == "__main__":
            return
        if file_of(module) is None and origin_of_module(name) == LOCAL:
            if not form.is_known(module):
                form.pairs([(key, one) for key, one in vars(module).items() if not key.startswith("__")], ".{}")
            return
        self.imports.add(name)

    def refer_to_environment(self, form: Form) -> None:
        """Note that variables of the environment are read; the declared ones are ingredients."""
        form.tag("environment")
        self.environment_reader = self.environment_reader or self._at or form.label

    def _refer_to_installed(self, module: str | None) -> None:
        if module and origin_of_module(module) != STANDARD:
            self.imports.add(module)

    def _label(self, code: Any, add: Callable[[str, Any], None]) -> str:
        label = self._labels.get(id(code))
        if label is None:
            base = label = code.__qualname__.rpartition("<locals>.")[2]
            count = 1
            taken = set(self._labels.values())
            while label in taken:
                count += 1
                label = f"{base}~{count}"
            self._labels[id(code)] = label
            self._kept.append(code)
            self._pending.append(lambda: add(label, code))
        return label

    # -- functions ----------------------------------------------------------------------------------------------------

    def _add_function(self, label: str, function: types.FunctionType) -> None:
        code = function.__code__
        self._at = function.__qualname__
        form = self.form(f"code {label}")
        calls_itself = function.__globals__.get(code.co_name) is function
        node = function_node(code)
        if node is not None:
            reads_name = write_function_node(node, form, code.co_name if calls_itself else None)
        else:
            reads_name = write_bytecode(code, form)
        form.items((code.co_freevars, self._namespace(function.__globals__)))
        form.value(function.__qualname__ if reads_name else None)
        self._reads_names |= reads_name
        self._write_annotations(function, form)
        self.add("code", label, form.hexdigest(), function.__qualname__)
        positional = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        named = [*zip(positional[len(positional) - len(defaults) :], defaults, strict=True)]
        for name, value in (*named, *(function.__kwdefaults__ or {}).items()):
            self.add_value("default", f"{label}({name})", value)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.add_value("closure", f"{label}[{name}]", _content(cell), label=name)
        for name, value in function.__dict__.items():
            self.add_value("closure", f"{label}.{name}", value)
        self.add_reached(code, function.__globals__, of=function)

    def add_reached(
        self, code: types.CodeType, namespace: Mapping[str, Any], *, of: Any = None, known: Iterable[str] = ()
    ) -> None:
        """Add what ``code`` reads from its module, without the names in ``known``, and what it imports."""
        reached = reached_by(code)
        for name, chains in reached.names.items():
            if name not in known and namespace.get(name, self) is not of:
                self._add_global(namespace, name, chains)
        self.add_imports(reached.imports, namespace.get("__package__"))

    def add_imports(self, imports: Iterable[ImportedName], package: Any) -> None:
        """Add what import statements name."""
        self.imports.add_imports(imports, package if isinstance(package, str) else None)

    def _write_annotations(self, function: types.FunctionType, form: Form) -> None:
        """Write the classes that annotations name, because some libraries act on them; the text is in the tree."""
        try:
            annotations = inspect.get_annotations(function)
        except Exception:  # noqa: BLE001 (they may be evaluated now, and name what does not exist)
            return
        for name, value in annotations.items():
            if isinstance(value, type):
                form.tag(name)
                self.refer_to_class(value, form)

    def _add_global(self, namespace: Mapping[str, Any], name: str, chains: Iterable[tuple[str, ...]]) -> None:
        module = self._namespace(namespace)
        if not module and name in OF_THE_KERNEL:
            return
        full = f"{module}.{name}" if module else name
        if name not in namespace and getattr(builtins, name, None) is not None:
            value = getattr(builtins, name)
            if not isinstance(value, types.FunctionType):
                return  # of the interpreter
        else:
            value = namespace.get(name, self)
        if value is self:
            self.add_value("global", full, UNBOUND)
            return
        if isinstance(value, types.ModuleType):
            for chain in chains:
                self.add_attribute(value, chain)
        if self.has("global", full):
            return
        try:
            self.add_value("global", full, value)
        except Unhashable:
            if not self._is_importable(module, namespace):
                raise
            # The job imports the module, and so makes this value again; the source of the module is in the key.
            form = self.form(f"global {full}")
            form.tag("made by the import")
            form.tag(type_name(value))
            self.add("global", full, form.hexdigest())

    def _is_importable(self, module: str, namespace: Mapping[str, Any]) -> bool:
        found = sys.modules.get(module)
        return found is not None and vars(found) is namespace and file_of(found) is not None

    def _namespace(self, namespace: Mapping[str, Any]) -> str:
        """Return the name of a module's globals: empty for the notebook's."""
        known = self._namespaces.get(id(namespace))
        if known is None:
            name = str(namespace.get("__name__", "__main__"))
            base = known = "" if name == "__main__" else name
            count = 1
            while known in self._namespaces.values():
                count += 1
                known = f"{base}~{count}"
            self._namespaces[id(namespace)] = known
            self._kept.append(namespace)
            found = sys.modules.get(name)
            if found is not None and vars(found) is namespace and base:
                self.imports.add(name)
        return known

    # -- attributes of modules ----------------------------------------------------------------------------------------

    def add_attribute(self, module: types.ModuleType, chain: tuple[str, ...]) -> None:
        """Add the first thing that is no module on a chain of attributes, so that a replaced one is noticed."""
        name, value = follow(module, chain)
        if value is None or self.has("attribute", name):
            return
        form = self.form(f"attribute {name}")
        try:
            write_attribute(name, value, form)
        except Unhashable:
            form.tag(type_name(value))
        self.add("attribute", name, form.hexdigest(), shown(value))

    def _follow_patches(self) -> bool:
        """Add functions of the user's that replaced some of an installed library; return whether there are new ones."""
        tops = self.imports.installed - self._looked_for_patches
        self._looked_for_patches |= tops
        for name, function in replaced_functions(tops):
            form = self.form("")
            self.refer_to_function(function, form)
            self.add("attribute", name, form.hexdigest())
        return bool(self._pending)

    # -- classes ------------------------------------------------------------------------------------------------------

    def _add_class(self, label: str, cls: type) -> None:
        form = self.form(f"class {label}")
        self._at = cls.__qualname__
        self.refer_to_class(type(cls), form)
        for base in cls.__bases__:
            self.refer_to_class(base, form)
        for name, value in vars(cls).items():
            if name in _CLASS_INTERNALS:
                continue
            form.tag(name)
            try:
                form.value(value)
            except Unhashable as error:
                raise error.within(f"{label}.{name}") from None
        self.add("code", label, form.hexdigest(), cls.__qualname__)
        if self._is_importable(cls.__module__, vars(sys.modules.get(cls.__module__, types))):
            self.imports.add(cls.__module__)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned yet
        return UNBOUND
