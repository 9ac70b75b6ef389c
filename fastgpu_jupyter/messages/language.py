"""The language of the sentences that this process shows its user.

Each process chooses it once, at its edge: the command line and the kernel by :func:`preferred`. A process that chooses
none, such as the pool manager, writes English. What crosses a process boundary is a code with parameters and the
English sentence, whatever the language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ENGLISH = "en"
#: The variable that chooses the language before those of the system.
VARIABLE = "FASTGPU_LANGUAGE"
#: The variables that POSIX and gettext have for the language of messages, in their order.
_SYSTEM = ("LC_ALL", "LC_MESSAGES", "LANG")
#: Language -> the names of locales that it is for, without encoding and in lower case. English is for all others.
_LOCALES = {"zh_CN": re.compile(r"zh(_(cn|sg|my|hans(_\w+)?))?")}
#: The languages that have a catalogue; :data:`ENGLISH` is the source of the others.
LANGUAGES = (ENGLISH, *_LOCALES)

_current = ENGLISH


def use(language: str) -> None:
    """Show sentences in ``language``, one of :data:`LANGUAGES`, from now on."""
    global _current  # noqa: PLW0603 (a process has one user, and a sentence may be needed anywhere)
    _current = language if language in LANGUAGES else ENGLISH


def current() -> str:
    """Return the language of this process."""
    return _current


def preferred(environ: Mapping[str, str]) -> str:
    """Return the language that the environment of a process asks for; English where it has none that is known."""
    if environ.get(VARIABLE):
        return of_locale(environ[VARIABLE])
    system = next(filter(None, map(environ.get, _SYSTEM)), "")
    # As in gettext: a list, which counts unless the locale is the one without a language.
    listed = environ.get("LANGUAGE", "").split(":")[0] if system.partition(".")[0] not in ("", "C", "POSIX") else ""
    return of_locale(listed or system)


def of_locale(name: str) -> str:
    """Return the language for a locale such as ``zh_CN.UTF-8``, ``zh-Hans`` or ``de``."""
    plain = re.split("[.@]", name, maxsplit=1)[0].replace("-", "_").lower()
    return next((language for language, names in _LOCALES.items() if names.fullmatch(plain)), ENGLISH)
