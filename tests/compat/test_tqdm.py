"""``compat.tqdm`` against the installed version, with the bars that are used in notebooks and elsewhere."""

from __future__ import annotations

import io
import warnings
from importlib import import_module
from typing import Any

import pytest

from fastgpu_jupyter.compat.tqdm import after_each_refresh


@pytest.mark.parametrize("module", ["tqdm.std", "tqdm.notebook"])
def test_bar_is_reported_when_it_is_drawn_and_when_it_ends(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    std = import_module("tqdm.std")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm.notebook warns where there is no notebook
        bars = import_module(module)
    for name in ("refresh", "close"):
        monkeypatch.setattr(std.tqdm, name, getattr(std.tqdm, name))
    reports: list[tuple[Any, ...]] = []
    after_each_refresh(std, lambda *report: reports.append(report))
    try:
        bar = bars.tqdm(total=4, desc="outer", unit="step", **({"file": io.StringIO()} if module == "tqdm.std" else {}))
    except ImportError as error:
        pytest.skip(str(error))
    bar.update(3)
    bar.refresh()
    assert reports[-1][:3] == (3, 4, "step")
    assert reports[-1][3].startswith("outer")
    bar.update(1)
    bar.close()
    assert reports[-1][:2] == (4, 4)
