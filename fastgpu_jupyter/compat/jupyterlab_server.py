"""The language that the user chose in JupyterLab, and the translations of the extension's settings.

jupyterlab_server keeps the language in a private attribute, and translates schemas of settings by catalogues of the
language packs only (``jupyterlab_language_pack_zh_CN``), not by those that extensions bring along for the page. Seen in
jupyterlab_server 2.28: each load of the page asks for the translations of the user's language, and
``translator.set_locale`` records it and updates all bundles. Before that it is the locale of the server's process.
"""

from __future__ import annotations

import gettext
import json
import sys
from pathlib import Path
from typing import Any


def locale() -> str | None:
    """Return the locale of JupyterLab, such as ``zh_CN``; None where this process serves no JupyterLab."""
    found = getattr(_translator(), "_LOCALE", None)
    return found if isinstance(found, str) else None


def translate_schemas(domain: str, folder: Path) -> bool:
    """Translate schemas whose domain is ``domain`` by the catalogues that JupyterLab's page loads from ``folder``.

    The catalogue of a language pack goes first. Returns whether this process serves JupyterLab and its translator is as
    it is known here; otherwise settings stay English.
    """
    translator, module = _translator(), sys.modules.get(_MODULE)
    bundles = getattr(translator, "_TRANSLATORS", None)
    base = getattr(module, "TranslationBundle", None)
    if not isinstance(bundles, dict) or not isinstance(base, type):
        return False

    class Bundle(base):  # type: ignore[misc, valid-type]
        """The translations of a language pack, or else those of the extension."""

        def update_locale(self, locale_: str) -> None:
            self._translator: gettext.NullTranslations
            super().update_locale(locale_)
            if type(self._translator) is gettext.NullTranslations:  # no language pack has the domain
                self._translator = Catalogue(folder / locale_ / "LC_MESSAGES" / f"{domain}.json")

    bundles[domain] = Bundle(domain, locale() or "en")
    return True


class Catalogue(gettext.NullTranslations):
    """A catalogue of the page: a list of forms by the text, or by context, U+0004 and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self._forms: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # there is none for this language
            self._forms = {}

    def gettext(self, message: str) -> str:
        """Return the translation of a text, or the text."""
        return str(self._forms.get(message, [message])[0])

    def pgettext(self, context: str, message: str) -> str:
        """Return the translation of a text in a context, or the text."""
        return str(self._forms.get(f"{context}\x04{message}", [message])[0])


_MODULE = "jupyterlab_server.translation_utils"


def _translator() -> Any:
    """Return JupyterLab's translator, None where this process serves no JupyterLab."""
    return getattr(sys.modules.get(_MODULE), "translator", None)
