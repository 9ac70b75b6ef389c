"""The English sentences about the results of jobs, the cache and what keeps a job out of it; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- the store of results ---------------------------------------------------------------------------------------
    "results.gone": (
        "The result {digest} is no longer kept: it was removed to make room, or pruned. Run the job again to have it."
    ),
    "results.damaged": (
        "The stored result {digest} is damaged ({reason}) and was not opened. Other results are not affected; run the "
        "job again."
    ),
    "results.foreign": (
        "{path} was not opened: it is a link, belongs to another user, or others may write to it. Results are read "
        "only from files of your own."
    ),
    "results.newer": (
        "The result was written by a newer FastGPU, in format {version}. It is kept; update FastGPU to open it."
    ),
    "results.newer_store": (
        "The results in {path} were written by a newer FastGPU, in format {version}. Nothing was changed; update "
        "FastGPU, or choose another folder."
    ),
    "results.not_written": (
        "The result could not be written to {path}: {reason}. What was stored before is kept; make room there, for "
        "example with `jupyter fastgpu job prune`, and run the job again."
    ),
    "results.not_picklable": (
        "A {type} cannot be stored: {reason}. Return plain data instead, such as arrays, or save it to a file."
    ),
    "results.not_regular": "{path} was not saved: it is no regular file.",
    "results.unreadable": (
        "The stored result {digest} is intact, but this Python cannot restore it: {reason}. Open it where the job ran, "
        "with the same libraries."
    ),
    "results.too_many_parts": (
        "The result has {count} values and files, more than one result may have. Save fewer files, or one archive."
    ),
    "results.no_digest": "{digest} is no name of a result.",
    # -- what keeps a job out of the cache ----------------------------------------------------------------------------
    "cache.not_hashable": (
        "Not cached, because {name} holds a {type}, whose content cannot be compared. Pass what it is made of instead, "
        "or make it inside the job."
    ),
    "cache.too_deep": "Not cached, because {name} has parts inside parts, more deeply than can be followed.",
    "cache.too_many": "Not cached, because {name} has more than {count} parts, too many to compare each time.",
    "cache.too_large": "Not cached, because what the job depends on is larger than {limit_bytes}, up to {name}.",
    "cache.too_slow": (
        "Not cached, because comparing what the job depends on takes more than {seconds} seconds, up to {name}."
    ),
    "cache.unreadable": "Not cached, because {name} could not be read: {reason}.",
    "cache.no_regular_file": "Not cached, because {name} is no regular file. Declare files and folders only.",
    "cache.no_program": "Not cached, because there is no program {name}.",
    "cache.undefined": "Not cached, because the input {name} is not defined.",
    "cache.syntax": "Not cached, because the code is not valid Python.",
    "cache.reads_environment": (
        "Not cached, because {name} reads environment variables and none is declared. Declare those that the result "
        "depends on."
    ),
    "cache.not_cached": "Result kept, but not cached, because it {reasons}.",
    "cache.read_undeclared": "read undeclared {names}",
    "cache.listed_undeclared": "listed undeclared {names}",
    "cache.imported_undeclared": "imported undeclared {names}",
    "cache.loaded_undeclared": "loaded undeclared {names}",
    "cache.used_network": "used the network ({names})",
    "cache.started_programs": "started {names}, whose reading is not seen",
    "cache.unseen_processes": "started processes whose reading is not seen ({names})",
    "cache.more": "{count} more",
    # -- why a result was found or not --------------------------------------------------------------------------------
    "cache.hit": "Hit, because code, inputs, files and versions are those of the stored result.",
    "cache.miss": "Miss, because {changes}.",
    "cache.miss_first": "Miss, because nothing like it was computed before.",
    "cache.collision": ("Miss, because the stored result with this key is of something else. It was not used."),
    "cache.changed_value": "`{name}` changed from {old} to {new}",
    "cache.changed_content": "the content of `{name}` changed",
    "cache.changed_code": "the code changed",
    "cache.changed_code_of": "the code of `{name}` changed",
    "cache.changed_version": "{name} {old} → {new}",
    "cache.changed_file": "the file {path} changed",
    "cache.changed_module": "the module {name} changed",
    "cache.changed_variable": "the environment variable {name} changed",
    "cache.changed_outputs": "other variables are asked for",
    "cache.changed_save": "other files are saved",
    "cache.changed_key": "the key that you gave changed",
    "cache.changed_kernel": "the kernel changed",
    "cache.changed_schema": "this FastGPU makes keys in another way",
    "cache.added": "`{name}` is new",
    "cache.removed": "`{name}` is not used any more",
}
