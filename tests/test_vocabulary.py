"""The checks of the vocabulary find what they are to find, and what they reject is in no committed file."""

from __future__ import annotations

import textwrap

import pytest

from tests.vocabulary import (
    findings,
    load_rules,
    parts_of,
    rejected_identifiers,
    rejected_phrases,
    short_docstrings,
    types_defined_twice,
)


def test_parts_of_splits_snake_and_camel_case() -> None:
    assert parts_of("_NVMLCardHandle_of2") == ["nvml", "card", "handle", "of", "2"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "def seat_of(): ..."),
        ("a.py", "class TicketQueue: ..."),
        ("a.py", "def f(lent=1): ..."),
        ("a.py", "self.books = 1"),
        ("a.py", "import x as news"),
        ("a.ts", "const lastTicket = 1;"),
        ("a.ts", "interface Seat {}"),
        ("a.ts", "class A {\n  readonly away: boolean;\n}"),
    ],
)
def test_rejected_identifiers_finds_a_rejected_part(name: str, text: str) -> None:
    assert len(list(rejected_identifiers(name, text, load_rules()))) == 1


def test_rejected_identifiers_ignores_names_that_are_only_used() -> None:
    assert list(rejected_identifiers("a.py", "print(other.books)", load_rules())) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "# Nobody waits.\n"),
        ("a.py", 'x = f"it is told {b}"\n'),
        ("a.md", "made anew\n"),
        ("a.ts", "// untold"),
    ],
)
def test_rejected_phrases_finds_a_phrase_in_prose(name: str, text: str) -> None:
    assert len(list(rejected_phrases(name, text, load_rules()))) == 1


def test_short_docstrings_finds_public_names_only() -> None:
    text = textwrap.dedent('''
        """Say what the module does."""
        def public():
            """Say it."""
        def _private():
            """Say it."""
    ''').lstrip()
    [found] = short_docstrings("a.py", text)
    assert "public" in found


def test_types_defined_twice_names_both_places() -> None:
    [found] = types_defined_twice([("a.py", "class Offer: ..."), ("b.py", "\nclass Offer: ...\nclass Other: ...")])
    assert found == "Offer: a.py:1, b.py:2"


@pytest.mark.slow
def test_committed_files_use_the_terms_of_the_glossary() -> None:
    assert findings() == []
