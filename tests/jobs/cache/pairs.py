"""Pairs of programs that must, or must not, share a key: the table that says what a key is.

A program is what a user wrote in a notebook. Its last line is the call that is submitted as a job. ``FILES`` are put
into the notebook's folder first, which is on the path for imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastgpu_jupyter.jobs.cache import Declared


@dataclass(frozen=True)
class Program:
    """What a user wrote: cells, files beside the notebook, and what was declared for the job."""

    code: str
    files: Mapping[str, str] = field(default_factory=dict)
    declared: Declared = field(default_factory=Declared)
    variables: Mapping[str, str] = field(default_factory=dict)
    notebook: str = "first"


@dataclass(frozen=True)
class Pair:
    """Two programs, and whether their calls have one key."""

    name: str
    shares: bool
    one: Program
    other: Program


def same(name: str, one: str | Program, other: str | Program) -> Pair:
    """Return a pair that must share a key."""
    return Pair(name, shares=True, one=_program(one), other=_program(other))


def differs(name: str, one: str | Program, other: str | Program) -> Pair:
    """Return a pair that must not share a key."""
    return Pair(name, shares=False, one=_program(one), other=_program(other))


def change(name: str, text: str, old: str, new: str) -> Pair:
    """Return a pair that must not share a key: a program, and the same with one change."""
    assert old in text
    return differs(name, text, text.replace(old, new))


def keep(name: str, text: str, old: str, new: str) -> Pair:
    """Return a pair that must share a key: a program, and the same with one change."""
    assert old in text
    return same(name, text, text.replace(old, new))


def _program(given: str | Program) -> Program:
    return given if isinstance(given, Program) else Program(given)


def returns(first: str, second: str, *, imports: str = "") -> tuple[str, str]:
    """Return two programs that pass different arguments to a function that returns its argument."""
    text = "{}\ndef f(x):\n    return x\nf({})\n"
    return text.format(imports, first), text.format(imports, second)


TRAIN = """
def f(x, lr=0.1):
    y = x * lr
    return y + 1
f(2)
"""
HELPERS = """
def far(x):
    return x + 1
def near(x):
    return far(x) * 2
def f(x):
    return near(x)
f(2)
"""
MODEL = """
class Base:
    scale = 2
    def forward(self, x):
        return x * self.scale
class Model(Base):
    '''A model.'''
    bias = 1
    def __init__(self, width):
        self.width = width
    def run(self, x):
        return self.forward(x) + self.bias + self.width
    @property
    def size(self):
        return self.width * 3
    @staticmethod
    def norm(x):
        return abs(x)
    @classmethod
    def make(cls):
        return cls(4)
def f(x):
    model = Model.make()
    return Model.norm(model.run(x)) + model.size
f(2)
"""
TWO_WAY = """
def even(n):
    return True if n == 0 else odd(n - 1)
def odd(n):
    return False if n == 0 else even(n - 1)
