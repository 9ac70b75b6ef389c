"""Partitions never overlap, are never refused where one fits, and leave room for large ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgpu_jupyter.core.placement.mig_geometry import MigGeometry, PlacedProfile, ProfileShape

#: As a driver describes an A100 or H100: seven compute slots on eight slots of memory.
EIGHT = MigGeometry(
    {
        "1g": ProfileShape(1, tuple(range(7))),
        "1g+me": ProfileShape(1, tuple(range(7)), at_most=1),
        "1g.double": ProfileShape(2, (0, 2, 4, 6)),
        "2g": ProfileShape(2, (0, 2, 4)),
        "3g": ProfileShape(4, (0, 4)),
        "4g": ProfileShape(4, (0,)),
        "7g": ProfileShape(8, (0,)),
    }
)
FOUR = MigGeometry({"1g": ProfileShape(1, (0, 1, 2, 3)), "2g": ProfileShape(2, (0, 2)), "4g": ProfileShape(4, (0,))})


@st.composite
def tables(draw: st.DrawFn) -> MigGeometry:
    slots = draw(st.integers(1, 10))
    lengths = draw(st.lists(st.integers(1, slots), min_size=1, max_size=5))
    shapes = {}
    for number, length in enumerate(lengths):
        starts = draw(st.lists(st.integers(0, slots - length), max_size=8))
        shapes[f"p{number}"] = ProfileShape(length, tuple(starts), draw(st.sampled_from([None, None, 0, 1, 2])))
    return MigGeometry(shapes)


@pytest.mark.slow
@given(table=st.one_of(st.just(EIGHT), st.just(FOUR), tables()), data=st.data())
def test_choose_never_overlaps_and_never_refuses_where_a_start_is_free(table: MigGeometry, data: st.DataObject) -> None:
    parts: list[PlacedProfile] = []
    for _ in range(data.draw(st.integers(0, 14))):
        if bool(parts) and data.draw(st.booleans()):
            parts.pop(data.draw(st.integers(0, len(parts) - 1)))
            continue
        profile = data.draw(st.sampled_from(sorted(table.shapes)))
        shape = table.shapes[profile]
        slots = {slot for part in parts for slot in range(part.start, part.start + table.shapes[part.profile].length)}
        possible = {start for start in shape.starts if slots.isdisjoint(range(start, start + shape.length))}
        if shape.at_most is not None and sum(part.profile == profile for part in parts) >= shape.at_most:
            possible = set()
        start = table.choose(profile, parts)
        assert start == table.choose(profile, list(reversed(parts)))
        assert (start in possible) if possible else start is None
        if start is not None:
            parts.append(PlacedProfile(profile, start))
            table.occupied(parts)  # raises if two overlap


def test_choose_small_profiles_keeps_the_lower_half_open() -> None:
    parts: list[PlacedProfile] = []
    for _ in range(3):
        start = EIGHT.choose("1g", parts)
        assert start is not None
        parts.append(PlacedProfile("1g", start))
    assert EIGHT.choose("4g", parts) == 0
    assert sorted(part.start for part in parts) == [4, 5, 6]


def test_choose_first_small_profile_leaves_a_pair_open_beside_it() -> None:
    assert EIGHT.choose("1g", []) == 6
    assert EIGHT.choose("2g", [PlacedProfile("1g", 6)]) == 4
    assert EIGHT.choose("3g", []) == 4
    assert EIGHT.choose("1g.double", []) == 6


def test_choose_seven_small_profiles_fit_and_no_eighth() -> None:
    parts: list[PlacedProfile] = []
    while (start := EIGHT.choose("1g", parts)) is not None:
        parts.append(PlacedProfile("1g", start))
    assert len(parts) == 7
    assert all(a.start != b.start for a, b in pairwise(sorted(parts, key=lambda part: part.start)))


def test_choose_more_than_the_limit_of_a_profile_is_refused() -> None:
    assert EIGHT.choose("1g+me", [PlacedProfile("1g+me", 6)]) is None


def test_profile_shapes_and_partitions_that_are_impossible_are_rejected() -> None:
    with pytest.raises(ValueError, match="another partition"):
        EIGHT.choose("1g", [PlacedProfile("3g", 4), PlacedProfile("1g", 6)])
    with pytest.raises(ValueError, match="no partition"):
        ProfileShape(0, (0,))
