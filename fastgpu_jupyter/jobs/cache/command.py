"""The key of a command: its words, its program, and what a Python program imports of the user's own modules."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...errors import Message
from .declared import add_file, add_interpreter
from .ingredients import Environment
from .limits import Unhashable
from .making import Making
from .modules import ImportWalk

_PYTHON = re.compile(r"python[0-9.]*")
#: The first line of a script names its interpreter.
_SHEBANG_BYTES = 256


def add_command(making: Making, argv: Sequence[str], environment: Environment | None) -> None:
    """Add a command. Raises :class:`Unhashable` where its program or a file among its words cannot be read."""
    variables = os.environ if environment is None else environment["variables"]
    folder = Path.cwd() if environment is None else Path(environment["cwd"])
    making.add_value("parameter", "arguments", list(argv[1:]))
    found = shutil.which(folder / argv[0] if os.sep in argv[0] else argv[0], path=variables.get("PATH"))
    if found is None:
        raise Unhashable(lambda name: Message.of("cache.no_program", name=name)).within(argv[0])
    program = Path(found)
    add_file(making, argv[0], program.resolve())
    for word in dict.fromkeys(argv[1:]):
        path = folder / word
        if word and path.is_file():
            add_file(making, word, path)
    interpreter = _python_of(program)
    if interpreter is not None:
        add_interpreter(making, interpreter)
        is_python = interpreter == str(program)
        _add_modules(making, argv if is_python else ["python", found, *argv[1:]], folder, variables.get("PYTHONPATH"))


def _python_of(program: Path) -> str | None:
    """Return the Python interpreter that a program is, or that its first line names; ``None`` for any other program."""
    if _PYTHON.fullmatch(program.name):
        return str(program)
    with program.open("rb") as file:
        first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    named = next((word for word in words if _PYTHON.fullmatch(Path(word).name)), None)
    return shutil.which(named) if named else None


def _add_modules(making: Making, argv: Sequence[str], folder: Path, python_path: str | None) -> None:
    """Add the user's modules that a Python program imports, as far as import statements name them."""
    words = [word for word in argv[1:] if not word.startswith("-") or word == "-m"]
    name = words[1] if words[:1] == ["-m"] and len(words) > 1 else None
    script = None if name or not words else folder / words[0]
    first = folder if name or script is None else script.resolve().parent
    more = [str(folder / one) for one in (python_path or "").split(os.pathsep) if one]
    walk = ImportWalk([str(first), *more])
    if name is not None:
        walk.add(f"{name}.__main__")
        walk.add(name)
    elif script is not None and script.suffix == ".py" and script.is_file():
        walk.add(script.stem)
    for module in walk.local.values():
        making.add("module", module.name, module.digest, module.path)
