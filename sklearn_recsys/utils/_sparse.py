"""Sparse matrices as they come in: refused if corrupt, before compiled code follows their indices.

scipy's constructors look at some of this, but a matrix can be changed after it was made, and every
conversion (scikit-learn's checks convert, too) reads and writes wherever the indices say.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import scipy.sparse as sp

_UNSIGNED = {np.dtype(np.int32): np.uint32, np.dtype(np.int64): np.uint64}


def check_sparse(X, name="X"):
    """Return a sparse `X` as it is if its parts agree with each other; else raise ValueError.

    Parameters
    ----------
    X : sparse matrix or sparse array
        Of any of scipy's formats. Its values are not looked at, but for their type.
    name : str, default="X"
        Name for error messages.
    """
    problem = _PROBLEMS[X.format](X)
    if problem is None and X.dtype.kind not in "biufc":
        problem = f"its values are of type {X.dtype}, not numbers"
    if problem is not None:
        raise ValueError(
            f"{name} is a corrupt {X.format.upper()} matrix: {problem}. Its parts were changed, or "
            "damaged, after it was made; build it again from the interactions."
        )
    return X


def as_csr(X, name="X"):
    """Return a sparse `X` in CSR form, anything else as it is; a corrupt one is refused.

    A conversion that adds up duplicates does so in a wide type. CSR comes back unchanged, with
    whatever duplicates it has, unless scipy cannot work with its type (float16).
    """
    if not sp.issparse(X):
        return X
    check_sparse(X, name)
    if X.format in {"coo", "bsr"} or X.dtype == np.float16:  # which scipy cannot convert
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

    The arrays of `X` are never written to; without `copy` they are shared if nothing had to change.
    Duplicates of a narrow type are summed, and stay, in a wide one.
    """
    source = X
    X = sp.csr_array(X.astype(np.float32) if X.dtype == np.float16 else X)
    if isinstance(X.data, np.memmap):  # what numpy makes of a read-only memmap is read-only, too
        arrays = [np.asarray(array) for array in (X.data, X.indices, X.indptr)]
        X = sp.csr_array(tuple(arrays), shape=X.shape)
    nnz = X.indptr[-1]
    fits = max(X.shape[1], nnz) <= np.iinfo(np.int32).max
    if fits and (X.indices.dtype != np.int32 or X.indptr.dtype != np.int32):
        X = sp.csr_array(
            (X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32)), shape=X.shape
        )
    distinct = X.has_canonical_format
    canonical = distinct and X.data.size == nnz and np.all(X.data != 0)
    if canonical and not (copy and _shares_memory(X, source)):
        return X
    X = X.copy() if distinct else X.astype(wide_dtype(X.dtype))
    if not distinct:
        X.sum_duplicates()
        if X.dtype.kind == "f" and np.isinf(X.data).any():
            raise ValueError(
                f"{name} holds a cell several times, with values whose sum is too large for "
                f"{X.dtype}."
            )
    X.eliminate_zeros()
    return X


def is_canonical(X, dtype):
    """Return whether scikit-learn's checks and `canonical_csr` would change nothing about `X`.

    It costs a few passes over the stored cells of an intact matrix, where they take a hundred times
    as long as to score one user.
    """
    if type(X) is not sp.csr_array or X.ndim != 2 or X.dtype != dtype or 0 in X.shape:
        return False
    data, indices, indptr = X.data, X.indices, X.indptr
    if {type(data), type(indices), type(indptr)} != {np.ndarray}:  # memory-mapped
        return False
    if not indices.dtype == indptr.dtype == np.int32 or len(data) != indptr[-1]:
        return False
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # from one row to the next
    return bool(rising.all() and data.all() and np.isfinite(data).all())


def _shares_memory(X, source):
    if not sp.issparse(source):
        return False
    arrays = [getattr(source, name, None) for name in ("data", "indices", "indptr", "row", "col")]
    return any(
        isinstance(array, np.ndarray) and np.shares_memory(own, array)
        for array in arrays
        for own in (X.data, X.indices, X.indptr)
    )


# ------------------------------------------------------------ what is wrong with it, None: nothing


def _vector_problem(array, name):
    """Say what is wrong with an array of indices or pointers, whatever is in it."""
    if not isinstance(array, np.ndarray) or array.ndim != 1:
        return f"{name} is no 1-D array"
    if array.dtype not in _UNSIGNED:
        return f"{name} is of type {array.dtype}, not int32 or int64"
    return None


