"""The agent that runs in an engine's job on a node, as one Python source that travels with the job.

Its modules are concatenated, so that names at their top level are unique. They need Python 3.8, the standard library
and pyzmq only, and import nothing of the package.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

#: The modules in the order in which they need one another.
MODULES = ("node", "kernel", "link", "relay", "nvml", "main")
_FUTURE = "from __future__ import annotations\n"
#: Imports of the agent's other modules, which are above in the one source.
_OWN_IMPORT = re.compile(r"^from \.\w+ import (?:\([^)]*\)|.*)\n", re.MULTILINE)
_DOCSTRING = re.compile(r'\A"""(?:.|\n)*?"""\n')


@cache
def source() -> str:
    """Return the agent as one Python module, whose function ``main`` runs it with a specification.

    As a program it reads the specification from standard input.
    """
    folder = Path(__file__).parent
    parts = [_FUTURE]
    for name in MODULES:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        text = _DOCSTRING.sub("", text).replace(_FUTURE, "")
        parts.append(f"\n# {name}\n{_OWN_IMPORT.sub('', text)}")
    return "".join(parts)
