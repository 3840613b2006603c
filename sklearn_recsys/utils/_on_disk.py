"""Matrices that are made of a memory-mapped one: on disk, too, block by block.

The temporary files are in the folder of Python's `tempfile`, which the environment variable
``TMPDIR`` chooses. Where the system allows it they have no name: nothing is left by a killed
process.
"""

from __future__ import annotations

import mmap
import tempfile
from contextlib import contextmanager
from functools import wraps

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._sparse import is_read_only_map
from sklearn_recsys.utils._threads import batches, even_blocks

_CELLS = 2**22  # read or sorted at a time
_SMALL = 2**20  # cells of a matrix that is as well in memory


def is_on_disk(X):
    """Return whether `X` is a large csr_array with its cells in a file that is mapped read-only."""
    return isinstance(X, sp.csr_array) and X.nnz > _SMALL and is_read_only_map(X.indices)


def cell_slices(n_cells):
    """Yield slices of the stored cells, so that temporary arrays of their values are small."""
    return batches(n_cells, _CELLS)


def row_slices(X, n_cells=None):
    """Return slices of consecutive rows of a csr_array with about `n_cells` cells each."""
    return list(even_blocks(np.diff(X.indptr), n_cells or _CELLS))


def row_slice(X, rows):
    """Return consecutive rows of a csr_array, which share its arrays."""
    start, stop = X.indptr[rows.start], X.indptr[rows.stop]
    indptr = X.indptr[rows.start : rows.stop + 1] - start
    arrays = (X.data[start:stop], X.indices[start:stop], indptr)
    return sp.csr_array(arrays, shape=(rows.stop - rows.start, X.shape[1]))


def column_sums(X, values=None):
    """Return the sums of the stored cells of each column; of ones, the default, as int64.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_columns)
        The matrix.
    values : callable, default=None
        Returns what to sum up, in float64, given some of the values of `X`.
    """
    sums = 0
    for cells in cell_slices(X.nnz):  # numpy makes int64 copies of the indices
        weights = None if values is None else values(X.data[cells])
        sums = sums + np.bincount(X.indices[cells], weights, X.shape[1])
    return sums if X.nnz else np.zeros(X.shape[1], np.int64 if values is None else np.float64)


def by_rows(function):
    """Make a function of a csr_array apply to blocks of rows, and write the result to disk.

    That is done for matrices on disk only. The function must treat each row by itself, and return a
    csr_array.
    """

    @wraps(function)
    def wrapper(X, *args):
        if not is_on_disk(X):
            return function(X, *args)
        blocks = (function(row_slice(X, rows), *args) for rows in row_slices(X))
        return _written(blocks, X.indices.dtype)

    return wrapper


def some_rows(X, rows):
    """Return ``X[rows]`` for an array of many rows in ascending order, on disk if `X` is."""
    if not is_on_disk(X) or not len(rows):
        return X[rows]
    lengths = X.indptr[rows + 1] - X.indptr[rows]
    blocks = (X[rows[block]] for block in even_blocks(lengths, _CELLS))
    return _written(blocks, X.indices.dtype)


def some_cells(X, mask):
    """Return a csr_array on disk with only the stored cells where `mask` holds."""

    def block(rows):
        block = row_slice(X, rows)
        chosen = mask[X.indptr[rows.start] : X.indptr[rows.stop]]
        indptr = np.concatenate([[0], np.cumsum(chosen)])[block.indptr]
        return sp.csr_array((block.data[chosen], block.indices[chosen], indptr), block.shape)

    return _written(map(block, row_slices(X)), X.indices.dtype)


@by_rows
def some_columns(X, columns):
    """Return ``X[:, columns]`` for an array of columns, in their order, on disk if `X` is."""
    return X[:, columns]


