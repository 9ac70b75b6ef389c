"""Which kernelspecs were used in the last days, kept for the next Jupyter server of this user.

The file names kernelspecs and variables that hide devices, nothing else: the environment of a start is that of the
server which prepares it. Several servers write it; of two that write at once, one is forgotten, which costs a cold
start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..wire.locate import user_state_dir
from ..wire.private_files import write_private

#: Uses that are older are forgotten, and so are all but the latest kernelspecs.
DAYS_MAX, KERNELSPECS_MAX = 7, 8
#: The use of one kernelspec is written again after this time only.
REPEAT_S = 3600.0
_BYTES_MAX = 2**16


class RecentStart(NamedTuple):
    """The use of a kernelspec."""

    kernelspec: str
    used_at_s: float  #: by the clock, in seconds since 1970
    hidden: Mapping[str, str]  #: variables with which a process sees no device


def path() -> Path:
    """Return the path of the file, whether or not it exists."""
    return user_state_dir() / "recent-starts.json"


def read(now_s: float | None = None) -> list[RecentStart]:
    """Return the uses of the last days, the latest last; none where the file is damaged or not there."""
    now_s = time.time() if now_s is None else now_s
    try:
        with path().open("rb") as file:
            found = json.loads(file.read(_BYTES_MAX))
        starts = [_start(one) for one in found]
    except (OSError, ValueError, TypeError, LookupError):
        return []
    recent = (one for one in starts if 0 <= now_s - one.used_at_s <= DAYS_MAX * 86_400)
    return sorted(recent, key=lambda one: one.used_at_s)[-KERNELSPECS_MAX:]


def note(kernelspec: str, hidden: Mapping[str, str], now_s: float | None = None) -> None:
    """Note the use of a kernelspec. Raises :class:`OSError` if the file cannot be written."""
    now_s = time.time() if now_s is None else now_s
    before = read(now_s)
    if any(_is_noted(one, kernelspec, hidden, now_s) for one in before):
        return
    after = [one for one in before if one.kernelspec != kernelspec]
    after = [*after, RecentStart(kernelspec, now_s, dict(hidden))][-KERNELSPECS_MAX:]
    path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path(), json.dumps([one._asdict() for one in after]).encode())


def _is_noted(one: RecentStart, kernelspec: str, hidden: Mapping[str, str], now_s: float) -> bool:
    return one.kernelspec == kernelspec and one.hidden == hidden and now_s - one.used_at_s < REPEAT_S


def _start(found: Any) -> RecentStart:
    hidden = {str(name): str(value) for name, value in dict(found["hidden"]).items()}
    return RecentStart(str(found["kernelspec"]), float(found["used_at_s"]), hidden)
