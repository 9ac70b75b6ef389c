"""What a browser may see of the results of jobs: facts, texts and images, and files to download.

A value of a result is a pickle, and to read one runs code. It is named with its type and size, and never opened here.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ..errors import Message, NotFound, StoreFault

if TYPE_CHECKING:
    from ..jobs.results import Manifest, ResultStore
    from ..wire.schemas import JobDetailsView, JobOutputView, JobView

#: Outputs that are longer together are not read.
OUTPUTS_BYTES_MAX = 64 * 2**20
#: More outputs of one job are not shown.
OUTPUTS_MAX = 200
#: The most characters of one text, and of all texts of a result.
TEXT_MAX = 64 * 1024
TEXTS_MAX = 1024 * 1024
#: The types of images that browsers show without running code in them, and whether they are in base64.
IMAGE_TYPES = {"image/png": True, "image/jpeg": True, "image/gif": True, "image/webp": True, "image/svg+xml": False}


class Download(NamedTuple):
    """An object of the store that is sent as a file: an open file, its size in bytes, and the name to save it as."""

    file: IO[bytes]
    size: int
    name: str


def details_of(job: JobView) -> JobDetailsView:
    """Return the facts of the result of a job, and those of its outputs that can be shown."""
    with _reading(job) as (store, manifest):
        outputs = _outputs_of(store, manifest)
        shown, left_out = ([], job["result"]["outputs"] if job["result"] else 0) if outputs is None else _shown(outputs)
        gpu = manifest.gpu or {}
        return {
            "digest": _digest_of(job),
            "computed_at": manifest.computed_at,
            "gpu": gpu.get("model"),
            "cost_micro": manifest.cost_micro,
            "values": [
                {"name": name, "type": value.type, "bytes": value.bytes} for name, value in manifest.values.items()
            ],
            "files": [{"path": path, "bytes": file.bytes} for path, file in manifest.files.items()],
            "outputs": shown,
            "outputs_left_out": left_out,
            "notebook_bytes": None if manifest.notebook is None else _size_of(store, manifest.notebook),
        }


def image_of(job: JobView, index: int) -> tuple[str, bytes]:
    """Return the type and the bytes of the image in an output. Raises :class:`NotFound` where there is none."""
    with _reading(job) as (store, manifest):
        outputs = _outputs_of(store, manifest) or []
        output = outputs[index] if index < len(outputs) else {}
        data = _data_of(output)
        for media_type, encoded in IMAGE_TYPES.items():
            if media_type in data:
                text = _text(data[media_type])
                try:
                    return media_type, base64.b64decode(text) if encoded else text.encode()
                except (binascii.Error, ValueError) as error:
                    raise StoreFault(
                        Message.of("jobs.image_unreadable", number=job["id"], reason=str(error))
                    ) from error
    raise NotFound(Message.of("jobs.no_image", number=job["id"]))


@contextmanager
def file_of(job: JobView, path: str | None) -> Iterator[Download]:
    """Yield a file of the result of a job, its checksum verified; the executed notebook where ``path`` is None."""
    with _reading(job) as (store, manifest):
        if path is None:
            digest, name = manifest.notebook, f"job-{job['id']}.ipynb"
        else:
            # A name in the manifest, never a path of the disk.
            file = manifest.files.get(path)
            digest, name = None if file is None else file.digest, path.rpartition("/")[2]
        if digest is None:
            raise NotFound(Message.of("jobs.no_file", number=job["id"], path=path or name))
        with store.open(digest) as opened:
            yield Download(opened, os.fstat(opened.fileno()).st_size, name)


def _digest_of(job: JobView) -> str:
    if job["result"] is None:
        raise NotFound(Message.of("jobs.no_result", number=job["id"]))
    return job["result"]["digest"]


@contextmanager
def _reading(job: JobView) -> Iterator[tuple[ResultStore, Manifest]]:
    """Yield the store and the parts of a result, which is not evicted meanwhile."""
    from ..jobs import places
    from ..jobs.results import ResultStore

    digest = _digest_of(job)
    store = ResultStore(places.results_folder())
    with store.reading(digest) as manifest:
        yield store, manifest


def _size_of(store: ResultStore, digest: str) -> int:
    with store.open(digest) as file:
        return os.fstat(file.fileno()).st_size


def _outputs_of(store: ResultStore, manifest: Manifest) -> list[Mapping[str, Any]] | None:
    """Return the outputs of a cell as a notebook has them; None where they are too long to read."""
    if manifest.outputs is None:
        return []
    with store.open(manifest.outputs) as file:
        if os.fstat(file.fileno()).st_size > OUTPUTS_BYTES_MAX:
            return None
        found = json.loads(file.read())
    return [output for output in found if isinstance(output, dict)] if isinstance(found, list) else []


def _shown(outputs: list[Mapping[str, Any]]) -> tuple[list[JobOutputView], int]:
    """Return the outputs that can be shown, and the number of the others."""
    shown: list[JobOutputView] = []
    room = TEXTS_MAX
    for index, output in enumerate(outputs):
        text = _text_of(output)[: min(TEXT_MAX, room)]
        media_type = next((one for one in IMAGE_TYPES if one in _data_of(output)), None)
        if len(shown) < OUTPUTS_MAX and (text or media_type):
            room -= len(text)
            shown.append({"index": index, "stream": _stream_of(output), "text": text, "media_type": media_type})
    return shown, len(outputs) - len(shown)


def _data_of(output: Mapping[str, Any]) -> Mapping[str, Any]:
    data = output.get("data")
    return data if isinstance(data, dict) else {}


def _stream_of(output: Mapping[str, Any]) -> str:
    kind = output.get("output_type")
    if kind == "stream":
        return "stderr" if output.get("name") == "stderr" else "stdout"
    return "error" if kind == "error" else "display"


def _text_of(output: Mapping[str, Any]) -> str:
    match output.get("output_type"):
        case "stream":
            return _text(output.get("text"))
        case "error":
            traceback = output.get("traceback")
            lines = [_text(line) for line in traceback] if isinstance(traceback, list) else []
            return "\n".join(lines) or f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
    return _text(_data_of(output).get("text/plain"))


def _text(value: Any) -> str:
    """Return a text that a notebook has as one text or as a list of lines."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""
