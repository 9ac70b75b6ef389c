"""What a key is made of: each thing that a result depends on, with its digest and a short text to show."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from ...errors import Message

#: The version of the way in which keys are made. Results of another version are not found.
SCHEMA_VERSION = 1


class Ingredient(TypedDict):
    """One thing that a result depends on.

    ``category`` is a name of :data:`CATEGORIES`, ``digest`` the SHA-256 of the thing in its canonical form, ``shown``
    what a user recognizes it by: a value, a version, a path; empty where there is nothing short to show.
    """

    category: str
    name: str
    digest: str
    shown: str


#: The categories of ingredients, in the order in which changes are reported.
CATEGORIES = (
    "code", "parameter", "input", "default", "closure", "global", "attribute", "file", "variable", "seed", "gpu_model",
    "key", "outputs", "save", "module", "distribution", "interpreter", "environment", "schema",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declared:
    """What a user says that a job depends on, and what the job keeps.

    ``files`` are paths, relative to the job's folder or absolute, of files and folders; ``variables`` names of
    environment variables; ``gpu_model`` is given where the numbers may depend on it; ``key`` is any text of the user's.
    """

    files: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    seed: int | None = None
    gpu_model: str | None = None
    key: str | None = None
    save: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The key of a result, and the ingredients that it is the digest of."""

    digest: str
    ingredients: tuple[Ingredient, ...]

    @classmethod
    def of(cls, ingredients: Iterable[Ingredient]) -> CacheKey:
        """Return the key of these ingredients, in whatever order they are."""
        ordered = tuple(sorted(ingredients, key=lambda one: (CATEGORIES.index(one["category"]), one["name"])))
        checksum = hashlib.sha256()
        for one in ordered:
            for text in (one["category"], one["name"], one["digest"]):
                encoded = text.encode("utf-8", "surrogatepass")
                checksum.update(len(encoded).to_bytes(8, "big") + encoded)
        return cls(checksum.hexdigest(), ordered)


@dataclass(frozen=True, slots=True)
class NotCacheable:
    """There is no key, because of what the message names."""

    message: Message


#: The environment of a job as its record has it: ``interpreter``, ``cwd`` and ``variables``.
Environment = Mapping[str, Any]


def declared_paths(ingredients: Iterable[Ingredient]) -> list[str]:
    """Return the files, folders and sources that a key knows by content: what a job may open and stay cacheable."""
    return [one["shown"] for one in ingredients if one["category"] in ("file", "module")]
