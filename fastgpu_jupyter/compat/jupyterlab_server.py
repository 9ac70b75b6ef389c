"""The language that the user chose in JupyterLab: jupyterlab_server keeps it in a private attribute.

Seen in jupyterlab_server 2.28: each load of the page asks for the translations of the user's language, and
``translator.set_locale`` records it. Before that it is the locale of the server's process.
"""

from __future__ import annotations

import sys


def locale() -> str | None:
    """Return the locale of JupyterLab, such as ``zh_CN``; None where this process serves no JupyterLab."""
    module = sys.modules.get("jupyterlab_server.translation_utils")
    found = getattr(getattr(module, "translator", None), "_LOCALE", None)
    return found if isinstance(found, str) else None
