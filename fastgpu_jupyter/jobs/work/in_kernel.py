"""What a job does inside the kernel that runs its cell: inputs go in, outputs come out, and files are watched.

The work process calls these functions as expressions, so that the cell finds no other names than its inputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from ...errors import FastGPUError, InvalidRequest, Message
from ...messages import text_of, view_of
from ..progress import watch_tqdm
from ..results import ResultStore, open_own
from ..results.values import type_name
from .audit import Opened, watch
from .seeding import seed_generators

#: Kept while the kernel lives: what it wrote is not evicted before the result is complete.
_stores: list[ResultStore] = []
_watched: list[Opened] = []


def begin(declared: list[str] | None, ignored: list[str], log: str) -> str:
    """Report progress bars, seed generators where that was asked for, and record what is opened.

    What is opened beside ``declared`` is recorded unless that is None.
    """
    watch_tqdm()
    seed_generators()
    if declared is not None:
        _watched.append(watch(declared, ignored=ignored, log=Path(log)).__enter__())
    return "{}"


def opened() -> str:
    """Return a JSON object with what this kernel has opened since :func:`begin`."""
    return json.dumps({"opened": _watched.pop().end() if _watched else None})


def load(namespace: MutableMapping[str, Any], path: str, sha256: str) -> str:
    """Put the named inputs of the cell into ``namespace``; return a JSON object with an error, or without one."""
    try:
        content = _checked(Path(path), sha256)
        namespace.update(pickle.loads(content))  # noqa: S301 (the user's own file, with the checksum of the submission)
    except FastGPUError as error:
        return json.dumps({"error": [type(error).__name__, text_of(error)]})
    except Exception as error:  # noqa: BLE001 (unpickling may raise anything)
        reason = f"{type(error).__name__}: {error}"
        return json.dumps({"error": [type(error).__name__, _text(Message.of("jobs.inputs_unreadable", reason=reason))]})
    return "{}"


def _checked(path: Path, sha256: str) -> bytes:
    with os.fdopen(open_own(path), "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InvalidRequest(Message.of("jobs.inputs_damaged"))
    return content


def keep(namespace: MutableMapping[str, Any], names: list[str], folder: str) -> str:
    """Store the named outputs of the cell; return a JSON object with those, the undefined ones, and an error."""
    store = ResultStore(Path(folder))
    _stores.append(store)
    values: dict[str, Any] = {}
    error: list[str] | None = None
    for name in names:
        if name not in namespace:
            continue
        value = namespace[name]
        try:
            stored = store.put_value(value)
        except FastGPUError as failure:
            error = error or [type(failure).__name__, _text(_not_kept(name, failure))]
            continue
        values[name] = {"digest": stored.digest, "bytes": stored.bytes, "type": type_name(value)}
    undefined = [name for name in names if name not in namespace]
    return json.dumps({"values": values, "undefined": undefined, "error": error})


def _not_kept(name: str, failure: FastGPUError) -> Message:
    return Message.of("jobs.output_not_kept", name=name, reason=failure.message)


def _text(message: Message) -> str:
    return str(view_of(message)["text"])
