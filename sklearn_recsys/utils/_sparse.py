"""Validation of sparse input: corrupt matrices are refused before compiled code uses their indices.

scipy's constructors check some of this, but a matrix can be modified after it was built, and every
conversion (also in scikit-learn's checks) reads and writes wherever the indices point.
"""

from __future__ import annotations

import mmap
from itertools import chain

import numpy as np
import scipy.sparse as sp

_UNSIGNED = {np.dtype(np.int32): np.uint32, np.dtype(np.int64): np.uint64}


def check_sparse(X, name="X"):
    """Return a sparse `X` unchanged if it is intact; else raise ValueError.

    Parameters
    ----------
    X : sparse matrix or sparse array
        In any of scipy's formats. Only the type of its values is checked.
    name : str, default="X"
        Name for error messages.
    """
    problem = _PROBLEMS[X.format](X)
    if problem is None and X.dtype.kind not in "biufc":
        problem = f"its values are of type {X.dtype}, not numbers"
    if problem is not None:
        raise ValueError(
            f"{name} is a corrupt {X.format.upper()} matrix: {problem}. It was modified or damaged "
            "after it was built; build it again from the interactions."
        )
    return X


def as_csr(X, name="X"):
    """Convert a sparse `X` to CSR, refuse a corrupt one, and return anything else unchanged.

    Conversions that sum duplicates do so in a wide type. A CSR matrix is returned unchanged,
    including duplicates, unless scipy does not support its type (float16).
    """
    if not sp.issparse(X):
        return X
    check_sparse(X, name)
    # converting COO and BSR sums duplicates; scipy cannot convert float16
    if X.format in {"coo", "bsr"} or X.dtype == np.float16:
        X = X.astype(wide_dtype(X.dtype), copy=False)
    if X.ndim == 1:
        X = X.reshape(1, -1)
    return X.tocsr()


def wide_dtype(dtype):
    """Return the type that values of `dtype` are summed in: 64 bits, or float32 for floats."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    if dtype.kind == "u":
        return np.dtype(np.uint64)
    return np.result_type(dtype, np.float32)


def canonical_csr(X, *, name="X", copy=False):
    """Return `X` as a csr_array: sorted, without duplicates or explicit zeros, int32 if it fits.

    The arrays of `X` are never modified; without `copy`, or if they are mapped read-only, they are
    shared if `X` is canonical. Duplicates of a narrow type are summed in a wide one, which the
    result keeps.
    """
    source = X
    X = sp.csr_array(X.astype(np.float32) if X.dtype == np.float16 else X)
    arrays = (X.data, X.indices, X.indptr)
    if any(isinstance(array, np.memmap) for array in arrays):
        # copies of a read-only memmap would be read-only, too
        X = sp.csr_array(tuple(map(np.asarray, arrays)), shape=X.shape)
    nnz = X.indptr[-1]
    fits = max(X.shape[1], nnz) <= np.iinfo(np.int32).max
    if fits and (X.indices.dtype != np.int32 or X.indptr.dtype != np.int32):
        X = sp.csr_array(
            (X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape
        )
    distinct = X.has_canonical_format
    canonical = distinct and X.data.size == nnz and X.data.all()
    if canonical and not (copy and _shares_writable_memory(X, source)):
        return X
    X = X.copy() if distinct else X.astype(wide_dtype(X.dtype))
    if not distinct:
        X.sum_duplicates()
        if X.dtype.kind == "f" and np.isinf(X.data).any():
            raise ValueError(
                f"{name} holds duplicates of a cell, and the sum of their values is too large for "
                f"{X.dtype}."
            )
    X.eliminate_zeros()
    return X


def is_canonical(X, dtype):
    """Return whether scikit-learn's checks and `canonical_csr` would leave `X` unchanged.

    This takes a few passes over the stored cells of an intact matrix; the full checks take a
    hundred times as long as scoring one user.
    """
    if type(X) is not sp.csr_array or X.ndim != 2 or X.dtype != dtype or 0 in X.shape:
        return False
    data, indices, indptr = X.data, X.indices, X.indptr
    if {type(data), type(indices), type(indptr)} != {np.ndarray}:  # memory-mapped
        return False
    if not indices.dtype == indptr.dtype == np.int32 or len(data) != indptr[-1]:
        return False
    increasing = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    increasing[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # between rows
    return bool(increasing.all() and data.all() and np.isfinite(data).all())


def _shares_writable_memory(X, source):
    """Return whether whoever holds `source` could change the arrays of `X`."""
    if not sp.issparse(source):
        return False
    arrays = [getattr(source, name, None) for name in ("data", "indices", "indptr", "row", "col")]
    return any(
        isinstance(array, np.ndarray) and np.shares_memory(own, array)
        for own in (X.data, X.indices, X.indptr)
        if not is_read_only_map(own)
        for array in arrays
    )


def is_read_only_map(array):
    """Return whether an array lies in a file that is mapped read-only, which needs no memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return isinstance(array, mmap.mmap) and memoryview(array).readonly


# ------------------------------------- each returns a description of the first problem, or None


def _vector_problem(array, name):
    """Check the type and dimension of an array of indices or pointers."""
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        return f"{name} is not a 1-D array"
    if array.dtype not in _UNSIGNED:
        return f"{name} is of type {array.dtype}, not int32 or int64"
    return None


