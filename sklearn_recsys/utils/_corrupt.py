"""Corrupt sparse matrices, to check that every public method refuses them.

Each is built intact and modified afterward, like a damaged file or a careless update: scipy's
constructors cannot detect it.
"""

from __future__ import annotations

import numpy as np


def corrupt_matrices(X):
    """Return corrupt variants of a canonical csr_array, by name.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        At least two rows, and at least two stored cells in each.

    Returns
    -------
    matrices : dict of str to sparse array
    """
    n_rows, n_columns = X.shape
    far = 10**6
    matrices = {}

    def add(name, format, change):
        changed = X.copy() if format == "csr" else X.asformat(format, copy=True)
        change(changed)
        matrices[f"{format}: {name}"] = changed

    def at(name, position, value):
        def change(matrix):
            getattr(matrix, name)[position] = value

        return change

    def to(name, function):
        def change(matrix):
            setattr(matrix, name, function(getattr(matrix, name)))

        return change

    def swapped(indptr):
        indptr = indptr.copy()
        indptr[1], indptr[2] = indptr[2], indptr[1]
        return indptr

    for format, size in (("csr", n_columns), ("csc", n_rows)):
        add("an index one past the end", format, at("indices", 1, size))
        add("an index of -1", format, at("indices", 0, -1))
        add("an index of a million", format, at("indices", -1, far))
        add("indptr does not begin with 0", format, at("indptr", 0, 1))
        add("indptr begins below 0", format, at("indptr", 0, -far))
        add("indptr decreases", format, to("indptr", swapped))
        add("indptr ends beyond the data", format, at("indptr", -1, far))
        add("indptr ends below 0", format, at("indptr", -1, -1))
        add("indptr is too short", format, to("indptr", lambda indptr: indptr[:-1]))
        add("indptr is too long", format, to("indptr", lambda indptr: np.append(indptr, far)))
        add("data is shorter than indices", format, to("data", lambda data: data[:-2]))
        add("indices is shorter than data", format, to("indices", lambda indices: indices[:-2]))
        add("indices of floats", format, to("indices", lambda indices: indices + 0.5))
        add("indptr of floats", format, to("indptr", lambda indptr: indptr + 0.0))
        add("indices of another type", format, to("indices", lambda i: i.astype(np.int16)))
        add("values of objects", format, to("data", lambda data: data.astype(object)))
        add("a value of NaN", format, at("data", 0, np.nan))
        add("a value of infinity", format, at("data", 0, np.inf))

    def coordinates(axis, value):
        def change(matrix):
            coords = [indices.copy() for indices in matrix.coords]
            coords[axis] = value(coords[axis])
            matrix.coords = tuple(coords)

        return change

    def first(value):
        return lambda indices: np.append(value, indices[1:]).astype(indices.dtype)

    add("a row one past the end", "coo", coordinates(0, first(n_rows)))
    add("a row of -1", "coo", coordinates(0, first(-1)))
    add("a column one past the end", "coo", coordinates(1, first(n_columns)))
    add("a column of -1", "coo", coordinates(1, first(-1)))
    add("a column of a million", "coo", coordinates(1, first(far)))
    add("columns of floats", "coo", coordinates(1, lambda indices: indices + 0.5))
    add("fewer columns than rows", "coo", coordinates(1, lambda indices: indices[:-1]))
    add("data is too short", "coo", to("data", lambda data: data[:-1]))
    add("a value of NaN", "coo", at("data", 0, np.nan))

    add("an index of a million", "bsr", at("indices", 0, far))
    add("an index of -1", "bsr", at("indices", 0, -1))
    add("indptr ends beyond the data", "bsr", at("indptr", -1, far))
    add("an offset of a million", "dia", at("offsets", 0, far))
    add("data is too short", "dia", to("data", lambda data: data[:-1]))
    add("an index of a million", "lil", lambda matrix: matrix.rows[0].__setitem__(0, far))
    add("an index of -1", "lil", lambda matrix: matrix.rows[0].__setitem__(0, -1))
    add("fewer values than indices", "lil", lambda matrix: matrix.data[0].pop())
    add("a key of a million", "dok", lambda matrix: dict.__setitem__(matrix._dict, (0, far), 1.0))
    add("a key of -1", "dok", lambda matrix: dict.__setitem__(matrix._dict, (-1, 0), 1.0))
    return matrices
