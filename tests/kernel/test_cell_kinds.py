"""Which cells only ask something, and so never wait."""

from __future__ import annotations

import pytest

from fastgpu_jupyter.kernel.cell_kinds import only_asks

ASKING = [
    "", "  \n\n", "# only a comment", "%fastgpu", "%fastgpu  help", "%fastgpu release", "%fastgpu?", "?%fastgpu",
    "%fastgpu??", "%fastgpu help  # what can I do", "%fastgpu status;", "# why\n\n  %fastgpu cpu\n%fastgpu status\n",
    "%%time\n%fastgpu status", "%%capture shown\n%fastgpu", "\ufeff%fastgpu", "!jupyter fastgpu queue",
    "! jupyter-fastgpu status --json", "?x", "x?", "x??", "torch.Tensor.to?", "?? model.layers", "%lsmagic", "%pinfo x",
    "?", "*int*?", "%%timeit?", "layers[0]?", "names['a']?", "# a comment\nx?",
    "from fastgpu_jupyter import GPUWidget\nGPUWidget()", "w = GPUWidget()", "fastgpu_jupyter.GPUWidget()",
]  # fmt: skip
USING = [
    "x = 1", "x", "%fastgpu release\nx = 1", "%fastgpus", "%time x", "%%time\nx = 1", "%run train.py",
    "x = 1  # why?", "print('really?')", "f(x)?\nf(x)", "layers[f()]?", "!nvidia-smi", "!jupyter fastgpu queue; train",
    "!jupyter fastgpu queue && train", "!train", "'''\nwhat?\n'''", "%pip install torch", "%%bash\n%fastgpu",
    "%%timeit\n%fastgpu", "x ? y", "GPUWidget().resize('half')", "from fastgpu_jupyter import GPUWidget; x = 1",
]  # fmt: skip


@pytest.mark.parametrize("code", ASKING)
def test_only_asks_accepts_comments_help_and_magics(code: str) -> None:
    assert only_asks(code)


@pytest.mark.parametrize("code", USING)
def test_only_asks_rejects_code_that_may_use_the_gpu(code: str) -> None:
    assert not only_asks(code)
