"""The file in which a function and its arguments travel to the work process of its job.

It holds three pickles: the folders of ``sys.path``, by which the second one finds its modules, the function with its
arguments, and the source of its cells, for tracebacks. Functions and classes of ``__main__`` and of local modules,
which belong to no installed distribution, are pickled by value: they run as they were when the call was submitted,
whatever becomes of their files.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import linecache
import os
import pickle
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, Any, NamedTuple

import cloudpickle

from ..errors import Forbidden, Message
from .call_failures import DamagedCall, UnpicklableCall
from .results import open_own, private_opener

PROTOCOL = 5
_OWN_PACKAGE = __name__.partition(".")[0]
#: Folders whose modules the work process imports, because its interpreter is the same.
_INSTALLED = tuple(
    f"{os.path.realpath(folder)}{os.sep}"
    for folder in {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
)
_INSTALLED_PARTS = ("site-packages", "dist-packages")
#: The registry of cloudpickle is one for the whole process.
_registry = threading.Lock()


class FunctionCall(NamedTuple):
    """A function with its arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def write_call(path: Path, call: FunctionCall) -> str:
    """Write the call to a new file and return the SHA-256 of its content, in hexadecimal digits.

    Raises :class:`UnpicklableCall`, which names the argument, and :class:`OSError`.
    """
    with open(path, "xb", opener=private_opener) as file:
        hashing = _HashingFile(file)
        pickle.dump([os.path.abspath(folder) for folder in sys.path], hashing, PROTOCOL)  # noqa: PTH100 (links stay)
        try:
            with _local_modules_by_value():
                pickler = _CallPickler(hashing, PROTOCOL)
                pickler.dump(tuple(call))
        except Exception as error:
            raise UnpicklableCall(_refusal(call, error)) from error
        pickle.dump(_sources(pickler.files), hashing, PROTOCOL)
        return hashing.hexdigest()


def read_call(path: Path, sha256: str) -> FunctionCall:
    """Return the call in a file. Raises :class:`DamagedCall` where its content is another one, before it is unpickled.

    The folders from which the caller imports are appended to ``sys.path``. What importing raises is passed on.
    """
    try:
        with os.fdopen(open_own(path), "rb") as stored:
            content = stored.read()
    except (OSError, Forbidden) as error:
        raise DamagedCall(Message.of("call.damaged", path=str(path))) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedCall(Message.of("call.damaged", path=str(path)))
    file = io.BytesIO(content)
    sys.path.extend(folder for folder in pickle.load(file) if folder not in sys.path)  # noqa: S301 (just verified)
    call = FunctionCall(*pickle.load(file))  # noqa: S301 (just verified)
    linecache.cache.update(pickle.load(file))  # noqa: S301 (just verified)
    return call


def _is_local(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or module.__name__.partition(".")[0] in ("__main__", _OWN_PACKAGE):
        return False
    path = os.path.realpath(file)
    return not path.startswith(_INSTALLED) and not any(part in path for part in _INSTALLED_PARTS)


class _CallPickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Keeps the files of functions that are pickled by value, of which cloudpickle drops the names."""

    def __init__(self, file: _HashingFile, protocol: int) -> None:
        super().__init__(file, protocol)
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is pickled."""
        if isinstance(obj, CodeType):
            self.files.add(obj.co_filename)
            make, arguments = self.dispatch_table[CodeType](obj)[:2]
            return _code_of_file, (make, arguments, obj.co_filename)
        return super().reducer_override(obj)


def _code_of_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    return make(*arguments).replace(co_filename=file)


def _sources(files: Collection[str]) -> dict[str, tuple[int, None, list[str], str]]:
    """Return what :mod:`linecache` knows of cells of notebooks, whose files no other process has."""
    known = {name: linecache.getlines(name) for name in files if not Path(name).exists()}
    return {name: (sum(map(len, lines)), None, lines, name) for name, lines in known.items() if lines}


class _HashingFile:
    """A file that computes the digest of what is written to it, so that large arrays are not copied for that."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.hexdigest = self._hash.hexdigest

    def write(self, data: bytes | memoryview | pickle.PickleBuffer) -> int:
        """Write bytes of any kind."""
        self._hash.update(data)
        return self._file.write(data)


@contextmanager
def _local_modules_by_value() -> Iterator[None]:
    with _registry:
        registered = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in local_modules() if module.__name__ not in registered]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                with suppress(ValueError):
                    cloudpickle.unregister_pickle_by_value(module)


#: Name of a module -> the module for which it was found out, and whether that is local.
_known: dict[str, tuple[ModuleType, bool]] = {}


def local_modules() -> list[ModuleType]:
    """Return the modules of this process that come from files of no installed distribution."""
    found = []
    for name, module in list(sys.modules.items()):
        known = _known.get(name)
        if known is None or known[0] is not module:
            local = getattr(module, "__name__", None) == name and _is_local(module)
            known = _known[name] = (module, local)
        if known[1]:
            found.append(module)
    return found


def _refusal(call: FunctionCall, error: Exception) -> Message:
    """Return which part of a call cannot be sent, and what to do."""
    reason = f"{type(error).__name__}: {error}"
    for name, value in _named(call):
        if not _can_be_sent(value):
            return Message.of("call.argument", name=name, type=type(value).__qualname__, reason=reason)
    return Message.of("call.function", name=name_of(call.function), reason=reason)


def _named(call: FunctionCall) -> Iterator[tuple[str, Any]]:
    """Yield the arguments with the names that the function has for them, or with their numbers."""
    names: Sequence[str] = ()
    with suppress(TypeError, ValueError):
        names = list(inspect.signature(call.function).parameters)
    for number, value in enumerate(call.args):
        yield (names[number] if number < len(names) else f"{number + 1}"), value
    yield from call.kwargs.items()


def _can_be_sent(value: Any) -> bool:
    try:
        with _local_modules_by_value():
            cloudpickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001 (what a user's class raises)
        return False
    return True


def name_of(function: Callable[..., Any]) -> str:
    """Return the name by which a job of the function is shown."""
    if isinstance(function, partial):
        return name_of(function.func)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]
