"""Completion of ``%fastgpu``: its verbs, the sizes that can be had, and the options of a request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import FastGPUError
from ..wire.options import OPTIONS
from .cell_kinds import CELL_VERBS, JOB_VERBS
from .gate import Gate
from .verbs import VERBS

#: How long a completion waits for the sizes; later ones find them.
WAIT_S = 0.2
#: How long sizes count as known.
KNOWN_FOR_S = 5.0
#: Sizes for every pool, where it does not answer.
PROFILES = ("full", "half", "quarter", "eighth")


class Sizes:
    """The sizes that this kernel's lease, or a new one, can have now, as far as they are known."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._known: tuple[str, ...] = PROFILES
        self._asked_at = -KNOWN_FOR_S
        self._asking: threading.Thread | None = None

    def names(self) -> tuple[str, ...]:
        """Return the sizes; wait at most :data:`WAIT_S` for an answer of the pool manager."""
        if time.monotonic() - self._asked_at >= KNOWN_FOR_S and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, name="fastgpu-sizes", daemon=True)
            self._asking.start()
        if self._asking is not None:
            self._asking.join(WAIT_S)
        return self._known

    def _ask(self) -> None:
        try:
            options = self._gate.pool.quick().sizes(self._gate.lease_id)["options"]
        except (FastGPUError, OSError):
            return
        self._known = tuple(option["size"] for option in options if option["effect"] != "unavailable") or PROFILES
        self._asked_at = time.monotonic()


def add_to(shell: Any, gate: Gate) -> None:
    """Complete ``%fastgpu`` and ``%%fastgpu`` in a shell that is not that of a FastGPU kernel."""
    sizes = Sizes(gate)

    def completions(_shell: Any, event: Any) -> list[str]:
        return complete(event.text_until_cursor, event.symbol, sizes.names, lambda: variables_of(shell))

    for magic in ("%fastgpu", "%%fastgpu"):
        shell.set_hook("complete_command", completions, str_key=magic)


def variables_of(shell: Any) -> list[str]:
    """Return the names that the user of a notebook has given to values."""
    return [name for name in shell.user_ns if not name.startswith("_") and name not in shell.user_ns_hidden]


def complete(
    line: str, symbol: str, sizes: Callable[[], tuple[str, ...]], variables: Callable[[], list[str]] = list
) -> list[str]:
    """Return what may stand in place of ``symbol``, the last word of ``line``, which is up to the cursor.

    ``variables`` returns the names of the notebook, for the inputs and outputs of a job.
    """
    words = line.split()
    before = words[1 : -1 if symbol and words and words[-1].endswith(symbol) else None]
    if line.lstrip().startswith("%%"):
        if not before:
            return [*CELL_VERBS, *JOB_VERBS]
        return _of_job(before, sizes, variables) if before[0].lower() in JOB_VERBS else []
    if not before:
        return [name for name in VERBS if name]
    verb = VERBS.get(before[0].lower())
    if verb is None or not verb.arguments:
        return []
    option = OPTIONS.get(before[-1].removeprefix("--")) if before[-1].startswith("--") else None
    if option is not None and option.argument:
        return option.argument.split("|") if "|" in option.argument else []
    found = list[str]()
    if verb.name in ("request", "resize") and all(word.startswith("--") for word in before[1:]):
        found += sizes()
    if verb.name == "request":
        given = {word.partition("=")[0] for word in before}
        found += [f"--{name}" for name in OPTIONS if f"--{name}" not in given]
    return found


def _of_job(before: list[str], sizes: Callable[[], tuple[str, ...]], variables: Callable[[], list[str]]) -> list[str]:
    """Return what may follow the words ``before`` in the first line of a job's cell."""
    from ..jobs import words

    # A list of names goes on after its last comma.
    last = before[-2] if before[-1].endswith(",") and len(before) > 1 else before[-1]
    name = last.removeprefix("--") if last.startswith("--") else ""
    argument = words.argument_of(name) if name else None
    if argument:
        if name in ("in", "out"):
            return variables()
        return list(sizes()) if name == "size" else argument.split("|") if "|" in argument else []
    given = {word.partition("=")[0] for word in before}
    options = [f"--{one}" for one in words.names() if f"--{one}" not in given]
    return options if any(word.startswith("--") for word in before) else [*sizes(), *options]
