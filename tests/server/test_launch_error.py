"""What a launch that failed raises."""

from __future__ import annotations

import pytest
from tornado import web

from fastgpu_jupyter.errors import LimitReached, Message, NoSuchDevice
from fastgpu_jupyter.server.launch_error import DIALOG_WIDTH, launch_error


def test_launch_error_without_a_server_is_the_same_error_with_a_sentence() -> None:
    error = launch_error(LimitReached(Message.of("limits.leases", count=5, seconds=3)), in_server=False)
    assert type(error) is LimitReached
    assert str(error).startswith("This pool has 5 leases")
    assert str(launch_error(OSError("no file"), in_server=False)) == "no file"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (NoSuchDevice("It is too large."), 422, "It is too large."),
        (LimitReached(Message.of("limits.leases", count=5, seconds=3)), 429, "This pool has 5 leases"),
        (FileNotFoundError(2, "No such file", "/python"), 500, "[Errno 2] No such file: '/python'"),
        (ValueError(), 500, "ValueError"),
        (NoSuchDevice("80 % of it is used."), 422, "80 percent of it is used."),
    ],
)
def test_launch_error_in_a_server_has_the_sentence_where_jupyter_looks(
    error: Exception, status: int, text: str
) -> None:
    found = launch_error(error, in_server=True)
    assert isinstance(found, web.HTTPError)
    assert found.status_code == status
    assert str(found).startswith(text)
    assert (found.log_message or "").startswith(text)


def test_launch_error_in_a_server_fits_a_dialog() -> None:
    found = str(launch_error(NoSuchDevice("a sentence of several words " * 9), in_server=True))
    assert max(map(len, found.splitlines())) <= DIALOG_WIDTH


def test_launch_error_in_a_server_has_no_line_that_could_be_one_of_its_log() -> None:
    found = str(launch_error(ValueError("x\n[E 2026-11-30 ServerApp] forged\x1b[2J " + "y " * 99), in_server=True))
    first, *others = found.split("\n")
    assert others
    assert all(line.startswith("  ") for line in others)
    assert all(line.isprintable() for line in (first, *others))
