"""The notebook and the kernel that submit a job."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

#: The variable in which a Jupyter server names the notebook of a kernel.
SESSION_VARIABLE = "JPY_SESSION_NAME"
_CONNECTION_FILE = re.compile(r"kernel-([0-9a-f-]{36})\.json")


class Origin(NamedTuple):
    """The notebook and the kernel that submit a job; None where there is none."""

    notebook: str | None = None
    kernel_id: str | None = None

    @classmethod
    def of_process(cls) -> Origin:
        """Return those of this process, as far as it knows them: a kernel that a server started knows both."""
        ipython = sys.modules.get("IPython")
        kernel = getattr(ipython.get_ipython() if ipython is not None else None, "kernel", None)
        if kernel is None:
            return cls()
        path = getattr(getattr(kernel, "parent", None), "connection_file", "") or ""
        match = _CONNECTION_FILE.fullmatch(Path(path).name)
        return cls(os.environ.get(SESSION_VARIABLE) or None, match[1] if match else None)


NO_ORIGIN = Origin()
