"""What a user declares: files by content, variables of the environment, seed, model of the GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ...errors import InvalidRequest, Message
from ..results.files import digest_of, opened_regular
from .canonical import Form
from .distributions import inventory_of
from .ingredients import Declared, Environment
from .limits import Unhashable, too_many, unreadable
from .making import Making

#: A folder that is declared may have so many files.
_FILES_MAX = 100_000


def add_declared(making: Making, declared: Declared, environment: Environment | None) -> None:
    """Add what was declared, and the interpreter of the job. Raises :class:`Unhashable` for what cannot be read."""
    variables = os.environ if environment is None else environment["variables"]
    folder = Path.cwd() if environment is None else Path(environment["cwd"])
    for name in declared.files:
        add_file(making, name, folder / Path(name).expanduser())
    for name in declared.variables:
        form = making.form(f"variable {name}")
        form.value(variables.get(name))
        making.add("variable", name, form.hexdigest())  # without its value, which may be a secret
    for category in ("seed", "gpu_model", "key"):
        value = getattr(declared, category)
        if value is not None:
            making.add_value(category, "", value)
    if declared.save:
        making.add_value("save", "", sorted(declared.save))
    if environment is not None:
        add_interpreter(making, environment["interpreter"])


def add_interpreter(making: Making, interpreter: str) -> None:
    """Add the version of an interpreter that is not this one, and of every distribution that it has."""
    if interpreter == sys.executable:
        return
    try:
        inventory = inventory_of(interpreter)
    except (OSError, ValueError) as error:
        raise unreadable(str(error)[:200]).within(interpreter) from None
    for name, version in inventory.items():
        category = "distribution" if name else "interpreter"
        making.add_value(category, name or "python", version)


def add_file(making: Making, name: str, path: Path) -> None:
    """Add a file, or all files of a folder, by content."""
    form = making.form(f"file {name}")
    try:
        if path.is_dir():
            found = sorted(one for one in path.rglob("*") if one.is_file())
            if len(found) > _FILES_MAX:
                raise too_many(_FILES_MAX)
            form.tag("folder", len(found))
            for one in found:
                form.value(one.relative_to(path).as_posix())
                _write_file(one, form)
        else:
            _write_file(path, form)
    except OSError as error:
        raise unreadable(error.strerror or str(error)).within(name) from None
    except InvalidRequest:
        raise Unhashable(lambda wrong: Message.of("cache.no_regular_file", name=wrong)).within(name) from None
    except Unhashable as error:
        raise error.within(name) from None
    making.add("file", name, form.hexdigest(), str(path))


def _write_file(path: Path, form: Form) -> None:
    with opened_regular(path) as descriptor:
        form.budget.spend_bytes(os.fstat(descriptor).st_size)
        form.tag(digest_of(descriptor))