def _range_problem(indices, size, name):
    """Say which of `indices` lie outside of [0, size)."""
    # as unsigned numbers, negative ones are the largest of all: one pass sees both ends
    if indices.size and np.maximum.reduce(indices.view(_UNSIGNED[indices.dtype])).item() >= size:
        return f"{name} hold values from {indices.min()} to {indices.max()}, outside 0 … {size - 1}"
    return None


def _compressed_problem(X, n_major, n_minor, data):
    indptr, indices = X.indptr, X.indices
    problem = _vector_problem(indptr, "indptr") or _vector_problem(indices, "indices")
    if problem:
        return problem
    if data is None:
        return "data is no array of numbers of the right dimension"
    if len(indptr) != n_major + 1:
        return f"indptr has length {len(indptr)}, not {n_major + 1}"
    if len(data) != len(indices):
        return f"data has length {len(data)}, indices {len(indices)}"
    start, stop = indptr.item(0), indptr.item(-1)
    if start != 0:
        return f"indptr begins with {start}, not 0"
    if stop > len(indices):
        return f"indptr ends with {stop}, but there are {len(indices)} indices"
    if stop < 0 or (n_major > 1 and (indptr[1:] < indptr[:-1]).any()):
        return "indptr falls"
    return _range_problem(indices if stop == len(indices) else indices[:stop], n_minor, "indices")


def _csr_problem(X):
    data = X.data if isinstance(X.data, np.ndarray) and X.data.ndim == 1 else None
    n_major, n_minor = X.shape if X.ndim == 2 else (1, X.shape[0])
    if X.format == "csc":
        n_major, n_minor = n_minor, n_major
    return _compressed_problem(X, n_major, n_minor, data)


def _bsr_problem(X):
    if not isinstance(X.data, np.ndarray) or X.data.ndim != 3 or 0 in X.data.shape[1:]:
        return "data is no 3-D array of blocks"
    n_majors, n_minors = (
        divmod(size, side) for size, side in zip(X.shape, X.data.shape[1:], strict=True)
    )
    if n_majors[1] or n_minors[1]:
        return f"blocks of {X.data.shape[1:]} do not fill a matrix of shape {X.shape}"
    return _compressed_problem(X, n_majors[0], n_minors[0], X.data)


def _coo_problem(X):
    if not isinstance(X.data, np.ndarray) or X.data.ndim != 1:
        return "data is no 1-D array"
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
        return f"data is no 2-D array with a row for each of the {len(X.offsets)} offsets"
    if len(np.unique(X.offsets)) < len(X.offsets):
        return "offsets holds one of them twice"
    n_rows, n_columns = X.shape
    outside = (X.offsets <= -n_rows) | (X.offsets >= n_columns)
    if outside.any():
        return f"offsets hold {X.offsets[outside][0]}, a diagonal outside of shape {X.shape}"
    return None


def _lil_problem(X):
    for lists, name in ((X.rows, "rows"), (X.data, "data")):
        if not isinstance(lists, np.ndarray) or lists.shape != X.shape[:1]:
            return f"{name} is no array with a list for each row"
        if not all(isinstance(values, list) for values in lists):
            return f"{name} holds something else than lists"
    if [*map(len, X.rows)] != [*map(len, X.data)]:
        return "rows and data have lists of different lengths"
    return _list_problem([*chain.from_iterable(X.rows)], X.shape[1:], "the indices in rows")


def _dok_problem(X):
    cells = list(X.keys())
    if X.ndim == 1:
        return _list_problem(cells, X.shape, "keys")
    if not all(isinstance(cell, tuple) and len(cell) == X.ndim for cell in cells):
        return f"keys holds something else than cells of {X.ndim} indices"
    flat = [index for cell in cells for index in cell]
    return _list_problem(flat, X.shape, "keys")


def _list_problem(indices, sizes, name):
    """Say what is wrong with a list of Python's indices, of the axes in turn."""
    if not all(isinstance(index, (int, np.integer)) for index in indices):
        return f"{name} hold something else than integers"
    for axis, size in enumerate(sizes):
        part = indices[axis :: len(sizes)]
        if part and not 0 <= min(part) <= max(part) < size:
            return f"{name} hold values from {min(part)} to {max(part)}, outside 0 … {size - 1}"
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
