"""The logo of a twin: the logo of its source with the size on it."""

from __future__ import annotations

import base64
from pathlib import Path
from xml.sax.saxutils import escape

#: Front ends use the first of these that a kernelspec has.
_LOGOS = {"logo-svg.svg": "image/svg+xml", "logo-64x64.png": "image/png", "logo-32x32.png": "image/png"}
TWIN_LOGO = "logo-svg.svg"
#: Text of more characters is squeezed into the width of the badge.
_CHARACTERS_MAX = 7


def logo_with_label(folder: Path, label: str) -> str:
    """Return the logo of the kernelspec in ``folder`` as SVG, with ``label`` on a badge across its lower edge.

    Where there is no logo, the badge is on a plain square. The logo is embedded, because an SVG that is used as an
    image loads nothing.
    """
    name = next((name for name in _LOGOS if (folder / name).is_file()), None)
    if name is None:
        picture = '<rect width="64" height="64" rx="8" fill="#616161"/>'
    else:
        data = base64.b64encode((folder / name).read_bytes()).decode()
        picture = f'<image width="64" height="64" href="data:{_LOGOS[name]};base64,{data}"/>'
    squeeze = ' textLength="58" lengthAdjust="spacingAndGlyphs"' if len(label) > _CHARACTERS_MAX else ""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="64" height="64">\n'
        f"{picture}\n"
        '<rect y="44" width="64" height="20" rx="3" fill="#1b5e20"/>\n'
        '<text x="32" y="59" font-family="sans-serif" font-weight="bold" font-size="14" fill="#ffffff" '
        f'text-anchor="middle"{squeeze}>{escape(label)}</text>\n'
        "</svg>\n"
    )
