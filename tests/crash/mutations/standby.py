"""Mutations of standby kernels: one becomes a kernel only where a cold start would be the same process."""

from __future__ import annotations

from fastgpu_jupyter.kernel import preload_modules
from fastgpu_jupyter.server import start_match
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.kernel import test_preload_modules
from tests.server import test_start_match

KERNEL = Guarantee.KERNEL

MUTATIONS = (
    Mutation(
        "a standby kernel is used in another environment",
        KERNEL,
        (Edit(start_match._differences, "ready.environment != wanted.environment", "False"),),
        Fails(test_start_match.test_each_variable_counts, "environment", parameters="PYTHONHASHSEED"),
    ),
    Mutation(
        "a standby kernel is used for another command",
        KERNEL,
        (Edit(start_match._differences, "ready.command != wanted.command", "False"),),
        Fails(test_start_match.test_the_command_and_the_modules_count, "command"),
    ),
    Mutation(
        "a standby kernel is used after a package was upgraded",
        KERNEL,
        (Edit(start_match._differences, "file_state(path) != state", "False"),),
        Fails(test_start_match.test_a_change_while_it_waits_is_a_miss, "None", parameters="upgraded"),
    ),
    Mutation(
        "a standby kernel is used behind a program that starts the interpreter",
        KERNEL,
        (Edit(start_match._different_interpreter, "found is None or _1 != _2", "False"),),
        Fails(test_start_match.test_a_program_before_the_interpreter_is_not_compared, "interpreter"),
    ),
    Mutation(
        "a standby kernel has modules that the folder of the notebook has, too",
        KERNEL,
        (Edit(start_match._shadowed, "_1 and not _2", "False"),),
        Fails(test_start_match.test_a_change_while_it_waits_is_a_miss, "None", parameters="folder"),
    ),
    Mutation(
        "a standby kernel is used for paths that depend on the folder of the notebook",
        KERNEL,
        (Edit(start_match._relative, 'path.startswith("/")', "True"),),
        Fails(test_start_match.test_a_path_that_depends_on_the_folder_is_a_miss),
    ),
    Mutation(
        "a module that was imported ahead has read another value of a variable",
        KERNEL,
        (Edit(start_match.changed_variable, "name in launch and launch[name] != had.get(name)", "False"),),
        Fails(test_start_match.test_a_variable_that_a_module_has_read_counts),
    ),
    Mutation(
        "a module that initializes CUDA is imported ahead",
        Guarantee.ENFORCEMENT,
        (Edit(preload_modules._import, "compat_torch.driver_is_loaded() or _has_initialized()", "False"),),
        Fails(
            test_preload_modules.test_a_module_is_refused_for_what_it_does, "imported ahead", parameters="initializes"
        ),
        in_processes=True,
    ),
)
