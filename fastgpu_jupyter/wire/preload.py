"""The modules that a standby kernel imports before a notebook does, and why one of them is not imported there.

A module is imported ahead only if the notebook's own import would find the process the same. This module imports the
standard library only, because the kernel imports it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

MODULES_MAX = 16
_NAME = re.compile(r"[A-Za-z_]\w{0,99}(\.[A-Za-z_]\w{0,99}){0,9}", re.ASCII)


class RefusalReason(StrEnum):
    """Why a module is not imported ahead."""

    NOT_FOUND = "not_found"
    RAISES = "raises"
    EXITS = "exits"
    PRINTS = "prints"
    USES_DEVICES = "uses_devices"  #: it loads the driver of GPUs, which reads once what is visible
    READS_GRANT = "reads_grant"  #: it reads a variable that the hand-over sets
    READS_FOLDER = "reads_folder"  #: it asks for the working directory, which the hand-over sets
    ASKS_SHELL = "asks_shell"  #: it asks for IPython's shell, which a standby kernel does not have yet
    STARTS_THREADS = "starts_threads"
    STARTS_PROCESSES = "starts_processes"
    CHANGES_PROCESS = "changes_process"  #: signals, limits, working directory, hooks of the interpreter
    SEEDS = "seeds"  #: it seeds or uses a global generator of random numbers
    HANGS = "hangs"
    ENDS_PROCESS = "ends_process"


class Refusal(NamedTuple):
    """Why ``module`` is not imported ahead; ``detail`` is a part of the evidence, such as what it prints."""

    module: str
    reason: RefusalReason
    detail: str = ""


def is_module_name(text: object) -> bool:
    """Return whether ``text`` can be the name of a module."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None
