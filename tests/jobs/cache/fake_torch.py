"""A module that stands for PyTorch, which is too large to install for tests: tensors with dtype, device and gradient.

It has what the canonical form of a tensor reads, with the names and the meaning of PyTorch 2. That these names are
PyTorch's is shown on a machine that has it only.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

strided = "torch.strided"
uint8 = "torch.uint8"


class Tensor:
    """An array with a device; ``cpu`` copies it from there."""

    def __init__(self, data: Any, dtype: str = "f4", device: str = "cpu", *, requires_grad: bool = False) -> None:
        self._array = data if isinstance(data, np.ndarray) else np.array(data, dtype)
        self._device = device
        self.requires_grad = requires_grad
        self.layout = strided
        self.is_quantized = False
        self.dtype = f"torch.{self._array.dtype}"
        self.shape = self._array.shape
        self.device = _Device(device)

    def _like(self, array: Any, device: str | None = None) -> Tensor:
        return Tensor(array, device=device or self._device)

    def detach(self) -> Tensor:
        return self._like(self._array)

    def stride(self) -> tuple[int, ...]:
        return tuple(one // self._array.itemsize for one in self._array.strides)

    def is_contiguous(self) -> bool:
        return bool(self._array.flags.c_contiguous)

    def contiguous(self) -> Tensor:
        return self._like(np.ascontiguousarray(self._array))

    def reshape(self, *shape: int) -> Tensor:
        return self._like(self._array.reshape(*shape))

    def cpu(self) -> Tensor:
        return self._like(self._array, "cpu")

    def view(self, dtype: str) -> Tensor:
        assert dtype == uint8
        return self._like(self._array.view("u1"))

    def numpy(self) -> Any:
        assert self._device == "cpu", "NumPy reads no memory of a device"
        return self._array

    def untyped_storage(self) -> Any:
        base = self._array if self._array.base is None else self._array.base
        return SimpleNamespace(data_ptr=lambda: base.ctypes.data)

    def __getitem__(self, index: Any) -> Tensor:
        return self._like(self._array[index])

    def element_size(self) -> int:
        return int(self._array.itemsize)

    def __repr__(self) -> str:
        return f"tensor({self._array!r}, {self._device})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tensor) and bool((self._array == other._array).all())

    def __hash__(self) -> int:
        return id(self)


class _Device:
    def __init__(self, name: str) -> None:
        self.type = name.partition(":")[0]
        self._name = name

    def __str__(self) -> str:
        return self._name


class Parameter(Tensor):
    """A tensor of a module."""


class Generator:
    """A generator of random numbers, which tests do not use."""


def module() -> ModuleType:
    """Return a module ``torch`` with what is defined here."""
    fake = ModuleType("torch")
    nn = SimpleNamespace(Parameter=Parameter)
    vars(fake).update(Tensor=Tensor, Generator=Generator, strided=strided, uint8=uint8, nn=nn)
    fake.__file__ = np.__file__  # it is installed
    Tensor.__module__ = Parameter.__module__ = "torch"
    return fake
