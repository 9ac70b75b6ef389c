"""Which calls share a key, by the table in ``pairs``; those that do have equal results."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgpu_jupyter.jobs.cache import CacheKey, NotCacheable, difference, same
from fastgpu_jupyter.messages import render
from tests.jobs.cache import fake_torch
from tests.jobs.cache.pairs import PAIRS, TABLES, TENSORS, Pair, Program
from tests.jobs.cache.programs import Submitted, in_folder, key_of, submitted

#: What programs of the table replace.
PATCHED: tuple[tuple[Any, str], ...] = (
    (np, "mean"),
    (importlib.import_module("numpy._core._methods"), "_mean"),
    (np.poly1d, "__call__"),
    (math, "pi"),
    (json, "dumps"),
    (builtins, "ascii"),
)


@pytest.fixture(scope="module")
def pandas() -> None:
    """The library of tables, which takes long to import."""
    pytest.importorskip("pandas")


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that stands for PyTorch."""
    monkeypatch.setitem(sys.modules, "torch", fake_torch.module())


@contextlib.contextmanager
def unpatched() -> Iterator[None]:
    """Put back what a program replaced."""
    before = [(owner, name, vars(owner)[name]) for owner, name in PATCHED]
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def run(program: Program, folder: Path) -> tuple[CacheKey | NotCacheable, Any]:
    """Return the key of a program's call, and then its result."""
    with unpatched(), in_folder(program, folder):
        call = submitted(program.code, f"/tmp/ipykernel_1/{program.notebook}.py")
        key = key_of(program, call, folder)
        return key, result_of(call)


def result_of(call: Submitted) -> str:
    """Return what a call returns or raises, as a text that shows each difference."""
    try:
        return repr(call.function(*call.args, **call.kwargs))
    except Exception as error:  # noqa: BLE001 (a result as well)
        return repr(error)


def made(program: Program, folder: Path) -> tuple[CacheKey, str]:
    key, result = run(program, folder)
    assert isinstance(key, CacheKey), render(key.message)
    return key, result


def each(pairs: Iterable[Pair]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", tuple(pairs), ids=lambda pair: pair.name.replace(" ", "-"))


@each(pair for pair in PAIRS if pair not in TABLES and pair not in TENSORS)
def test_pair_shares_a_key_or_not(pair: Pair, tmp_path: Path) -> None:
    check(pair, tmp_path)


@each(TABLES)
def test_pair_of_tables_shares_a_key_or_not(pair: Pair, tmp_path: Path, pandas: None) -> None:
    check(pair, tmp_path)


@each(TENSORS)
def test_pair_of_tensors_shares_a_key_or_not(pair: Pair, tmp_path: Path, torch: None) -> None:
    check(pair, tmp_path)


def check(pair: Pair, tmp_path: Path) -> None:
    """Make both keys, each twice, and run both programs."""
    one, first = made(pair.one, tmp_path / "one")
    other, second = made(pair.other, tmp_path / "other")
    assert (one.digest == other.digest) is pair.shares, difference(one.ingredients, other.ingredients)
    assert same(one.ingredients, other.ingredients) is pair.shares
    if pair.shares:
        assert first == second
    else:
        assert difference(one.ingredients, other.ingredients)
    again, _ = made(pair.one, tmp_path / "one")
    assert again == one


def test_table_has_the_cases_that_are_promised() -> None:
    assert len(PAIRS) >= 60
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    assert sum(pair.shares for pair in PAIRS) >= 30
