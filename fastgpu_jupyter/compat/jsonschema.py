"""The import of jsonschema, which takes a second where a package is installed for a format that is hardly used."""

from __future__ import annotations

import sys

#: It compiles a grammar of addresses (RFC 3987) when it is imported, and jsonschema does without it.
_SLOW = "rfc3987_syntax"


def import_without_slow_formats() -> None:
    """Let a later import of jsonschema leave out the formats that take long; for a process that checks no addresses."""
    if "jsonschema" not in sys.modules:
        sys.modules.setdefault(_SLOW, None)  # type: ignore[arg-type]  # an import of it raises ImportError
