"""Matrices larger than memory: a folder of plain .npy files, which are memory-mapped."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse as sp

_FILES = ("data", "indices", "indptr", "shape")
_HEADER_BYTES = 128  # of a .npy file of a 1-D array, whatever its length
_CELLS = 2**22  # copied at a time
_MAX_INT32 = np.iinfo(np.int32).max


def save_csr(X, folder) -> None:
    """Save a sparse matrix to a folder of plain ``.npy`` files, for :func:`load_csr`.

    Parameters
    ----------
    X : sparse matrix or sparse array of shape (n_users, n_items)
        The matrix. It is saved in CSR form, with sorted indices and without duplicates.
    folder : str or path-like
        The folder, which is made if it is missing. The files of an earlier matrix are replaced once
        the new ones are complete; whoever has mapped these keeps them. Other files are not touched.

    See Also
    --------
    load_csr : Maps the matrix into memory.
    sklearn_recsys.preprocessing.InteractionEncoder : Writes a matrix of events that do not fit into
        memory.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import EASE, load_csr, save_csr
    >>> R = csr_array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]], dtype="float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_csr(R, folder)
    ...     X = load_csr(folder)
    ...     model = EASE(l2=1.0).fit(X)
    >>> model.recommend(0, n=1)
    array([[2]])
    """
    if not sp.issparse(X) or X.ndim != 2:
        raise TypeError(f"X must be a sparse user × item matrix; got {type(X).__name__}.")
    X = X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    with writing_csr(folder, X.shape[1]) as append:
        append(X)


def load_csr(folder, *, mmap_mode="r") -> sp.csr_array:
    """Map a matrix that :func:`save_csr` or an encoder wrote into memory.

    Parameters
    ----------
    folder : str or path-like
        The folder.
    mmap_mode : {"r", "c", None}, default="r"
        As in :func:`numpy.load`. "r": the matrix stays on disk, is read where it is used, and
        cannot be modified; models are fitted to it without a copy. "c": what is modified is kept in
        memory alone. None: the matrix is read into memory.

    Returns
    -------
    X : csr_array of shape (n_users, n_items)
        The matrix, as it was saved.

    Raises
    ------
    FileNotFoundError
        If the folder holds no complete matrix.
    ValueError
        If the files do not fit together. Indices are checked when a model is fitted.

    See Also
    --------
    save_csr : Saves a matrix; with an example.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_recsys import load_csr, save_csr
    >>> from sklearn_recsys.datasets import make_interactions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_csr(make_interactions(60, 40, random_state=0), folder)
    ...     X = load_csr(folder)
    >>> X.shape, X.data.flags.writeable
    ((60, 40), False)
    """
    if mmap_mode not in ("r", "c", None):
        raise ValueError(f'mmap_mode must be "r", "c" or None; got {mmap_mode!r}.')
    folder = Path(folder)
    missing = [name for name in _FILES if not (folder / f"{name}.npy").exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder} holds no complete matrix: {', '.join(f'{name}.npy' for name in missing)} "
            "is missing. save_csr and InteractionEncoder write such folders."
        )
    data, indices, indptr, shape = (_load(folder / f"{name}.npy", mmap_mode) for name in _FILES)
    if shape.shape != (2,) or shape.dtype.kind not in "iu":
        raise ValueError(f"{folder / 'shape.npy'} does not hold the numbers of rows and columns.")
    shape = tuple(shape.tolist())
    n_cells = indptr[-1] if indptr.shape == (shape[0] + 1,) else -1
    if not data.shape == indices.shape == (n_cells,):
        shapes = {"data": data.shape, "indices": indices.shape, "indptr": indptr.shape}
        raise ValueError(
            f"The files in {folder} are not of one matrix of {shape[0]:,} rows; they have the "
            f"shapes {shapes}."
        )
    # plain arrays, views of the maps: an operation on a numpy.memmap would return another one
    return sp.csr_array(tuple(map(np.asarray, (data, indices, indptr))), shape=shape)


def _load(path, mmap_mode):
    if path.stat().st_size <= _HEADER_BYTES:  # an array of length 0 cannot be mapped
        mmap_mode = None
    return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)


@contextmanager
def writing_csr(folder, n_columns):
    """Yield a function that appends the next rows, canonical CSR matrices, to a matrix in a folder.

    The files appear when the block ends without an error, and then replace those that are there.

    Parameters
    ----------
    folder : str or path-like
        The folder; it is made if it is missing.
    n_columns : int
        The number of columns of the matrix.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        writer = _Writer(unfinished, n_columns)
        try:
            yield writer.append
        finally:
            writer.close()
        writer.finish()
        # without shape.npy, which comes last, the folder holds no matrix
        (folder / "shape.npy").unlink(missing_ok=True)
        for name in _FILES:
            os.replace(unfinished / f"{name}.npy", folder / f"{name}.npy")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _Writer:
    """The files of a matrix that is written row by row."""

    def __init__(self, folder, n_columns):
        self.folder, self.n_columns = folder, n_columns
        self.files = {name: open(folder / f"{name}.npy", "wb") for name in ("data", "indices")}
        for file in self.files.values():
            file.write(bytes(_HEADER_BYTES))
        self.lengths = []
        self.dtypes = {"data": None, "indices": np.dtype(np.int32)}
        if n_columns > _MAX_INT32:
            self.dtypes["indices"] = np.dtype(np.int64)

    def append(self, X):
        for cells in _batches(X.nnz):
            self._write("data", X.data[cells])
            self._write("indices", X.indices[cells])
        self.dtypes["data"] = self.dtypes["data"] or X.dtype
        self.lengths.append(np.diff(X.indptr))

    def _write(self, name, array):
        dtype = self.dtypes[name] or array.dtype
        self.files[name].write(np.ascontiguousarray(array, dtype).view(np.uint8))

    def close(self):
        for file in self.files.values():
            file.close()

    def finish(self):
        """Write the headers and the remaining files."""
        lengths = np.concatenate([np.zeros(1, np.int64), *self.lengths], dtype=np.int64)
        indptr = np.cumsum(lengths, out=lengths)
        n_cells = int(indptr[-1])
        for name, dtype in self.dtypes.items():
            with open(self.folder / f"{name}.npy", "r+b") as file:
                file.write(_header(dtype or np.dtype(np.float32), n_cells))
        if n_cells <= _MAX_INT32 and self.dtypes["indices"] == np.int32:
            indptr = indptr.astype(np.int32)
        else:  # scipy wants one type for both
            self._widen_indices(n_cells)
        np.save(self.folder / "indptr.npy", indptr)
        shape = np.array([len(indptr) - 1, self.n_columns], dtype=np.int64)
        np.save(self.folder / "shape.npy", shape)

    def _widen_indices(self, n_cells):
        path = self.folder / "indices.npy"
        narrow = np.load(path, mmap_mode="r")
        if narrow.dtype == np.int64:
            return
        with open(self.folder / "wide.npy", "wb") as file:
            file.write(_header(np.dtype(np.int64), n_cells))
            for cells in _batches(n_cells):
                file.write(narrow[cells].astype(np.int64).view(np.uint8))
        del narrow
        os.replace(self.folder / "wide.npy", path)


def _header(dtype, n_cells):
    """Return the header of a .npy file of a 1-D array."""
    header = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False}
    np.lib.format.write_array_header_1_0(header, {**fields, "shape": (n_cells,)})
    assert header.tell() == _HEADER_BYTES
    return header.getvalue()


def _batches(n_cells):
    return (slice(start, min(start + _CELLS, n_cells)) for start in range(0, n_cells, _CELLS))
