"""Submit a cell, a notebook or a command as a job: the files of its draft, its environment, its key and its body.

What cannot run is refused before anything is submitted, with a sentence that names what to change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InvalidRequest, Message
from . import cells, keys
from .origin import NO_ORIGIN, Origin
from .results import private_opener
from .words import NAME_CHARS_MAX, JobOptions
from .work.seeding import SEED_VARIABLE

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobBody, JobView
    from .client import JobsClient

#: Names in a draft.
INPUTS, NOTEBOOK = "inputs.pickle", "notebook.ipynb"
#: The suffixes of files that an interpreter runs.
SCRIPTS = frozenset({".py", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".rb", ".js"})
#: Characters of the reason why a value cannot be pickled.
REASON_CHARS = 200


def submit_cell(
    client: JobsClient,
    code: str,
    options: JobOptions,
    namespace: Mapping[str, Any],
    *,
    origin: Origin = NO_ORIGIN,
    transform: Callable[[str], str] = str,
) -> JobView:
    """Submit ``code`` with the named inputs of ``namespace``, and return the job.

    ``transform`` makes Python of IPython's syntax. Raises :class:`InvalidRequest` where the cell cannot run as a job.
    """
    try:
        cell = cells.JobCell(code, transform)
    except SyntaxError as error:
        raise InvalidRequest(Message.of("job_cell.syntax", line=error.lineno or 0, reason=error.msg)) from None
    if cell.is_empty:
        raise InvalidRequest(Message.of("job_cell.empty"))
    values = cells.sent(cell, options.inputs, namespace)
    cells.require_outputs(cell, options.outputs, values)
    pickled = _pickled(values)
    body = _body("cell", options, options.name or cell.title(), _folder())
    if options.seed is not None:
        body["environment"]["variables"][SEED_VARIABLE] = str(options.seed)
    body["notebook"], body["kernel_id"] = origin.notebook, origin.kernel_id
    body["cache"] = keys.of_cell(transform(code), namespace, options, body["environment"])
    digest = hashlib.sha256(pickled).hexdigest() if values else None
    body["program"] = {
        "code": code, "inputs": INPUTS if values else None, "sha256": digest, "outputs": options.outputs
    }  # fmt: skip
    return _submitted(client, body, {INPUTS: pickled} if values else {})


def submit_notebook(
    client: JobsClient, path: Path, parameters: Mapping[str, Any], options: JobOptions, *, kernel: str | None = None
) -> JobView:
    """Submit a copy of the notebook at ``path`` with ``parameters``, and return the job.

    The job runs in the folder of the notebook. Raises :class:`InvalidRequest` where the file is no notebook.
    """
    try:
        content = path.read_bytes()
        found = json.loads(content)
    except (OSError, ValueError) as error:
        raise InvalidRequest(Message.of("job_cell.no_notebook", path=str(path), reason=str(error))) from None
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        raise InvalidRequest(Message.of("job_cell.not_a_notebook", path=str(path)))
    body = _body("notebook", options, options.name or path.stem, path.resolve().parent)
    body["notebook"] = str(path)
    body["cache"] = keys.of_notebook(content, parameters, options, body["environment"], kernel)
    body["program"] = {"notebook": NOTEBOOK, "parameters": dict(parameters), "kernel": kernel}
    return _submitted(client, body, {NOTEBOOK: content})


def submit_command(client: JobsClient, argv: Sequence[str], options: JobOptions) -> JobView:
    """Submit a command, and return the job. Raises :class:`InvalidRequest` where its program is not found."""
    if shutil.which(argv[0]) is None:
        raise InvalidRequest(Message.of("job_cell.no_program", name=argv[0]))
    body = _body("command", options, options.name or _name_of_command(argv), _folder())
    body["cache"] = keys.of_command(argv, options, body["environment"])
    body["program"] = {"argv": list(argv)}
    return client.submit(body)


def _name_of_command(argv: Sequence[str]) -> str:
    """Return the name of the script that an interpreter runs, or of the program."""
    scripts = (Path(word).name for word in argv[1:] if Path(word).suffix in SCRIPTS and not word.startswith("-"))
    return next(scripts, Path(argv[0]).name)


def _folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise InvalidRequest(Message.of("job_cell.no_folder")) from None


def _body(kind: str, options: JobOptions, name: str, folder: Path) -> JobBody:
    from .environment import recorded, require_no_secrets

    require_no_secrets(os.environ, options.variables)
    return {
        "kind": kind, "name": name[:NAME_CHARS_MAX], "program": {},
        "environment": recorded(extra=options.variables, folder=folder),
        "size": options.size, "options": cast("Any", options.lease), "timeout_ms": options.timeout_ms,
        "retries": options.retries, "after": options.after, "save": options.save,
    }  # fmt: skip


def _submitted(client: JobsClient, body: JobBody, files: Mapping[str, bytes]) -> JobView:
    """Submit a job with the files of its draft, which the dispatcher takes over; remove the draft where that fails."""
    if not files:
        return client.submit(body)
    draft = client.new_draft()
    try:
        for name, content in files.items():
            with open(draft / name, "xb", opener=private_opener) as file:
                file.write(content)
        return client.submit({**body, "draft": draft.name})
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _pickled(values: Mapping[str, Any]) -> bytes:
    """Return the inputs as one pickle. Raises :class:`InvalidRequest` that names the one that cannot be pickled."""
    if not values:
        return b""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(dict(values), protocol=5))
    except Exception as error:  # noqa: BLE001 (the pickling of any class may raise anything)
        name, reason = next(_unpicklable(values), (", ".join(values), error))
        text = f"{type(reason).__name__}: {reason}"[:REASON_CHARS]
        raise InvalidRequest(Message.of("job_cell.not_picklable", name=name, reason=text)) from None


def _unpicklable(values: Mapping[str, Any]) -> Iterator[tuple[str, Exception]]:
    import cloudpickle

    for name, value in values.items():
        try:
            cloudpickle.dumps(value, protocol=5)
        except Exception as error:  # noqa: BLE001
            yield name, error
