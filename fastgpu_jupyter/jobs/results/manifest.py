"""A manifest lists what one job produced: values, outputs, an executed notebook and files, each by its digest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...errors import InvalidRequest, Message, StoreFault, VersionMismatch

#: The version of the format of manifests that this code writes, and the newest that it reads.
MANIFEST_VERSION = 1
#: A manifest may have so many bytes, which is about 100,000 files.
MANIFEST_BYTES_MAX = 16 << 20


class Stored(NamedTuple):
    """An object of the store: its SHA-256 in hexadecimal digits, and its size."""

    digest: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A stored Python object, with the name of its type for readers that do not open it."""

    digest: str
    bytes: int
    type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts of one result, and the circumstances in which it was computed.

    ``computed_at`` is in milliseconds of the wall clock, ``cost_micro`` in millionths of the pool's currency. The
    digests of ``outputs`` (nbformat outputs as JSON) and ``notebook`` are ``None`` where the job has none.
    """

    kind: str
    values: Mapping[str, StoredValue] = field(default_factory=dict)
    outputs: str | None = None
    notebook: str | None = None
    files: Mapping[str, Stored] = field(default_factory=dict)
    computed_at: int | None = None
    gpu: Mapping[str, Any] | None = None
    cost_micro: int | None = None
    version: int = MANIFEST_VERSION

    def digests(self) -> Iterator[str]:
        """Yield the digest of each object that the result consists of."""
        yield from (value.digest for value in self.values.values())
        yield from (file.digest for file in self.files.values())
        yield from filter(None, (self.outputs, self.notebook))

    def encoded(self) -> bytes:
        """Return the manifest as JSON. Raises :class:`InvalidRequest` where it is larger than a manifest may be."""
        document = {
            "version": self.version, "kind": self.kind, "outputs": self.outputs, "notebook": self.notebook,
            "values": {name: [one.digest, one.bytes, one.type] for name, one in self.values.items()},
            "files": {path: list(one) for path, one in self.files.items()},
            "computed_at": self.computed_at, "gpu": self.gpu and dict(self.gpu), "cost_micro": self.cost_micro,
        }  # fmt: skip
        encoded = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        if len(encoded) > MANIFEST_BYTES_MAX:
            raise InvalidRequest(Message.of("results.too_many_parts", count=len(self.values) + len(self.files)))
        return encoded

    @classmethod
    def decoded(cls, digest: str, encoded: bytes) -> Manifest:
        """Return the manifest in ``encoded``, whose ``digest`` was verified.

        Raises :class:`VersionMismatch` for a newer format, :class:`StoreFault` for one that is no manifest.
        """
        try:
            document = json.loads(encoded)
            if document["version"] > MANIFEST_VERSION:
                raise VersionMismatch(Message.of("results.newer", version=document["version"]))
            values = {name: StoredValue(*one) for name, one in document.pop("values").items()}
            files = {path: Stored(*one) for path, one in document.pop("files").items()}
            return cls(values=values, files=files, **document)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreFault(Message.of("results.damaged", digest=digest[:12], reason=repr(error))) from None