def _range_problem(indices, size, name):
    """Check that all `indices` are in [0, size)."""
    # viewed as unsigned, negative numbers are larger than all others: one pass checks both bounds
    if indices.size and np.maximum.reduce(indices.view(_UNSIGNED[indices.dtype])).item() >= size:
        return f"{name} range from {indices.min()} to {indices.max()}, outside 0 … {size - 1}"
    return None


def _compressed_problem(X, n_major, n_minor, data):
    indptr, indices = X.indptr, X.indices
    problem = _vector_problem(indptr, "indptr") or _vector_problem(indices, "indices")
    if problem:
        return problem
    if data is None:
        return "data is not an array of the right dimension"
    if len(indptr) != n_major + 1:
        return f"indptr has length {len(indptr)}, not {n_major + 1}"
    if len(data) != len(indices):
        return f"data has length {len(data)}, indices {len(indices)}"
    start, stop = indptr.item(0), indptr.item(-1)
    if start != 0:
        return f"indptr starts with {start}, not 0"
    if stop > len(indices):
        return f"indptr ends with {stop}, but there are {len(indices)} indices"
    if stop < 0 or (n_major > 1 and (indptr[1:] < indptr[:-1]).any()):
        return "indptr decreases"
    return _range_problem(indices if stop == len(indices) else indices[:stop], n_minor, "indices")


def _csr_problem(X):
    data = X.data if isinstance(X.data, np.ndarray) and X.data.ndim == 1 else None
    n_major, n_minor = X.shape if X.ndim == 2 else (1, X.shape[0])
    if X.format == "csc":
        n_major, n_minor = n_minor, n_major
    return _compressed_problem(X, n_major, n_minor, data)


def _bsr_problem(X):
    if not isinstance(X.data, np.ndarray) or X.data.ndim != 3 or 0 in X.data.shape[1:]:
        return "data is not a 3-D array of blocks"
    n_majors, n_minors = (
        divmod(size, side) for size, side in zip(X.shape, X.data.shape[1:], strict=True)
    )
    if n_majors[1] or n_minors[1]:
        return f"blocks of {X.data.shape[1:]} do not fill a matrix of shape {X.shape}"
    return _compressed_problem(X, n_majors[0], n_minors[0], X.data)


def _coo_problem(X):
    if not isinstance(X.data, np.ndarray) or X.data.ndim != 1:
        return "data is not a 1-D array"
    if len(X.coords) != len(X.shape):
        return f"it has {len(X.coords)} arrays of indices, but {len(X.shape)} dimensions"
    names = ("row", "col") if len(X.shape) == 2 else [f"coords[{i}]" for i in range(X.ndim)]
    for indices, size, name in zip(X.coords, X.shape, names, strict=True):
        problem = _vector_problem(indices, name)
        if problem is None and len(indices) != len(X.data):
            problem = f"data has length {len(X.data)}, {name} {len(indices)}"
        problem = problem or _range_problem(indices, size, f"the indices in {name}")
        if problem:
            return problem
    return None


def _dia_problem(X):
    problem = _vector_problem(X.offsets, "offsets")
    if problem:
        return problem
    if not isinstance(X.data, np.ndarray) or X.data.ndim != 2 or len(X.data) != len(X.offsets):
        return f"data is not a 2-D array with a row for each of the {len(X.offsets)} offsets"
    if len(np.unique(X.offsets)) < len(X.offsets):
        return "offsets holds duplicates"
    n_rows, n_columns = X.shape
    outside = (X.offsets <= -n_rows) | (X.offsets >= n_columns)
    if outside.any():
        return f"offsets holds {X.offsets[outside][0]}, a diagonal outside of shape {X.shape}"
    return None


def _lil_problem(X):
    for lists, name in ((X.rows, "rows"), (X.data, "data")):
        if not isinstance(lists, np.ndarray) or lists.shape != X.shape[:1]:
            return f"{name} is not an array with a list for each row"
        if not all(isinstance(values, list) for values in lists):
            return f"{name} holds objects that are not lists"
    if [*map(len, X.rows)] != [*map(len, X.data)]:
        return "rows and data have lists of different lengths"
    return _list_problem([*chain.from_iterable(X.rows)], X.shape[1:], "the indices in rows")


def _dok_problem(X):
    cells = list(X.keys())
    if X.ndim == 1:
        return _list_problem(cells, X.shape, "keys")
    if not all(isinstance(cell, tuple) and len(cell) == X.ndim for cell in cells):
        return f"its keys are not tuples of {X.ndim} indices"
    flat = [index for cell in cells for index in cell]
    return _list_problem(flat, X.shape, "keys")


def _list_problem(indices, sizes, name):
    """Check a list of Python integers, in which the indices of all axes alternate."""
    if not all(isinstance(index, (int, np.integer)) for index in indices):
        return f"{name} are not all integers"
    for axis, size in enumerate(sizes):
        of_axis = indices[axis :: len(sizes)]
        if of_axis and not 0 <= min(of_axis) <= max(of_axis) < size:
            return f"{name} range from {min(of_axis)} to {max(of_axis)}, outside 0 … {size - 1}"
    return None


_PROBLEMS = {
    "csr": _csr_problem,
    "csc": _csr_problem,
    "bsr": _bsr_problem,
    "coo": _coo_problem,
    "dia": _dia_problem,
    "lil": _lil_problem,
    "dok": _dok_problem,
}
