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

#: Words after ``%%fastgpu`` in the first line of a cell, which say how the rest of it runs.
CELL_VERBS = ("cpu", "profile")
#: Those after which the rest of it runs as a job.
JOB_VERBS = ("job", "compare")
_CELL_VERB = re.compile(rf"\ufeff?\s*%%fastgpu[ \t]+({'|'.join(CELL_VERBS)})[ \t]*(?:\#.*)?(?:\n|\Z)", re.IGNORECASE)


def cell_verb(code: str) -> str | None:
    """Return the verb of a cell that begins with ``%%fastgpu`` and one of :data:`CELL_VERBS`; None for another."""
    match = _CELL_VERB.match(code)
    return match[1].lower() if match else None


def without_cell_verb(lines: list[str]) -> list[str]:
    """Return the lines of a cell without that first line, which IPython cannot run; the others keep their numbers.

    They do not where another magic of a cell follows, because that must be in the first line.
    """
    found = _CELL_VERB.match("".join(lines))
    if found is None:
        return lines
    rest = "".join(lines)[found.end() :].splitlines(keepends=True)
    return rest if rest and rest[0].startswith("%%") else ["\n" * found[0].count("\n"), *rest]


#: The first line of a cell that runs as a job: the kernel only submits it.
_JOB_CELL = re.compile(rf"\ufeff?\s*%%fastgpu[ \t]+({'|'.join(JOB_VERBS)})(?:\s|\Z)", re.IGNORECASE)


def only_asks(code: str) -> bool:
    """Return whether a cell runs nothing here.

    It has nothing but comments, help, ``%fastgpu`` lines and the widget, or nothing at all, or it becomes a job.
    """
    if _JOB_CELL.match(code):
        return True
    lines = code.lstrip("\ufeff").splitlines()
    if lines and _AROUND.fullmatch(lines[0].strip()):
        del lines[0]
    return all(_ASKING.fullmatch(line.strip()) for line in lines)
