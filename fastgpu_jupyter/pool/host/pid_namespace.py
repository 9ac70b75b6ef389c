"""Whether the process numbers here are those of the whole machine, by which drivers name processes."""

from __future__ import annotations

import os
from pathlib import Path

#: The name of the PID namespace of the whole machine, fixed in Linux.
FIRST = "pid:[4026531836]"
_LINK = Path("/proc/self/ns/pid")


def is_first(link: Path = _LINK) -> bool | None:
    """Return whether this process is in the machine's own PID namespace, and not in one of a container.

    Elsewhere a number of the driver's is another process here, or none. ``None``: it cannot be known.
    """
    try:
        return os.readlink(link) == FIRST  # noqa: PTH115 (it points to no path)
    except OSError:
        return None
