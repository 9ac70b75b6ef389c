"""The ``%fastgpu`` line magic: it looks a verb up in the table of :mod:`.verbs`, runs it and displays the answer."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ..errors import FastGPUError
from ..messages import language, say, text_of
from . import completion
from .gate import Gate
from .verbs import VERBS, Context, usage

if TYPE_CHECKING:
    from .render import Rendered


def run(context: Context, line: str) -> Rendered:
    """Run the verb of ``line`` and return what to show; raise :class:`UsageError` with a sentence where it fails."""
    words = line.partition("#")[0].rstrip(" ;").split()
    name = words[0].lower() if words else ""
    verb = VERBS.get(name)
    if verb is None:
        raise UsageError(f"{_unknown(name)}\n{usage()}")
    if words[1:] and not verb.arguments:
        raise UsageError(say("magic.no_arguments", name=name))
    try:
        return verb.run(context, words[1:])
    except FastGPUError as error:
        # IPython shows a usage error as one line; a traceback of this package would not help the user.
        raise UsageError(text_of(error)) from None


def _unknown(name: str) -> str:
    """Return the sentence about a verb that there is not, with the one that is most like it."""
    near = get_close_matches(name, filter(None, VERBS), n=1)
    if near:
        return say("magic.unknown_verb_near", name=repr(name), near=near[0])
    return say("magic.unknown_verb", name=repr(name))


def run_and_display(context: Context, line: str) -> None:
    """Run the verb of ``line`` and display the answer."""
    run(context, line).show()


def load(shell: Any) -> None:
    """Register ``%fastgpu`` in a kernel that is not FastGPU's, with the verbs that work without a gate."""
    if "fastgpu" in shell.magics_manager.magics.get("line", {}):
        return
    language.use(language.preferred(os.environ))
    gate = Gate.of_kernel_without_gate()
    context = Context(gate, gated=False)

    def fastgpu(line: str) -> None:
        """Show the GPU pool; ``%fastgpu help`` lists the verbs."""
        run_and_display(context, line)

    def fastgpu_cell(line: str, cell: str) -> None:
        """Run a cell as a job on a GPU of its own; ``%fastgpu help`` lists the options."""
        from .job_verbs import run_cell  # late: it imports what only jobs need

        run_cell(context, line, cell)

    shell.register_magic_function(fastgpu, "line", "fastgpu")
    shell.register_magic_function(fastgpu_cell, "cell", "fastgpu")
    completion.add_to(shell, gate)
    if gate.lease_id is None:
        print(say("magic.no_gate"))  # noqa: T201 (the answer to %load_ext)
