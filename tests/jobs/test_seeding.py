"""A job with a seed draws the same random numbers each time, also from libraries that are imported later."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path

import pytest

from fastgpu_jupyter.jobs.work.seeding import SEED_VARIABLE, seed_generators


def test_seed_is_applied_now_and_to_libraries_that_are_imported_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("seeds = []\ndef manual_seed(seed): seeds.append(seed)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    state = random.getstate()
    hook = seed_generators({SEED_VARIABLE: "7"})
    assert hook is not None
    try:
        assert random.random() == random.Random(7).random()
        assert import_module("torch").seeds == [7]
    finally:
        hook.remove()
        random.setstate(state)
        sys.modules.pop("torch", None)


@pytest.mark.parametrize("value", ["", "-1", "seven"])
def test_without_a_seed_nothing_changes(value: str) -> None:
    state = random.getstate()
    assert seed_generators({SEED_VARIABLE: value}) is None
    assert random.getstate() == state
