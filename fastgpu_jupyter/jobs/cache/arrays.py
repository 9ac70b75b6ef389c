"""The canonical form of arrays, tables and tensors: of NumPy, pandas and PyTorch, none of which is imported here.

The memory of an array is hashed where it is. Byte order, shape, order of the axes in memory and the bits of each
number count, because results can depend on them; an array that is not contiguous has the form of its copy in C order,
which is what a job receives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .limits import Unhashable, not_hashable

if TYPE_CHECKING:
    from .canonical import Form

#: So many elements of an array without contiguous memory, or on a device, are copied at a time.
_CHUNK_ELEMENTS = 1 << 22


def writer_for(value: Any) -> Callable[[Any, Form], None] | None:
    """Return what writes an array, a table or a tensor; ``None`` for any other object."""
    library = type(value).__module__.partition(".")[0]
    for name, writers in (("numpy", _numpy), ("pandas", _pandas), ("torch", _torch)):
        module = sys.modules.get(name)
        # A subclass may be of any module, and is an array all the same where it looks like one.
        if module is not None and (library == name or hasattr(value, "__array__") or hasattr(value, "untyped_storage")):
            write = writers(module, value)
            if write is not None:
                return write
    return None


# -- NumPy ------------------------------------------------------------------------------------------------------------


def _numpy(numpy: Any, value: Any) -> Callable[[Any, Form], None] | None:
    if type(value) in (numpy.ndarray, getattr(numpy, "memmap", None)):
        return _write_array
    if isinstance(value, numpy.generic) and type(value).__module__ == "numpy" and not value.dtype.hasobject:
        return _write_scalar
    if isinstance(value, numpy.dtype):
        return _write_dtype
    return None


def _write_dtype(dtype: Any, form: Form) -> None:
    form.tag("dtype")
    # The text has the byte order; a structured type has fields besides, which may have titles.
    form.items((dtype.str, dtype.alignment if dtype.names else 0, dtype.itemsize))
    form.value(dtype.metadata and dict(dtype.metadata))
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        _write_dtype(base, form)
        form.value(shape)
    form.tag("fields", len(dtype.names or ()))
    for name in dtype.names or ():
        field = dtype.fields[name]
        form.items((name, *field[1:]))
        _write_dtype(field[0], form)


def _write_scalar(scalar: Any, form: Form) -> None:
    form.tag("scalar")
    _write_dtype(scalar.dtype, form)
    if scalar.dtype.names:
        form.items(scalar.item())
    else:
        form.data(scalar.tobytes())


def _write_array(array: Any, form: Form) -> None:
    flags = array.flags
    fortran = flags.f_contiguous and not flags.c_contiguous
    form.tag("array in Fortran order" if fortran else "array", array.ndim)
    form.items((array.shape, bool(flags.writeable)))
    _write_dtype(array.dtype, form)
    _write_elements(array.T if fortran else array, form)


def _write_elements(array: Any, form: Form) -> None:
    if array.dtype.names:  # the padding between fields has no meaning
        for name in array.dtype.names:
            _write_elements(array[name], form)
    elif array.dtype.hasobject or array.dtype.kind == "T":
        form.items(array.reshape(-1).tolist() if array.dtype.hasobject else map(str, array.reshape(-1)))
    elif not array.dtype.itemsize:
        form.tag("elements", array.size)
    elif array.flags.c_contiguous:
        form.data(array.reshape(-1).view("u1"))
    else:
        form.stream(array.nbytes, _parts(array))


def _parts(array: Any) -> Iterator[Any]:
    """Yield contiguous copies of the parts of an array, in C order, a few rows at a time."""
    np: Any = sys.modules["numpy"]
    if array.size <= _CHUNK_ELEMENTS or array.ndim == 0:
        yield np.ascontiguousarray(array).reshape(-1).view("u1")
        return
    rows = max(1, _CHUNK_ELEMENTS // max(1, array.size // array.shape[0]))
    for start in range(0, array.shape[0], rows):
        yield from _parts(array[start : start + rows] if rows > 1 or array.ndim == 1 else array[start])


# -- pandas -----------------------------------------------------------------------------------------------------------


def _pandas(pandas: Any, value: Any) -> Callable[[Any, Form], None] | None:
    if type(value) is pandas.DataFrame:
        return _write_frame
    if type(value) is pandas.Series:
        return _write_series
    if isinstance(value, pandas.Index) and type(value).__module__.startswith("pandas."):
        return _write_index
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        return _write_column
    return None


def _write_frame(frame: Any, form: Form) -> None:
    form.tag("DataFrame", frame.shape[1])
    form.items((frame.index, frame.columns, frame.attrs, frame.flags.allows_duplicate_labels), ".{}")
    for position in range(frame.shape[1]):
        try:
            _write_column(frame.iloc[:, position].array, form)
        except Unhashable as error:
            raise error.within(f"[{frame.columns[position]!r}]"[:60]) from None


def _write_series(series: Any, form: Form) -> None:
    form.tag("Series")
    form.items((series.index, series.name, series.attrs, series.flags.allows_duplicate_labels), ".{}")
    _write_column(series.array, form)


def _write_index(index: Any, form: Form) -> None:
    form.tag(type(index).__name__)
    form.value(list(index.names))
    if hasattr(index, "levels"):
        form.items([*index.levels, *index.codes])
    elif hasattr(index, "step"):
        form.items((index.start, index.stop, index.step))
    else:
        form.value(str(getattr(index, "freqstr", None)))
        _write_column(index.array, form)


def _write_column(column: Any, form: Form) -> None:
    """Write an array of pandas: the type, and the values by content whatever holds them."""
    form.tag(type(column).__name__, len(column))
    dtype = column.dtype
    form.value(str(dtype))
    if hasattr(column, "categories"):
        form.items((column.categories, bool(column.ordered), column.codes))
    elif type(column).__name__ == "NumpyExtensionArray":
        _write_values(column.to_numpy(), form)
    elif hasattr(column, "_mask") and hasattr(column, "_data"):
        # What stands behind a missing value has no meaning.
        missing = column.isna()
        form.value(missing)
        _write_values(column[~missing].to_numpy(dtype=column._data.dtype), form)  # noqa: SLF001
    elif dtype.kind in "mM":
        form.value(str(getattr(column, "freq", None)))
        form.data(column.asi8.view("u1"))
    elif str(dtype).startswith(("string", "str")):
        missing = column.isna()
        form.value(missing)
        form.value([str(text) for text in column[~missing]])
    else:
        form.reduced(column)


def _write_values(values: Any, form: Form) -> None:
    form.tag("values", values.ndim)
    _write_dtype(values.dtype, form)
    _write_elements(values, form)


# -- PyTorch ----------------------------------------------------------------------------------------------------------


def _torch(torch: Any, value: Any) -> Callable[[Any, Form], None] | None:
    if isinstance(value, torch.Tensor):
        return _write_tensor
    if isinstance(value, torch.Generator):
        return _write_generator
    return None


def _write_generator(generator: Any, form: Form) -> None:
    form.tag("torch.Generator")
    form.value(str(generator.device))
    form.value(generator.get_state())


def _write_tensor(tensor: Any, form: Form) -> None:
    """Write a dense tensor with its device. Raises :class:`Unhashable` for a sparse or quantized one, or a subclass."""
    torch: Any = sys.modules["torch"]
    dense = tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type != "meta"
    if not dense or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise not_hashable(f"{type(tensor).__name__} {tensor.layout} {tensor.device}")
    form.tag(type(tensor).__name__, len(tensor.shape))
    form.items((str(tensor.dtype), str(tensor.device), tuple(tensor.shape), bool(tensor.requires_grad)))
    form.memory(tensor.untyped_storage().data_ptr())  # tensors that share it, share it in the job as well
    content = tensor.detach()
    form.value(tuple(content.stride()) if content.is_contiguous() else None)
    flat = content.reshape(-1)
    # As bytes, because NumPy does not have every type that PyTorch has; a part at a time, because they are copied.
    starts = range(0, flat.shape[0], _CHUNK_ELEMENTS)
    parts = (flat[start : start + _CHUNK_ELEMENTS].cpu().contiguous().view(torch.uint8).numpy() for start in starts)
    form.stream(flat.shape[0] * tensor.element_size(), parts)
