"""What a launch that failed raises."""

from __future__ import annotations

import pytest
from tornado import web

from fastgpu_jupyter.errors import LimitReached, Message, NoSuchDevice
from fastgpu_jupyter.server.launch_error import launch_error


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


def test_launch_error_in_a_server_is_one_printable_line() -> None:
    found = str(launch_error(ValueError("x\n[E 2026-11-30 ServerApp] forged\x1b[2J"), in_server=True))
    assert found == "x\\n[E 2026-11-30 ServerApp] forged\\x1b[2J"
