"""The text form of a request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.core.model.size import MEMORY_BYTES_MIN, Size, parse_size
from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.units import GIB
from tests.refusals import refused


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("full", Size()),
        ("any", Size()),
        (" Half ", Size(part=(1, 2))),
        ("24GiB", Size(memory_bytes=24 * GIB)),
        ("1.5 GiB", Size(memory_bytes=3 * GIB // 2)),
        ("a100", Size(models=("a100",))),
        ("A100-80GB:1/2", Size(models=("a100-80gb",), part=(1, 2))),
        ("a100:3/8", Size(models=("a100",), part=(3, 8))),
        ("a100:1/1", Size(models=("a100",))),
        ("a100: 24 GiB", Size(models=("a100",), memory_bytes=24 * GIB)),
        ("h100|a100", Size(models=("h100", "a100"))),
        ("2xh100", Size(devices=2, models=("h100",))),
        ("4 x any", Size(devices=4)),
        ("any>=40GiB", Size(device_memory_min=40 * GIB)),
        ("2xany>=40GiB", Size(devices=2, device_memory_min=40 * GIB)),
        ("any:1/8", Size(part=(1, 8))),
        ("rtx 4090", Size(models=("rtx 4090",))),
    ],
)
def test_a_size_is_read_and_written(text: str, size: Size) -> None:
    assert parse_size(text) == size
    assert parse_size(str(size)) == size


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("", 1, "a model like a100"),
        ("a100:", 6, "a part like 1/2"),
        ("a100:2/1", 6, "a part of at most 1/1"),
        ("a100:0/4", 6, "a part of at most 1/1"),
        ("a100:1/65", 6, "at least 1/64"),
        ("a100:half", 6, "a part like 1/2"),
        ("2xh100:1/2", 7, "several devices are only leased whole"),
        ("0xh100", 1, "a number of devices"),
        ("65xh100", 1, "a number of devices"),
        ("h100|", 6, "a model like a100"),
        ("any>=lots", 6, "an amount of memory"),
        ("24 parsecs", 1, "an amount of memory"),
        ("1", 1, "at least 1 MiB"),
        ("0GiB", 1, "at least 1 MiB"),
        ("a100!", 5, "the end, found '!'"),
    ],
)
def test_an_error_points_at_the_character(text: str, at: int, says: str) -> None:
    with refused(InvalidRequest, match=rf"at character {at}, expected .*{says}"):
        parse_size(text)


def test_a_long_text_is_refused_unread() -> None:
    with refused(InvalidRequest, match="may have 200 characters"):
        parse_size("a" * 10**6)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_size_or_a_clear_error(text: str) -> None:
    try:
        size = parse_size(text)
    except InvalidRequest:
        return
    assert parse_size(str(size)) == size


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(MEMORY_BYTES_MIN, 2**50))
def test_an_amount_is_written_exactly(memory_bytes: int) -> None:
    assert parse_size(str(Size(memory_bytes=memory_bytes))).memory_bytes == memory_bytes


@pytest.mark.parametrize(
    ("wanted", "model", "matches"),
    [
        ("a100", "A100-SXM4-80GB", True),
        ("a100-80gb", "NVIDIA A100-SXM4-80GB", True),
        ("a100-40gb", "A100-SXM4-80GB", False),
        ("a10", "A100-80GB", False),
        ("h100", "H100 80GB HBM3", True),
        ("rtx 4090", "NVIDIA GeForce RTX 4090", True),
        ("t4", "Tesla T4", True),
    ],
)
def test_models_are_matched_by_their_words(wanted: str, model: str, matches: bool) -> None:
    assert Size(models=(wanted,)).matches(model, 80 * GIB) is matches


def test_a_device_must_have_the_least_memory() -> None:
    assert Size(device_memory_min=40 * GIB).matches("A100", 40 * GIB)
    assert not Size(device_memory_min=40 * GIB).matches("A100", 40 * GIB - 1)