even(10)
"""

CODE = (
    keep("comment", TRAIN, "return y", "# the result\n    return y"),
    keep("comment at the end of a line", TRAIN, "y + 1", "y + 1  # one more"),
    keep("blank lines", TRAIN, "    return", "\n\n    return"),
    keep("indentation", TRAIN, "    ", "  "),
    keep("parentheses", TRAIN, "x * lr", "(x * lr)"),
    keep("blanks around operators", TRAIN, "x * lr", "x*lr"),
    keep("line break", TRAIN, "x * lr", "(x *\n         lr)"),
    keep("two statements on a line", TRAIN, "y = x * lr\n    return", "y = x * lr; return"),
    keep("quotes", "def f():\n    return 'a'\nf()", "'a'", '"a"'),
    keep("prefix of a text", "def f():\n    return 'a'\nf()", "'a'", "u'a'"),
    keep("notation of a number", "def f():\n    return 16\nf()", "16", "0x10"),
    keep("notation of a float", "def f():\n    return 1000.0\nf()", "1000.0", "1e3"),
    keep("trailing comma", "def f(a, b):\n    return a\nf(1, 2)", "(a, b)", "(a, b,)"),
    keep("name of the function", TRAIN, "f(", "train("),
    keep("name of a recursive function", "def f(n):\n    return n and n * f(n - 1) + 1\nf(3)", "f(", "g("),
    same("renamed notebook", Program(TRAIN, notebook="first"), Program(TRAIN, notebook="renamed")),
    same("other line", TRAIN, "\n\n\nspare = 1\n" + TRAIN),
    same("cell with other definitions", TRAIN, "def other():\n    return 1\n" + TRAIN),
    same("unused helper", HELPERS, "def unused():\n    return 3\n" + HELPERS),
    same("unused variable", "unused = 1\n" + TRAIN, "unused = 2\n" + TRAIN),
    same("recursion that is the same", TWO_WAY, "\n" + TWO_WAY),
    keep("unused import", "import math\n" + TRAIN, "import math", "import json"),
    differs("two notebooks with one function name", Program(TRAIN), Program(TRAIN.replace("*", "+"), notebook="second")),
    change("operator", TRAIN, "x * lr", "x / lr"),
    change("constant", TRAIN, "y + 1", "y + 2"),
    change("constant of another type", TRAIN, "y + 1", "y + True"),
    change("order of statements", "def f(x):\n    a = [1]\n    a += [x]\n    a *= 2\n    return a\nf(3)",
           "a += [x]\n    a *= 2", "a *= 2\n    a += [x]"),
    change("docstring, which code can read", "def f():\n    'one'\n    return f.__doc__\nf()", "'one'", "'two'"),
    change("name, where the function reads it", "def f():\n    return f.__name__\nf()", "f(", "g("),
    change("name, where it is read by getattr", "def f(x=1):\n    return getattr(f, '__qualname__')\nf()", "f(", "g("),
    keep("name, where only names of classes are read", "from dataclasses import dataclass\n@dataclass\nclass A:\n    k: int = 1\ndef f():\n    return A(), type(1).__name__, A().__class__.__name__\nf()", "f(", "g("),
    differs("name, where a helper reads it", "def g(h):\n    return h.__name__\ndef f():\n    return g(f)\nf()", "def g(h):\n    return h.__name__\ndef k():\n    return g(k)\nk()"),
    change("nested function", "def f(x):\n    def g():\n        return x + 1\n    return g()\nf(1)", "x + 1", "x + 2"),
    change("lambda", "g = lambda x: x + 1\ndef f(x):\n    return g(x)\nf(1)", "x + 1", "x + 2"),
    change("lambdas on one line", "a, b = lambda x: x + 1, lambda x: x + 2\ndef f(x):\n    return a(x) * 3 + b(x)\nf(1)",
           "x + 2", "x + 3"),
    change("code without source", "exec('def g(x): return x + 1')\ndef f(x):\n    return g(x)\nf(1)", "+ 1", "+ 2"),
    change("annotation", "def f(x: int):\n    return f.__annotations__\nf(1)", "int", "float"),
)  # fmt: skip

REACHED = (
    change("helper", HELPERS, "far(x) * 2", "far(x) * 3"),
    change("helper two calls away", HELPERS, "x + 1", "x + 2"),
    change("one of two functions that call each other", TWO_WAY, "False if", "None if"),
    change("helper in a comprehension", "def g(x):\n    return x + 1\ndef f(x):\n    return [g(y) for y in x]\nf([1])", "+ 1", "+ 2"),
    change("helper in a dictionary", "def g(x):\n    return x + 1\nT = {'g': g}\ndef f(x):\n    return T['g'](x)\nf(1)", "+ 1", "+ 2"),
    change("helper in a list of lists", "def g(x):\n    return x + 1\nT = [[g]]\ndef f(x):\n    return T[0][0](x)\nf(1)", "+ 1", "+ 2"),
    change("function as argument", "def g(x):\n    return x + 1\ndef f(h):\n    return h(1)\nf(g)", "+ 1", "+ 2"),
    change("function in an argument", "def g(x):\n    return x + 1\ndef f(h):\n    return h['a'][0](1)\nf({'a': (g,)})", "+ 1", "+ 2"),
    change("default argument", TRAIN, "lr=0.1", "lr=0.2"),
    change("keyword-only default", "def f(x, *, lr=0.1):\n    return x * lr\nf(2)", "0.1", "0.2"),
    change("default of a helper", "def g(x, k=1):\n    return x + k\ndef f(x):\n    return g(x)\nf(1)", "k=1", "k=2"),
    differs("mutable default changed in place", "def f(x, seen=[]):\n    return x, list(seen)\nf(1)",
            "def f(x, seen=[]):\n    return x, list(seen)\nf.__defaults__[0].append(1)\nf(1)"),
    change("closure value", "def make(k):\n    def f(x):\n        return x * k\n    return f\nf = make(2)\nf(3)", "make(2)", "make(4)"),
    change("closure of a closure", "def a(k):\n    def b():\n        def f(x):\n            return x * k\n        return f\n    return b()\nf = a(2)\nf(3)", "a(2)", "a(4)"),
    change("closure function", "def make(g):\n    def f(x):\n        return g(x)\n    return f\nf = make(lambda x: x + 1)\nf(3)", "x + 1", "x + 2"),
    change("global value", "K = 1\ndef f(x):\n    return x + K\nf(1)", "K = 1", "K = 2"),
    change("global read by a nested function", "K = 1\ndef f(x):\n    def g():\n        return K\n    return g()\nf(1)", "K = 1", "K = 2"),
    change("global read by a class inside", "K = 1\ndef f(x):\n    class A:\n        k = K\n    return A.k\nf(1)", "K = 1", "K = 2"),
    differs("global dict changed in place", "C = {'lr': 1}\ndef f(x):\n    return C['lr']\nf(1)", "C = {'lr': 1}\ndef f(x):\n    return C['lr']\nC['lr'] = 2\nf(1)"),
    differs("global list changed in place", "C = [1]\ndef f(x):\n    return sum(C)\nf(1)", "C = [1]\ndef f(x):\n    return sum(C)\nC.append(2)\nf(1)"),
    differs("inner dict changed in place", "C = {'a': {'b': 1}}\ndef f():\n    return C['a']['b']\nf()", "C = {'a': {'b': 1}}\ndef f():\n    return C['a']['b']\nC['a']['b'] = 2\nf()"),
    change("name that is not defined yet", "def f():\n    try:\n        return K\n    except NameError:\n        return 0\n#\nf()", "#", "K = 1"),
    change("name without a value and one with a text", "def f():\n    try:\n        return K\n    except NameError:\n        return 0\n#\nf()", "#", "K = 'unbound'"),
    same("combination of flags that was used before", "from enum import Flag\nclass E(Flag):\n    A = 1\n    B = 2\ndef f():\n    return (E.A | E.B).value\nf()", "from enum import Flag\nclass E(Flag):\n    A = 1\n    B = 2\nE.A | E.B\ndef f():\n    return (E.A | E.B).value\nf()"),
    change("decorator", "def twice(g):\n    def wrapped(x):\n        return g(x) * 2\n    return wrapped\n@twice\ndef f(x):\n    return x\nf(1)", "* 2", "* 3"),
    change("argument of a decorator", "def times(k):\n    def wrap(g):\n        def wrapped(x):\n            return g(x) * k\n        return wrapped\n    return wrap\n@times(2)\ndef f(x):\n    return x\nf(1)", "times(2)", "times(3)"),
    change("decorated function", "import functools\ndef same(g):\n    @functools.wraps(g)\n    def wrapped(x):\n        return g(x)\n    return wrapped\n@same\ndef f(x):\n    return x + 1\nf(1)", "x + 1", "x + 2"),
    change("cached function", "import functools\n@functools.lru_cache\ndef g(x):\n    return x + 1\ndef f(x):\n    return g(x)\nf(1)", "x + 1", "x + 2"),
    change("attribute of a function", "def f(x):\n    return f.k\nf.k = 1\nf(1)", "f.k = 1", "f.k = 2"),
    change("partial", "import functools\ndef f(x, k):\n    return x + k\ng = functools.partial(f, k=1)\ng(1)", "k=1", "k=2"),
    change("function of a partial", "import functools\ndef f(x, k):\n    return x + k\ng = functools.partial(f, k=1)\ng(1)", "x + k", "x - k"),
    change("method", MODEL, "self.forward(x) + self.bias", "self.forward(x) - self.bias"),
    change("inherited method", MODEL, "x * self.scale", "x + self.scale"),
    change("class attribute", MODEL, "bias = 1", "bias = 2"),
    change("inherited attribute", MODEL, "scale = 2", "scale = 3"),
    change("property", MODEL, "self.width * 3", "self.width * 4"),
    change("static method", MODEL, "abs(x)", "-x"),
    change("class method", MODEL, "cls(4)", "cls(5)"),
    differs("method replaced later", MODEL, MODEL.replace("f(2)\n", "Model.run = lambda self, x: 0\nf(2)\n")),
    change("base class", "class A:\n    k = 1\nclass B:\n    k = 2\nclass C(A):\n    pass\ndef f():\n    return C.k\nf()", "C(A)", "C(B)"),
    change("bound method", "class A:\n    def __init__(self, k):\n        self.k = k\n    def f(self, x):\n        return x + self.k\na = A(1)\na.f(1)", "A(1)", "A(2)"),
    change("object that is called", "class A:\n    def __call__(self, x):\n        return x + 1\na = A()\na(1)", "x + 1", "x + 2"),
    change("state of an object", "class A:\n    def __init__(self, k):\n        self.k = k\na = A(1)\ndef f():\n    return a.k\nf()", "A(1)", "A(2)"),
    change("object with slots", "class A:\n    __slots__ = ('k',)\na = A()\na.k = 1\ndef f():\n    return a.k\nf()", "a.k = 1", "a.k = 2"),
    change("class of an argument", "class A:\n    def g(self):\n        return 1\ndef f(a):\n    return a.g()\nf(A())", "return 1", "return 2"),
    change("default of a dataclass", "from dataclasses import dataclass\n@dataclass\nclass A:\n    k: int = 1\ndef f():\n    return A().k\nf()", "k: int = 1", "k: int = 2"),
    change("value of an enumeration", "from enum import Enum\nclass E(Enum):\n    A = 1\ndef f():\n    return E.A.value\nf()", "A = 1", "A = 2"),
    same("unused class", MODEL, "class Unused:\n    pass\n" + MODEL),
    same("object that has pickled before", "class A:\n    pass\na = A()\ndef f():\n    return type(a).__name__\nf()", "import copyreg\nclass A:\n    pass\na = A()\na.__reduce_ex__(4)\ndef f():\n    return type(a).__name__\nf()"),
)  # fmt: skip

PATCHES = (
    differs("monkeypatched function of a library", "import numpy as np\ndef f(x):\n    return np.mean(x)\nf([1, 2])", "import numpy as np\nnp.mean = lambda x: 0\ndef f(x):\n    return np.mean(x)\nf([1, 2])"),
    differs("function of a library replaced by another of it", "import numpy as np\ndef f(x):\n    return np.mean(x)\nf([1, 2])", "import numpy as np\nnp.mean = np.median\ndef f(x):\n    return np.mean(x)\nf([1, 2])"),
    differs("monkeypatched deep in a library", "import numpy as np\ndef f(x):\n    return np.var(x)\nf([1, 2])", "import numpy as np, numpy._core._methods as m\nm._mean = lambda *a, **k: 0\ndef f(x):\n    return np.var(x)\nf([1, 2])"),
    differs("monkeypatched constant of the standard library", "import math\ndef f(x):\n    return math.pi\nf(1)", "import math\nmath.pi = 3\ndef f(x):\n    return math.pi\nf(1)"),
    differs("monkeypatched standard library", "import json\ndef f(x):\n    return json.dumps(x)\nf(1)", "import json\njson.dumps = str\ndef f(x):\n    return json.dumps(x)\nf(1)"),
    differs("monkeypatched method of a library's class", "import numpy as np\ndef f(x):\n    return np.poly1d(x)(2)\nf([1, 2])", "import numpy as np\nnp.poly1d.__call__ = lambda self, x: 0\ndef f(x):\n    return np.poly1d(x)(2)\nf([1, 2])"),
    differs("builtin function replaced", "def f(x):\n    return ascii(x)\nf('a')", "import builtins\nbuiltins.ascii = lambda x: 7\ndef f(x):\n    return ascii(x)\nf('a')"),
    differs("builtin function hidden by a global", "def f(x):\n    return len(x)\nf('a')", "len = lambda x: 7\ndef f(x):\n    return len(x)\nf('a')"),
)  # fmt: skip

VALUES = (
    differs("int and float", *returns("1", "1.0")),
    differs("int and bool", *returns("1", "True")),
    differs("zero and minus zero", *returns("0.0", "-0.0")),
    same("NaN", *returns("float('nan')", "float('nan')")),
    differs("NaN and None", *returns("float('nan')", "None")),
    differs("text and bytes", *returns("'a'", "b'a'")),
    differs("text of another normal form", *returns(r"'\u00e9'", r"'e\u0301'")),
    differs("where a list is divided", *returns("['ab', 'c']", "['a', 'bc']")),
    differs("where a long list is divided", *returns("['ab', 'c'] * 20", "['a', 'bc'] * 20")),
    differs("list and tuple", *returns("[1]", "(1,)")),
    differs("nesting", *returns("[[1], 2]", "[[1, 2]]")),
    differs("empty containers", *returns("{}", "set()")),
    differs("order of a dictionary", *returns("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}")),
    same("order in which a set was made", "def f(x):\n    return len(x)\nf({1, 9, 'a', (2, 'b')})", "def f(x):\n    return len(x)\nf({(2, 'b'), 'a', 9, 1})"),
    differs("set and frozen set", *returns("{1}", "frozenset([1])")),
    differs("one list twice", *returns("[[1]] * 2", "[[1], [1]]")),
    differs("one list in two arguments", "a = [1]\nb = [1]\ndef f(x, y):\n    x.append(2)\n    return y\nf(a, a)", "a = [1]\nb = [1]\ndef f(x, y):\n    x.append(2)\n    return y\nf(a, b)"),
    differs("which list is met again", "a, b = [1], [1]\ndef f(x):\n    x[2].append(2)\n    return x\nf([a, b, a])", "a, b = [1], [1]\ndef f(x):\n    x[2].append(2)\n    return x\nf([a, b, b])"),
    same("list that holds itself", "a = [1]\na.append(a)\ndef f(x):\n    return len(x)\nf(a)", "b = [1]\nb.append(b)\ndef f(x):\n    return len(x)\nf(b)"),
    differs("lists that hold one another", "a = [1]\na.append(a)\ndef f(x):\n    return x[1] is x\nf(a)", "a = [1, [1]]\na[1].append(a)\ndef f(x):\n    return x[1] is x\nf(a)"),
    differs("large integers", *returns("10**400", "10**400 + 1")),
    differs("long lists of integers", *returns("[1] * 50", "[1] * 49 + [2]")),
    differs("long lists of two types", *returns("[1] * 50", "[1.0] * 50")),
    differs("decimal places", *returns("Decimal('1.0')", "Decimal('1.00')", imports="from decimal import Decimal")),
    differs("time zone", *returns("datetime(2026, 1, 1, tzinfo=timezone.utc)", "datetime(2026, 1, 1)", imports="from datetime import datetime, timezone")),
    differs("flags of a pattern", *returns("re.compile('a')", "re.compile('a', re.I)", imports="import re")),
    differs("path and text", *returns("Path('a')", "'a'", imports="from pathlib import Path")),
    differs("default factory", *returns("defaultdict(int)", "defaultdict(list)", imports="from collections import defaultdict")),
    differs("library function", *returns("math.sin", "math.cos", imports="import math")),
    differs("method of a value", *returns("'a'.upper", "'b'.upper")),
    same("keyword and position", TRAIN.replace("f(2)", "f(2, 0.5)"), TRAIN.replace("f(2)", "f(x=2, lr=0.5)")),
    same("default that is spelled out", TRAIN, TRAIN.replace("f(2)", "f(2, 0.1)")),
    differs("argument", TRAIN, TRAIN.replace("f(2)", "f(3)")),
    differs("position of arguments", "def f(a, b):\n    return a - b\nf(1, 2)", "def f(a, b):\n    return a - b\nf(2, 1)"),
    differs("order of keywords that are collected", "def f(**k):\n    return list(k)\nf(a=1, b=2)", "def f(**k):\n    return list(k)\nf(b=2, a=1)"),
)  # fmt: skip


def numpy(first: str, second: str) -> tuple[str, str]:
    """Return two programs with an array each."""
    return returns(first, second, imports="import numpy as np")


ARRAYS = (
    same("equal arrays", *numpy("np.arange(3)", "np.array([0, 1, 2])")),
    same("NaN in an array", *numpy("np.array([np.nan])", "np.array([np.nan])")),
    same("array that is a view", *numpy("np.arange(6)[::2]", "np.array([0, 2, 4])")),
    same("part of a table", *numpy("np.arange(12).reshape(3, 4)[:, 1:3]", "np.array([[1, 2], [5, 6], [9, 10]])")),
    differs("dtype", *numpy("np.arange(3, dtype='i4')", "np.arange(3, dtype='u4')")),
    differs("size of the numbers", *numpy("np.zeros(4, 'f4')", "np.zeros(2, 'f8')")),
    differs("byte order", *numpy("np.array([1], '<i4')", "np.array([1 << 24], '>i4')")),
    differs("shape", *numpy("np.zeros((2, 3))", "np.zeros((3, 2))")),
    differs("no and one dimension", *numpy("np.array(1.0)", "np.array([1.0])")),
    differs("minus zero in an array", *numpy("np.array([0.0])", "np.array([-0.0])")),
    differs("order of the axes in memory", *numpy("np.ones((2, 2))", "np.asfortranarray(np.ones((2, 2)))")),
    differs("one element", *numpy("np.zeros(100000)", "np.eye(1, 100000, 99999)[0]")),
    differs("writable", "import numpy as np\na = np.zeros(2)\ndef f(x):\n    return x.flags.writeable\nf(a)", "import numpy as np\na = np.zeros(2)\na.flags.writeable = False\ndef f(x):\n    return x.flags.writeable\nf(a)"),
    differs("array and list", *numpy("np.array([1])", "[1]")),
    differs("scalar and number", *numpy("np.float64(1)", "1.0")),
    differs("types of scalars", *numpy("np.float32(1)", "np.float64(1)")),
    differs("objects in an array", *numpy("np.array([{'a': 1}], dtype=object)", "np.array([{'a': 2}], dtype=object)")),
    differs("texts in an array", *numpy("np.array(['a', 'b'])", "np.array(['a', 'c'])")),
    differs("unit of times", *numpy("np.array([1], 'M8[s]')", "np.array([1], 'M8[ms]')")),
    differs("number of fields", *numpy("np.zeros(1, [('a', 'i4'), ('b', 'i4')])", "np.zeros(1, [('a', 'i8')])")),
    differs("names of fields", *numpy("np.zeros(1, [('a', 'i4')])", "np.zeros(1, [('b', 'i4')])")),
    differs("subclass of an array", *numpy("np.rec.array([(1,)])", "np.array([(1,)], np.rec.array([(1,)]).dtype)")),
    differs("mask", *numpy("np.ma.array([1, 2], mask=[0, 1])", "np.ma.array([1, 2], mask=[1, 0])")),
    differs("state of a generator", *numpy("np.random.default_rng(1)", "np.random.default_rng(2)")),
)  # fmt: skip


def pandas(first: str, second: str) -> tuple[str, str]:
    """Return two programs with a table each."""
    return returns(first, second, imports="import pandas as pd, numpy as np")


TABLES = (
    same("equal tables", *pandas("pd.DataFrame({'a': [1, 2]})", "pd.DataFrame([[1], [2]], columns=['a'])")),
    same("NaN in a table", *pandas("pd.DataFrame({'a': [np.nan]})", "pd.DataFrame({'a': [float('nan')]})")),
    same("table that was taken apart", *pandas("pd.DataFrame({'a': [1.0], 'b': [2.0]})", "pd.DataFrame({'a': [1.0]}).assign(b=2.0)")),
    differs("column order", *pandas("pd.DataFrame({'a': [1], 'b': [1]})", "pd.DataFrame({'b': [1], 'a': [1]})")),
    differs("order of columns with values", *pandas("pd.DataFrame({'a': [1], 'b': [2]})", "pd.DataFrame({'a': [2], 'b': [1]})")),
    differs("index", *pandas("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1]}, index=[7])")),
    differs("name of the index", *pandas("pd.Series([1])", "pd.Series([1]).rename_axis('i')")),
    differs("name of a series", *pandas("pd.Series([1], name='a')", "pd.Series([1], name='b')")),
    differs("dtypes of columns", *pandas("pd.DataFrame({'a': [1]})", "pd.DataFrame({'a': [1.0]})")),
    differs("nullable integers", *pandas("pd.Series([1, None], dtype='Int64')", "pd.Series([None, 1], dtype='Int64')")),
    same("what is behind a missing value", *pandas("pd.Series([1, 5], dtype='Int64').where([True, False])", "pd.Series([1, 6], dtype='Int64').where([True, False])")),
    differs("texts", *pandas("pd.Series(['a', 'b'])", "pd.Series(['a', 'c'])")),
    differs("missing text", *pandas("pd.Series(['a', None])", "pd.Series(['a', 'None'])")),
    differs("categories", *pandas("pd.Categorical(['a'], categories=['a', 'b'])", "pd.Categorical(['a'], categories=['b', 'a'])")),
    differs("ordered categories", *pandas("pd.Categorical(['a'], ordered=True)", "pd.Categorical(['a'])")),
    differs("times with a zone", *pandas("pd.to_datetime(['2026-01-01'], utc=True)", "pd.to_datetime(['2026-01-01'])")),
    differs("levels of an index", *pandas("pd.MultiIndex.from_tuples([(1, 2)])", "pd.MultiIndex.from_tuples([(2, 1)])")),
    differs("attributes of a table", "import pandas as pd\na = pd.DataFrame({'a': [1]})\ndef f(x):\n    return x.attrs\nf(a)", "import pandas as pd\na = pd.DataFrame({'a': [1]})\na.attrs['k'] = 1\ndef f(x):\n    return x.attrs\nf(a)"),
)  # fmt: skip


def tensors(first: str, second: str) -> tuple[str, str]:
    """Return two programs with a tensor each."""
    return returns(first, second, imports="import torch")


TENSORS = (
    same("equal tensors", *tensors("torch.Tensor([1.0, 2.0])", "torch.Tensor([1.0, 2.0])")),
    differs("content of a tensor", *tensors("torch.Tensor([1.0, 2.0])", "torch.Tensor([1.0, 3.0])")),
    differs("dtype of a tensor", *tensors("torch.Tensor([1, 2], 'i4')", "torch.Tensor([1, 2], 'u4')")),
    differs("device of a tensor", *tensors("torch.Tensor([1.0])", "torch.Tensor([1.0], device='cuda:0')")),
    differs("number of the device", *tensors("torch.Tensor([1.0], device='cuda:1')", "torch.Tensor([1.0], device='cuda:0')")),
    differs("shape of a tensor", *tensors("torch.Tensor([[1.0, 2.0]])", "torch.Tensor([1.0, 2.0])")),
    differs("tensors that share memory", "import torch\na = torch.Tensor([1.0, 2.0])\ndef f(x, y):\n    return x, y\nf(a, a[:1])", "import torch\na = torch.Tensor([1.0, 2.0])\ndef f(x, y):\n    return x, y\nf(a, torch.Tensor([1.0]))"),
    differs("gradient of a tensor", *tensors("torch.Tensor([1.0], requires_grad=True)", "torch.Tensor([1.0])")),
)  # fmt: skip

LOCAL = {
    "local_tools.py": "from local_more import more\nK = 1\ndef tool(x):\n    return more(x) + K\n",
    "local_more.py": "def more(x):\n    return x\n",
}
EFFECT = {"local_tools.py": "import local_more, sys\ndef tool(x):\n    return getattr(sys, 'local_effect')\n"}
USES_LOCAL = "import local_tools\ndef f(x):\n    return local_tools.tool(x)\nf(1)"
TAKES_LOCAL = "from local_tools import tool\ndef f(x):\n    return tool(x)\nf(1)"
INSIDE_LOCAL = "def f(x):\n    from local_tools import tool\n    return tool(x)\nf(1)"


def edited(name: str, old: str, new: str) -> dict[str, str]:
    """Return the local modules with a change in one of them."""
    assert old in LOCAL[name]
    return {**LOCAL, name: LOCAL[name].replace(old, new)}


READS = "def f():\n    return 1\nf()"
ENVIRON = "import os\ndef f():\n    return os.environ.get('DATA')\nf()"

SURROUNDINGS = (
    *(
        differs(f"edited local module, {how}", Program(code, LOCAL), Program(code, edited("local_tools.py", "+ K", "- K")))
        for how, code in (("by attribute", USES_LOCAL), ("by name", TAKES_LOCAL), ("imported inside", INSIDE_LOCAL))
    ),
    differs("local module of a local module", Program(USES_LOCAL, LOCAL), Program(USES_LOCAL, edited("local_more.py", "return x", "return -x"))),
    differs("module that a local module imports for its effect", Program(USES_LOCAL, {**EFFECT, "local_more.py": "import sys\nsys.local_effect = 1\n"}), Program(USES_LOCAL, {**EFFECT, "local_more.py": "import sys\nsys.local_effect = 2\n"})),
    differs("constant of a local module", Program(USES_LOCAL, LOCAL), Program(USES_LOCAL, edited("local_tools.py", "K = 1", "K = 2"))),
    same("comment in a local module", Program(USES_LOCAL, LOCAL), Program(USES_LOCAL, edited("local_more.py", "return x", "return x  # it"))),
    differs("local module changed in memory", Program(USES_LOCAL, LOCAL), Program(USES_LOCAL.replace("def f", "local_tools.K = 5\ndef f"), LOCAL)),
    differs("function of a local module replaced", Program(USES_LOCAL, LOCAL), Program(USES_LOCAL.replace("def f", "local_tools.tool = lambda x: 0\ndef f"), LOCAL)),
    differs("declared file", Program(READS, {"d.csv": "1"}, Declared(files=("d.csv",))), Program(READS, {"d.csv": "2"}, Declared(files=("d.csv",)))),
    same("declared file that was written again", Program(READS, {"d.csv": "1"}, Declared(files=("d.csv",))), Program(READS, {"d.csv": "1"}, Declared(files=("d.csv",)))),
    same("undeclared file, which a key cannot see", Program(READS, {"d.csv": "1"}), Program(READS, {"d.csv": "2"})),
    differs("file in a declared folder", Program(READS, {"d/a": "1"}, Declared(files=("d",))), Program(READS, {"d/b": "1"}, Declared(files=("d",)))),
    differs("declared and undeclared file", Program(READS, {"d.csv": "1"}, Declared(files=("d.csv",))), Program(READS, {"d.csv": "1"})),
    differs("declared environment variable", Program(ENVIRON, declared=Declared(variables=("DATA",)), variables={"DATA": "a"}), Program(ENVIRON, declared=Declared(variables=("DATA",)), variables={"DATA": "b"})),
    differs("environment variable that is empty or missing", Program(ENVIRON, declared=Declared(variables=("DATA",)), variables={"DATA": ""}), Program(ENVIRON, declared=Declared(variables=("DATA",)))),
    same("undeclared environment variable", Program(READS, variables={"OTHER": "a"}), Program(READS, variables={"OTHER": "b"})),
    differs("seed", Program(READS, declared=Declared(seed=1)), Program(READS, declared=Declared(seed=2))),
    differs("seed and none", Program(READS, declared=Declared(seed=0)), Program(READS)),
    differs("model of the GPU", Program(READS, declared=Declared(gpu_model="A100")), Program(READS, declared=Declared(gpu_model="H100"))),
    differs("key of the user", Program(READS, declared=Declared(key="a")), Program(READS, declared=Declared(key="b"))),
    differs("files to save", Program(READS, declared=Declared(save=("*.png",))), Program(READS)),
    same("order of files to save", Program(READS, declared=Declared(save=("a", "b"))), Program(READS, declared=Declared(save=("b", "a")))),
)  # fmt: skip

PAIRS: tuple[Pair, ...] = (*CODE, *REACHED, *PATCHES, *VALUES, *ARRAYS, *TABLES, *TENSORS, *SURROUNDINGS)
