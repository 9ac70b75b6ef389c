"""The version that pool manager, Jupyter server, kernel and page state in each exchange.

Two versions understand each other if their interface has the same number. It is raised by a change after which one side
could not read what the other sends; a new field is no such change, because fields that are not known are ignored.

This module imports little, because the kernel imports it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import __version__
from ..errors import Message

#: The number of the interface between the processes, and between the Jupyter server and the page.
INTERFACE = 2
#: The number for a FastGPU from before versions were stated.
UNSTATED = 1
#: The header of requests and answers that states the version.
HEADER = "FastGPU-Version"

_STATED = re.compile(r"([0-9A-Za-z.+!_-]{1,64}); interface=([0-9]{1,6})")


class StatedVersion(NamedTuple):
    """A version of FastGPU as one process states it to another."""

    version: str | None  #: None if it is not known
    interface: int

    @property
    def fits(self) -> bool:
        """Return whether this process and that one understand each other."""
        return self.interface == INTERFACE

    def __str__(self) -> str:
        """Return the version as a part of a sentence."""
        return f"FastGPU {self.version or '(older than 0.1.0)'} (interface {self.interface})"


OURS = StatedVersion(__version__, INTERFACE)


def stated() -> str:
    """Return what this process states in the header or the variable."""
    return f"{__version__}; interface={INTERFACE}"


def read(text: str | None) -> StatedVersion:
    """Return the version that another process stated; what it did not, or not like that, is of before."""
    found = _STATED.fullmatch(text or "")
    return StatedVersion(found[1], int(found[2])) if found else StatedVersion(None, UNSTATED)


def difference_from_pool(path: str, theirs: StatedVersion) -> Message:
    """Return the sentence that a pool manager and this process do not understand each other, and what to do."""
    pool, ours = str(theirs), str(OURS)
    if theirs.interface < INTERFACE:
        return Message.of("version.of_older_pool", path=path, pool=pool, ours=ours)
    return Message.of("version.of_newer_pool", path=path, pool=pool, ours=ours)


def difference_from_server(theirs: StatedVersion) -> Message:
    """Return the sentence that a Jupyter server and the kernel that it started here do not understand each other."""
    return Message.of("version.of_server", server=str(theirs), ours=str(OURS))


def difference_in_status(pool_version: str) -> Message | None:
    """Return the sentence that a pool manager, which this process understands, is of another version; else None."""
    if pool_version == __version__:
        return None
    return Message.of("version.differs", pool=pool_version, ours=__version__)
