"""Expect an error with a sentence: ``pytest.raises`` for errors that carry a message with a code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.messages import text_of

Error = TypeVar("Error", bound=FastGPUError)


@contextmanager
def refused(expected: type[Error], match: str) -> Iterator[pytest.ExceptionInfo[Error]]:
    """Require an error of that type whose English sentence matches the regular expression ``match``."""
    with pytest.raises(expected) as caught:
        yield caught
    sentence = text_of(caught.value)
    assert re.search(match, sentence), f"{sentence!r} does not match {match!r}"
