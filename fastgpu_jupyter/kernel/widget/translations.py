"""The translations for the widget's module where it has no page to take them from."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ...messages.language import ENGLISH

#: What JupyterLab loads for its page; see ``pyproject.toml``.
LOCALES = Path(__file__).parents[2] / "locale"
#: Characters that a literal of the module may have in another form.
_ESCAPED = re.compile(r"['\"`\\$\n]")


def translations_for(module: str, language: str) -> dict[str, list[str]]:
    """Return the translations of the texts of a module in that language; none for English, or without a catalogue."""
    if language == ENGLISH:
        return {}
    try:
        content = (LOCALES / language / "LC_MESSAGES/fastgpu_jupyter.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    catalogue: dict[str, list[str]] = json.loads(content)
    texts = ((key, key.rpartition("\x04")[2], forms) for key, forms in catalogue.items())
    return {key: forms for key, text, forms in texts if text and (_ESCAPED.search(text) or text in module)}
