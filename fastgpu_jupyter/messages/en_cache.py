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
}
