"""The language of the user of this Jupyter server: that of JupyterLab, which its kernels get as well."""

from __future__ import annotations

from collections.abc import MutableMapping

from ..compat import jupyterlab_server
from ..messages import language


def of_user() -> str:
    """Return the language of the sentences that the user's browser shows."""
    return language.of_locale(jupyterlab_server.locale() or "")


def set_for_kernel(env: MutableMapping[str, str]) -> None:
    """Let a kernel that is started with ``env`` answer in the language of JupyterLab, unless ``env`` names one."""
    locale = jupyterlab_server.locale()
    if locale is not None:
        env.setdefault(language.VARIABLE, locale)