def transposed(X):
    """Return the transpose of a csr_array as a csr_array, on disk if `X` is."""
    if not is_on_disk(X):
        return X.T.tocsr()
    counts = column_sums(X)
    columns = {"row": X.indices.dtype, "value": X.dtype}
    with sorting_on_disk(counts, columns, _CELLS) as spill:
        for rows in row_slices(X):
            block = row_slice(X, rows)
            lengths = np.diff(block.indptr)
            row = np.repeat(np.arange(rows.start, rows.stop, dtype=X.indices.dtype), lengths)
            spill.add(block.indices, {"row": row, "value": block.data})
        blocks = (_of_sorted(*part, X.shape[0]) for part in spill.read())
        return _written(blocks, X.indices.dtype)


def _of_sorted(items, keys, cells, n_columns):
    """Return the rows `items` of a matrix, given its cells in ascending order of the columns."""
    order = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=items.stop - items.start)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    arrays = (cells["value"][order], cells["row"][order], indptr)
    return sp.csr_array(arrays, shape=(items.stop - items.start, n_columns))


def _written(blocks, index_dtype):
    """Return the matrix of an iterable of blocks of rows, one at least, in a temporary file."""
    lengths = []
    with tempfile.TemporaryFile() as data, tempfile.TemporaryFile() as indices:
        for block in blocks:
            data.write(np.ascontiguousarray(block.data).view(np.uint8))
            indices.write(np.ascontiguousarray(block.indices, dtype=index_dtype).view(np.uint8))
            lengths.append(np.diff(block.indptr))
            shape, dtype = block.shape, block.dtype
        indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(index_dtype)
        cells = (_mapped(data, dtype), _mapped(indices, index_dtype), indptr)
    return sp.csr_array(cells, shape=(len(indptr) - 1, shape[1]))


def _mapped(file, dtype):
    """Return the content of a file as an array, which stays when the file is closed.

    It is no numpy.memmap, whose file joblib would pass to workers by its name.
    """
    file.flush()
    if not file.tell():  # nothing cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=dtype)


# ---------------------------------------------------------------- sorting


@contextmanager
def sorting_on_disk(counts, columns, size, folder=None):
    """Yield a `Spill` of records that are to be sorted by an integer key.

    Parameters
    ----------
    counts : ndarray of int64 of shape (n_keys,)
        An upper bound of the number of records of each key.
    columns : dict of dtype
        The names and types of the columns of a record.
    size : int
        The number of records that are read at a time.
    folder : str or path-like, default=None
        Folder for the temporary file.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spill(file, counts, columns, size)


class Spill:
    """Records in a file, with a place for each block of keys; parameters as above.

    Records of a block stay in the order in which they were added.
    """

    def __init__(self, file, counts, columns, size):
        self.file = file
        self.dtype = np.dtype([("key", np.int32), *columns.items()])
        self.blocks = list(even_blocks(counts, size)) or [slice(0, 0)]
        self.starts = np.array([keys.start for keys in self.blocks])
        self.places = np.concatenate([[0], np.cumsum(counts)])[self.starts]
        self.lengths = np.zeros(len(self.blocks), dtype=np.int64)

    def add(self, keys, columns):
        """Write records: their keys, and a dict of their columns."""
        block = np.searchsorted(self.starts, keys, side="right") - 1
        # 16-bit integers are sorted in linear time
        block = block.astype(np.uint16) if len(self.starts) < 2**16 else block
        order = np.argsort(block, kind="stable")
        records = np.empty(len(keys), dtype=self.dtype)
        records["key"] = (keys - self.starts[block])[order]
        for name, array in columns.items():
            records[name] = array[order]
        bounds = np.searchsorted(block[order], np.arange(len(self.starts) + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            part = records[bounds[number] : bounds[number + 1]]
            self._seek(number, self.lengths[number])
            self.file.write(part.view(np.uint8))
            self.lengths[number] += len(part)

    def read(self):
        """Yield each block of keys as a slice, the keys of its records from its start, and them."""
        for number, keys in enumerate(self.blocks):
            records = np.empty(self.lengths[number], dtype=self.dtype)
            self._seek(number, 0)
            self.file.readinto(records.view(np.uint8))
            yield keys, records["key"], records

    def _seek(self, number, offset):
        self.file.seek(int(self.places[number] + offset) * self.dtype.itemsize)
