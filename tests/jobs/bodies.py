"""Bodies of jobs for tests."""

from __future__ import annotations

import sys
from typing import Any, cast

from fastgpu_jupyter.wire.schemas.jobs import JobBody


def command(*argv: str, **fields: Any) -> JobBody:
    """Return the body of a command; ``priority`` and other fields of the body by name."""
    options = {"priority": fields.pop("priority")} if "priority" in fields else {}
    body = {
        "kind": "command",
        "name": fields.pop("name", "train"),
        "program": {"argv": list(argv) or ["true"]},
        "environment": {"interpreter": sys.executable, "cwd": "/", "variables": {"PATH": "/usr/bin:/bin"}},
        "options": options,
        **fields,
    }
    return cast("JobBody", body)


def function(draft: str, worker: str = "w", **fields: Any) -> JobBody:
    """Return the body of a function call whose draft has the file ``call.pickle``."""
    program = {"call": "call.pickle", "sha256": "0" * 64, "worker": worker, **fields.pop("program", {})}
    return cast("JobBody", {**command(**fields), "kind": "function", "draft": draft, "program": program})
