"""Generated programs: calls with equal keys have equal results, whatever was changed between them.

A program is a chain of helpers of many kinds, each with one constant and calls of helpers before it. The second
program of a pair is the first with one change, which may be one that its call does not reach.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.jobs.cache import CacheKey, difference, key_of_function
from fastgpu_jupyter.messages import render
from tests.jobs.cache.programs import Submitted, submitted

EXAMPLES = int(os.environ.get("FASTGPU_CACHE_PROGRAMS", "60"))

#: Kind -> a function ``{n}`` with the constant ``{h}``, that uses the expression ``{e}`` of ``x``.
KINDS: Mapping[str, str] = {
    "constant": "def {n}(x):\n    return {e} + {h}\n",
    "branch": "def {n}(x):\n    if x > {h}:\n        return {e}\n    return -x\n",
    "default": "def {n}(x, k={h}):\n    return {e} * k\n",
    "keyword": "def {n}(x, *, k={h}):\n    return {e} - k\n",
    "list in a default": "def {n}(x, k=[]):\n    return {e} + sum(k)\n{n}.__defaults__[0].append({h})\n",
    "closure": "def make_{n}(k):\n    def {n}(x):\n        return {e} + k\n    return {n}\n{n} = make_{n}({h})\n",
    "closure in place": (
        "def make_{n}(k):\n    def {n}(x):\n        return {e} + k[0]\n    return {n}, k\n{n}, k_{n} = make_{n}([0])\nk_{n}[0] = {h}\n"
    ),
    "global": "G_{n} = {h}\ndef {n}(x):\n    return {e} - G_{n}\n",
    "dict in place": "D_{n} = {{'a': {{'b': 0}}}}\ndef {n}(x):\n    return {e} + D_{n}['a']['b']\nD_{n}['a']['b'] = {h}\n",
    "attribute": "def {n}(x):\n    return {e} + {n}.k\n{n}.k = {h}\n",
    "lambda": "{n} = lambda x: {e} + {h}\n",
    "nested": "def {n}(x):\n    def inner():\n        return {h}\n    return {e} + inner()\n",
    "comprehension": "def {n}(x):\n    return sum([{e} + {h} for _ in range(2)])\n",
    "recursion": "def {n}(x, d=2):\n    return {e} + {h} if d == 0 else {n}(x, d - 1)\n",
    "method": "class C_{n}:\n    def m(self, x):\n        return {e} + {h}\ndef {n}(x):\n    return C_{n}().m(x)\n",
    "class attribute": "class C_{n}:\n    k = {h}\ndef {n}(x):\n    return {e} + C_{n}.k\n",
    "inherited": "class B_{n}:\n    k = {h}\nclass C_{n}(B_{n}):\n    pass\ndef {n}(x):\n    return {e} + C_{n}().k\n",
    "state": "class C_{n}:\n    pass\no_{n} = C_{n}()\no_{n}.k = {h}\ndef {n}(x):\n    return {e} + o_{n}.k\n",
    "slots": "class C_{n}:\n    __slots__ = ('k',)\no_{n} = C_{n}()\no_{n}.k = {h}\ndef {n}(x):\n    return {e} + o_{n}.k\n",
    "property": "class C_{n}:\n    @property\n    def k(self):\n        return {h}\ndef {n}(x):\n    return {e} + C_{n}().k\n",
    "bound method": "class C_{n}:\n    k = {h}\n    def m(self, x):\n        return {e} + self.k\n{n} = C_{n}().m\n",
    "callable": "class C_{n}:\n    def __call__(self, x):\n        return {e} + {h}\n{n} = C_{n}()\n",
    "partial": "import functools\ndef p_{n}(x, k):\n    return {e} + k\n{n} = functools.partial(p_{n}, k={h})\n",
    "cached": "import functools\n@functools.lru_cache\ndef {n}(x):\n    return {e} + {h}\n",
    "decorator": (
        "import functools\ndef d_{n}(k):\n    def wrap(g):\n        @functools.wraps(g)\n        def wrapped(x):\n"
        "            return g(x) + k\n        return wrapped\n    return wrap\n@d_{n}({h})\ndef {n}(x):\n    return {e}\n"
    ),
    "dataclass": "import dataclasses\n@dataclasses.dataclass\nclass C_{n}:\n    k: int = {h}\ndef {n}(x):\n    return {e} + C_{n}().k\n",
    "set": "S_{n} = {{{h}, 'a', 7}}\ndef {n}(x):\n    return {e} + ({h} in S_{n}) + (3 in S_{n})\n",
    "float": "F_{n} = ({h} - 2) * 0.0\ndef {n}(x):\n    return {e} + (str(F_{n}) == '-0.0')\n",
    "array": "import numpy as np\nA_{n} = np.array([1, {h}])\ndef {n}(x):\n    return {e} + int(A_{n}[1])\n",
    "without source": "exec('def {n}(x): return {e} + {h}')\n",
    "in a table": "def t_{n}(x):\n    return {e} + {h}\nT_{n} = {{'f': [t_{n}]}}\ndef {n}(x):\n    return T_{n}['f'][0](x)\n",
    "type": "K_{n} = int({h}) if {h} % 2 else float({h})\ndef {n}(x):\n    return {e} + len(str(K_{n}))\n",
    "generator": "def g_{n}(x):\n    yield {e}\n    yield {h}\ndef {n}(x):\n    return sum(g_{n}(x))\n",
}  # fmt: skip
#: What a user may do to a notebook without a change of what it computes.
COSMETIC = ("comments", "blank lines", "other name", "reordered", "unused", "notebook")


@dataclass(frozen=True)
class Helper:
    """One function of a program."""

    kind: str
    constant: int
    calls: tuple[int, ...]  #: helpers before it


@dataclass(frozen=True)
class Generated:
    """A program: helpers, of which the last one is called with ``argument``."""

    helpers: tuple[Helper, ...]
    argument: int
    looks: tuple[str, ...] = ()

    def source(self) -> str:
        """Return the text of the notebook."""
        parts = []
        last = len(self.helpers) - 1
        for number, helper in enumerate(self.helpers):
            called = "".join(f" + h{one}(x)" for one in helper.calls)
            name = "renamed" if number == last and "other name" in self.looks else f"h{number}"
            parts.append(KINDS[helper.kind].format(n=name, h=helper.constant, e=f"(x{called})"))
        if "unused" in self.looks:
            parts.insert(0, "def unused(x, k=3):\n    return x\nUNUSED = [1]\n")
        if "reordered" in self.looks:
            parts.insert(0, "".join(part for part in parts if "def h0(" in part))
        text = "".join(parts)
        if "comments" in self.looks:
            text = text.replace(":\n", ":  # a comment\n")
        if "blank lines" in self.looks:
            text = "\n\n" + text.replace("\nimport", "\n\n\nimport")
        return f"{text}{name}({self.argument})\n"

    def submitted(self) -> Submitted:
        """Return the call that the notebook submits."""
        return submitted(self.source(), f"/tmp/ipykernel_1/{'other' if 'notebook' in self.looks else 'one'}.py")


@st.composite
def programs(draw: st.DrawFn) -> Generated:
    """Return any program of one to five helpers."""
    helpers = []
    for number in range(draw(st.integers(1, 5))):
        calls = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True)) if number else []
        helpers.append(Helper(draw(st.sampled_from(sorted(KINDS))), draw(st.integers(0, 3)), tuple(calls)))
    return Generated(tuple(helpers), draw(st.integers(0, 3)))


@st.composite
def changed(draw: st.DrawFn, program: Generated) -> Generated:
    """Return a program with one change."""
    number = draw(st.integers(0, len(program.helpers) - 1))
    helper = program.helpers[number]
    match draw(st.sampled_from(("constant", "constant", "constant", "calls", "kind", "argument"))):
        case "constant":
            helper = replace(helper, constant=draw(st.integers(0, 3)))
        case "calls":
            helper = replace(helper, calls=helper.calls[1:])
        case "kind":
            helper = replace(helper, kind=draw(st.sampled_from(sorted(KINDS))))
        case _:
            return replace(program, argument=draw(st.integers(0, 3)))
    helpers = (*program.helpers[:number], helper, *program.helpers[number + 1 :])
    return replace(program, helpers=helpers)


def key_and_result(program: Generated) -> tuple[CacheKey, Any]:
    """Return the key of the call, and its result."""
    call = program.submitted()
    environment = {"interpreter": sys.executable, "cwd": "/", "variables": {}}
    key = key_of_function(*call, environment=environment)
    assert isinstance(key, CacheKey), render(key.message)
    return key, repr(call.function(*call.args, **call.kwargs))


@pytest.mark.slow
@given(st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_equal_keys_imply_equal_results(data: st.DataObject) -> None:
    program = data.draw(programs())
    first, result = key_and_result(program)
    second, other = key_and_result(data.draw(changed(program)))
    if first.digest == second.digest:
        assert result == other


@pytest.mark.slow
@given(programs(), st.lists(st.sampled_from(COSMETIC), min_size=1, max_size=4, unique=True))
@settings(max_examples=EXAMPLES, deadline=None)
def test_other_looks_have_the_same_key(program: Generated, looks: Sequence[str]) -> None:
    first, result = key_and_result(program)
    renamed = program.helpers[-1].kind in RENAMED
    second, other = key_and_result(
        replace(program, looks=tuple(one for one in looks if renamed or one != "other name"))
    )
    assert result == other
    changes = [render(one) for one in difference(first.ingredients, second.ingredients)]
    assert first.digest == second.digest, (changes, program.source())


#: Kinds of which the function itself has the name, and nothing else does.
RENAMED = frozenset({"constant", "branch", "default", "keyword", "lambda", "nested", "comprehension", "recursion"})


@pytest.mark.parametrize("kind", KINDS)
def test_constant_of_each_kind_is_in_the_key_and_in_the_result(kind: str) -> None:
    keys, results = zip(
        *(key_and_result(Generated((Helper(kind, constant, ()),), 1)) for constant in (0, 3)), strict=True
    )
    assert keys[0].digest != keys[1].digest
    assert results[0] != results[1]


@pytest.mark.parametrize("kind", KINDS)
def test_call_of_each_kind_is_in_the_key(kind: str) -> None:
    inner = (Helper("constant", 1, ()), Helper("constant", 2, ()))
    keys = [key_and_result(Generated((one, Helper(kind, 1, (0,))), 2))[0] for one in inner]
    assert keys[0].digest != keys[1].digest
