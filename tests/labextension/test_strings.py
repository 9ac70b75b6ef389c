"""Chinese is complete: every string of the front end and every message has a translation with the same placeholders."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path

import pytest

from fastgpu_jupyter.messages import Plural, catalogue
from tests.labextension import strings
from tests.labextension.strings import Translatable, calls_in, missing, translatables, translations

HOW = "`python -m tests.labextension.strings` lists what is missing; --prune removes what is not used any more"


def placeholders(text: str) -> set[str]:
    """Return the placeholders of a string of the front end, such as ``%1``."""
    return set(re.findall(r"%\d", text))


def fields(text: str) -> set[str]:
    """Return the parameters that a template of a message names."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_string_of_the_front_end_is_a_literal_and_translated() -> None:
    assert [one for one in translatables() if isinstance(one, str)] == []
    assert [f"{one.where}: {one.key}" for one in missing()[0]] == [], HOW


def test_every_message_is_translated() -> None:
    assert missing()[1] == [], HOW


def test_translations_have_the_placeholders_of_the_english_text() -> None:
    uses = {one.key: one for one in translatables() if isinstance(one, Translatable)}
    differ = [
        key
        for key, text in translations().items()
        if key in uses and placeholders(text) != placeholders(uses[key].plural or uses[key].text)
    ]
    assert differ == []
    messages = []
    for code, text in catalogue("zh_CN").items():
        english = catalogue().get(code, "")
        assert isinstance(text, str)  # Chinese has one form
        if fields(text) != fields(english.other if isinstance(english, Plural) else english):
            messages.append(code)
    assert messages == []


def test_no_translation_is_left_of_a_string_that_is_gone() -> None:
    used = {one.key for one in translatables() if isinstance(one, Translatable)}
    assert sorted(set(translations()) - used) == [], HOW
    assert sorted(set(catalogue("zh_CN")) - set(catalogue())) == []


def test_translations_use_the_words_that_are_agreed_on() -> None:
    # Of one term there is one translation; these are others that Chinese texts have for it.
    wrong = re.compile("内存条|笔记簿|记事本|核心(?!数)|显卡|虚拟GPU|暂停|冻结")
    texts = [*translations().values(), *(str(text) for text in catalogue("zh_CN").values())]
    assert [text for text in texts if wrong.search(text)] == []


def test_calls_in_finds_texts_contexts_and_plurals_and_refuses_what_is_no_literal() -> None:
    source = """
        trans.__('It’s %1', name);
        trans._n("one \\"request\\"", 'several ' +
          'requests', n);
        trans._p('verb', 'Park');
        trans.__(`plain`);
        // trans.__(comment)
        trans.__(template);
    """
    found = list(calls_in(source, "a.ts"))
    assert [(one.key, one.plural) for one in found if isinstance(one, Translatable)] == [
        ("It’s %1", None), ('one "request"', "several requests"), ("verb | Park", None), ("plain", None),
    ]  # fmt: skip
    assert [one for one in found if isinstance(one, str)] == ["a.ts:8"]


def test_main_lists_what_is_missing_in_the_form_of_the_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = translations()
    removed = sorted(known)[0]
    source = tmp_path / "zh_CN.json"
    source.write_text(json.dumps({key: text for key, text in known.items() if key != removed}))
    monkeypatch.setattr(strings, "SOURCE", source)
    assert strings.main([]) == 1
    assert f'  {json.dumps(removed, ensure_ascii=False)}: "",' in capsys.readouterr().out
    source.write_text(json.dumps({**known, "It is gone.": "没有了。"}))
    strings.main(["--prune"])
    assert json.loads(source.read_text()) == known
