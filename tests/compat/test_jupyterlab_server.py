"""``compat.jupyterlab_server`` against the installed version."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

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


def test_schemas_of_a_domain_are_translated_by_the_catalogue_of_the_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    translator = translation_utils.translator
    monkeypatch.setattr(translator, "_LOCALE", "en")
    monkeypatch.setattr(translator, "_TRANSLATORS", {})
    catalogue = tmp_path / "zh_CN/LC_MESSAGES/fastgpu_test.json"
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text(json.dumps({"": {}, "schema\x04Panel": ["面板"], "settings\x04Ended": ["已结束"]}))
    schema = {
        "title": "Panel",
        "jupyter.lab.internationalization": {"domain": "fastgpu_test"},
        "properties": {"ended": {"title": "Ended", "description": "It is not translated."}},
    }
    assert jupyterlab_server.translate_schemas("fastgpu_test", tmp_path)
    assert translator.translate_schema(copy.deepcopy(schema))["title"] == "Panel"
    translator.set_locale("zh_CN")
    translated = translator.translate_schema(copy.deepcopy(schema))
    assert translated["title"] == "面板"
    assert translated["properties"]["ended"] == {"title": "已结束", "description": "It is not translated."}
    translator.set_locale("de")  # there is no catalogue
    assert translator.translate_schema(copy.deepcopy(schema))["title"] == "Panel"


def test_schemas_stay_english_without_jupyterlab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(sys.modules, "jupyterlab_server.translation_utils")
    assert not jupyterlab_server.translate_schemas("fastgpu_test", tmp_path)
