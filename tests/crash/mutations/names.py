"""Mutations of what users read: names are shown and never obeyed, and a twin runs what its source runs."""

from __future__ import annotations

from fastgpu_jupyter import text
from fastgpu_jupyter.cli import kernelspec
from fastgpu_jupyter.kernelspec import command, twin
from tests.cli import test_kernelspec, test_output
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.kernelspec import test_command, test_twin

N = Guarantee.NAMES

MUTATIONS = (
    Mutation(
        "a name commands the terminal",
        N,
        (Edit(text.printable, "text.isprintable()", "True"),),
        Fails(test_output.test_table_has_one_line_for_each_row),
    ),
    Mutation(
        "a name is a formula in a spreadsheet",
        N,
        (Edit(text.spreadsheet_cell, "text.startswith(_FORMULA)", "False"),),
        Fails(test_output.test_csv_cell_of_a_name_is_no_formula),
    ),
    Mutation(
        "a twin hides another kernelspec",
        N,
        (Edit(kernelspec._require_free_name, "not is_fastgpu(there) or ...", "False"),),
        Fails(test_kernelspec.test_name_of_another_kernelspec_is_refused_unless_replaced),
    ),
    Mutation(
        "a twin loses the options of its source",
        N,
        (Edit(twin.twin_of, "_without_size(options)", "{}"),),
        Fails(test_twin.test_twin_keeps_the_options_of_its_source),
    ),
    Mutation(
        "a command that could not be tried is taken for one without the package",
        N,
        (Edit(command._run, '"No module named" in err and ...', "True"),),
        Fails(test_command.test_command_that_cannot_be_tried_leaves_the_gate_unknown),
    ),
)
