"""``compat.jupyterlab_server`` against the installed version."""

from __future__ import annotations

import sys

import pytest

from fastgpu_jupyter.compat import jupyterlab_server

translation_utils = pytest.importorskip("jupyterlab_server.translation_utils")


def test_locale_is_the_one_that_the_page_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = translation_utils.translator
    monkeypatch.setattr(translator, "_LOCALE", translator._LOCALE)
    for wanted in ("zh_CN", "en"):
        translator.set_locale(wanted)
        assert jupyterlab_server.locale() == wanted


def test_locale_is_unknown_without_jupyterlab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jupyterlab_server.translation_utils")
    assert jupyterlab_server.locale() is None
