"""Quantities: exact, forgiving in form, strict in meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.units import (
    GIB,
    MIB,
    format_duration,
    format_memory,
    format_money,
    parse_cores,
    parse_duration,
    parse_memory,
    parse_money,
)
from tests.refusals import refused


@pytest.mark.parametrize(
    ("text", "memory_bytes"),
    [("24GiB", 24 * GIB), ("24 gib", 24 * GIB), ("1.5GB", 1_500_000_000), ("512MiB", 512 * MIB), ("17", 17),
     ("0.5 KiB", 512), (" 8Gi ", 8 * GIB), ("0", 0)],
)  # fmt: skip
def test_memory_is_read(text: str, memory_bytes: int) -> None:
    assert parse_memory(text) == memory_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1e9", "24 parsecs", "1.GiB", "99999999TiB", "\u0661GiB"])
def test_what_is_no_memory_is_refused_with_an_example(text: str) -> None:
    with refused(InvalidRequest, match=r"24GiB|more memory than any device"):
        parse_memory(text)


@pytest.mark.slow
@given(st.integers(0, 10**15))
def test_a_plain_number_is_bytes(number: int) -> None:
    if number <= 1024 * 2**40:
        assert parse_memory(str(number)) == number


def test_quantities_are_written_for_people() -> None:
    assert [format_memory(n) for n in (80 * GIB, GIB * 3 // 2, 512 * MIB, 17)] == [
        "80 GiB", "1.5 GiB", "512 MiB", "17 B",
    ]  # fmt: skip
    assert [format_duration(n) for n in (120_000, 7_200_000)] == ["2 min", "2 h"]
    assert [format_duration(n) for n in (999, 45_000, 125_000, 11_220_000)] == [
        "0 s", "45 s", "2 min 05 s", "3 h 07 min",
    ]  # fmt: skip
    assert [format_money(n, "USD") for n in (1543, 1_250_000, 0, -20_000_000)] == [
        "0.0015 USD", "1.25 USD", "0.00 USD", "-20.00 USD",
    ]  # fmt: skip


def test_times_money_and_cores_are_read() -> None:
    times = {"90s": 90_000, "10m": 600_000, "10 min": 600_000, "1.5h": 5_400_000, "2d": 172_800_000, "30": 30_000}
    assert {text: parse_duration(text) for text in times} == times
    assert [parse_money(text) for text in ("2.50", "20", "0.0000010")] == [2_500_000, 20_000_000, 1]
    with refused(InvalidRequest, match="not an amount of money"):
        parse_money("0.0000001")  # which would be a budget of 0
    assert [parse_cores(text) for text in ("4", "0.5")] == [4000, 500]


@pytest.mark.parametrize("text", ["", "-1", "soon", "1 fortnight", "1e3"])
def test_what_is_none_of_them_is_refused_with_an_example(text: str) -> None:
    for parse, example in ((parse_duration, "10m"), (parse_money, r"2\.50"), (parse_cores, r"0\.5")):
        with refused(InvalidRequest, match=example):
            parse(text)
