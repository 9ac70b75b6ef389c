"""The schemas of what the Jupyter server tells the browser about jobs, beside the jobs themselves."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from .common import Count, Integer
from .jobs import JobView

#: A text that the browser does not cut as it cuts others.
LongText = Annotated[str, msgspec.Meta(max_length=2**20)]


class JobList(TypedDict):
    """The newest jobs of the user, the newest first."""

    jobs: list[JobView]


class RerunBody(TypedDict, total=False):
    """``refresh``: compute the result again where it is cached."""

    refresh: bool


class PruneBody(TypedDict, total=False):
    """Which ended jobs and results to remove: those older than ``older_ms``, and the oldest beyond ``bytes_max``."""

    older_ms: Count | None
    bytes_max: Count | None


class JobValueView(TypedDict):
    """A value that a job returned: its name, its type, and the bytes that it takes in the store."""

    name: str
    type: str
    bytes: Count


class JobFileView(TypedDict):
    """A file that a job left, by its path below the working folder."""

    path: str
    bytes: Count


class JobOutputView(TypedDict):
    """An output of a cell that can be shown without running code: a text, an image, or both.

    ``stream`` is ``stdout`` or ``stderr``, ``error`` for a traceback, else ``display``. The image is at
    ``result/outputs/{index}``; ``media_type`` is ``null`` where there is none.
    """

    index: Count
    stream: str
    text: LongText
    media_type: str | None


class JobDetailsView(TypedDict):
    """The result of a job: facts, and those outputs that can be shown without running code.

    ``values`` are named with their type only, because reading one would run code. ``outputs_left_out`` counts the
    outputs that are too large to show or of another type; ``cut_bytes`` is what was cut from the texts that are shown.
    ``notebook_bytes`` is the size of the executed notebook; ``null`` if there is none.
    """

    digest: str
    computed_at: Integer | None
    gpu: str | None
    cost_micro: Count | None
    values: list[JobValueView]
    files: list[JobFileView]
    outputs: list[JobOutputView]
    outputs_left_out: Count
    notebook_bytes: Count | None
