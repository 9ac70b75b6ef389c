"""Which cells only ask something: they neither wait for a GPU nor count as use of it."""

from __future__ import annotations

import re

_NAME = r"%{0,2}[\w.*]+(?:\[[\w'\"-]*\])*"
#: Lines of such a cell, stripped.
_ASKING = re.compile(
    rf"""
    (?: \#.*                                    # a comment
      | %fastgpu (?: [\s;?] .* )?
      | !\s*jupyter[\s-]fastgpu\b [^;&|`$<>]*   # the same as a command
      | \?{{1,2}} \s* {_NAME}                   # help, in the forms of IPython
      | {_NAME} \?{{1,2}} ;?
      | \?
      | from \s+ fastgpu_jupyter \s+ import \s+ [\w, ]+   # the widget is shown while its lease waits, too
      | (?: \w+ \s* = \s* )? (?: fastgpu_jupyter\. )? GPUWidget\(\)
      | %(?: lsmagic | magic | quickref | pinfo2? | pdoc | pdef | psource | pfile )\b .*
    )?
    """,
    re.VERBOSE,
)
#: First lines of a cell that say what to do with the rest of it.
_AROUND = re.compile(r"%%(?:time|capture)\b.*")


def only_asks(code: str) -> bool:
    """Return whether a cell has nothing but comments, help, ``%fastgpu`` lines and the widget, or nothing at all."""
    lines = code.lstrip("\ufeff").splitlines()
    if lines and _AROUND.fullmatch(lines[0].strip()):
        del lines[0]
    return all(_ASKING.fullmatch(line.strip()) for line in lines)
