"""The inverse of a regularized Gram matrix: in place, with little memory, and on every core.

No call to BLAS or LAPACK sees a large matrix. The threaded ``syrk`` of OpenBLAS packs a thread's
whole share of the rows into a buffer of fixed size: with the kernels for AVX-512 it writes past the
end of the buffer and crashes the interpreter, starting at about 33,000 rows in float32 and 20,000
in float64 on two threads; so do ``potrf``, which calls it, and ``A @ A.T`` of numpy
(https://github.com/numpy/numpy/issues/19685). So the matrix is inverted tile by tile. Sweeping
blocks of columns takes the same n³ multiplications as ``potrf`` and ``potri``, nearly all of them
in ``gemm``, where BLAS is fastest, and no memory except the matrix and a few of its rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from sklearn.utils import gen_batches

from sklearn_recsys.utils._cells import item_squares
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._on_disk import row_slice, row_slices
from sklearn_recsys.utils._threads import batches, even_blocks, map_blocks, row_blocks
from sklearn_recsys.utils.progress import progress

_WHOLE = 4096  # matrices up to this size are inverted by LAPACK at once, which is safe and faster
_TILE = 2048  # rows and columns of a tile of larger ones: enough work to keep every core busy
_CELLS = 2**25  # of X that are multiplied at a time, as they are copied a few times
_STACKED = 2**24  # cells of blocks of rows that are stacked: a sum over many blocks is slow
_BLOCK = 512  # columns swept at once


def lower_gram(X, dtype=np.float32):
    """Return an array of shape (n_items, n_items) with the lower triangle of XᵀX of a csr_array.

    The values above the diagonal are undefined.
    """
    n_items = X.shape[1]
    out = np.empty((n_items, n_items), dtype=dtype)
    parts = row_slices(X, _CELLS) or [slice(0, X.shape[0])]
    for number, rows in enumerate(progress(parts, "Gram matrix")):
        part = row_slice(X, rows).astype(dtype, copy=False)
        block = partial(_add_products, out, part, part.T.tocsr(), number == 0)
        report = partial(progress, description="Gram matrix")
        map_blocks(block, n_items, max(1, min(256, 2**23 // n_items)), report)
    return out


def lower_panel(blocks, items, dtype=np.float32):
    """Return some rows of the lower triangle of XᵀX, up to the column of the last one.

    The values above the diagonal are undefined, but finite.

    Parameters
    ----------
    blocks : list of csr_array
        X, in blocks of rows.
    items : slice
        The rows of the triangle.
    dtype : dtype, default=float32
        Of the result.
    """
    out = np.empty((items.stop - items.start, items.stop), dtype=dtype)
    for number, group in enumerate(even_blocks([block.nnz for block in blocks], _STACKED)):
        slices = [block[:, : items.stop] for block in blocks[group]]
        part = slices[0] if len(slices) == 1 else sp.vstack(slices, format="csr")
        part = part.astype(dtype, copy=False)
        part_t = part[:, items].T.tocsr()
        for rows in batches(len(out), max(1, min(512, 2**23 // items.stop))):
            _add_products(out, part, part_t, number == 0, rows, items.start)
    return out


def _add_products(out, X, Xt, is_first, rows, start=0):
    """Set, or add to, some rows of `out` up to the diagonal; `start` is the item of its row 0."""
    stop = start + rows.stop
    product = Xt[rows] @ X[:, :stop]
    if not is_first:
        out[rows, :stop] += product.toarray()
        return
    shape = (product.shape[0], out.shape[1])
    widened = sp.csr_array((product.data, product.indices, product.indptr), shape=shape)
    widened.toarray(out=out[rows])


def invert_in_place(A, *, whole=_WHOLE, tile=_TILE, block=_BLOCK):
    """Overwrite a symmetric positive definite matrix with its inverse.

    For each block k of columns with Cholesky factor L of the pivot A_kk, the symmetric sweep
    operator takes A_ij to A_ij − A_ik A_kk⁻¹ A_kj, A_ik to A_ik A_kk⁻¹ and A_kk to −A_kk⁻¹; after
    all blocks A holds −A⁻¹ (Goodnight, The American Statistician 33, 1979). Only one triangle is
    stored.

    Parameters
    ----------
    A : ndarray of shape (n, n), C-contiguous
        Float32 or float64; only its lower triangle is read.
    whole : int, default=4096
        The largest n that LAPACK inverts at once.
    tile : int, default=2048
        Rows and columns of a tile, the largest matrix passed to BLAS or LAPACK otherwise.
    block : int, default=512
        Columns swept at once.

    Returns
    -------
    A : ndarray of shape (n, n)
        The input array with both triangles filled.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a pivot is not positive definite in this precision.
    """
    if len(A) <= whole:
        potrf, potri = get_lapack_funcs(("potrf", "potri"), (A,))
        potri(_cholesky(potrf, A.T, overwrite_a=1), overwrite_c=1)  # A.T: the order LAPACK wants
    else:
        _sweep(_Tiles(A, tile), block)
    return mirror_lower(A)


def mirror_lower(A):
    """Overwrite the values above the diagonal with those below it, and return the matrix."""

    def mirror(rows):
        square = A[rows, rows]
        square[:] = np.tril(square) + np.tril(square, -1).T
        A[: rows.start, rows] = A[rows, : rows.start].T

    map_blocks(mirror, len(A), _BLOCK)
    return A


def _cholesky(potrf, A, **options):
    """Return the upper triangular L of A = Lᵀ L."""
    L, info = potrf(A, **options)
    if info:
        raise np.linalg.LinAlgError("The matrix is not positive definite.")
    return L


class _Tiles:
    """The lower triangle of a matrix as tiles, each contiguous, in the memory of the matrix.

    scipy's BLAS updates contiguous arrays in place but copies all others.

    Parameters
    ----------
    A : ndarray of shape (n, n), C-contiguous
        Its lower triangle is cut into tiles; `restore` puts them back into rows.
    size : int
        Rows and columns of a tile.
    """

    def __init__(self, A, size):
        self.A, self.size = A, size
        self.panels = list(gen_batches(len(A), size))
        for rows in self.panels:  # one panel at a time bounds the memory of the copy
            panel = A[rows, : rows.stop].copy()
            for columns in self.up_to(rows):
                self.tile(rows, columns)[:] = panel[:, columns]

    def restore(self):
        """Write the negated tiles back into the rows of the matrix."""
        for rows in self.panels:
            panel = np.empty((rows.stop - rows.start, rows.stop), dtype=self.A.dtype)
            for columns in self.up_to(rows):
                np.negative(self.tile(rows, columns), out=panel[:, columns])
            self.A[rows, : rows.stop] = panel

    def up_to(self, rows):
        """Return the panels up to the diagonal one."""
        return self.panels[: rows.start // self.size + 1]

    def tile(self, rows, columns):
        """Return the tile at two panels, on or below the diagonal."""
        n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
        start = rows.start * len(self.A) + n_rows * columns.start
        tile = self.A.reshape(-1)[start : start + n_rows * n_columns]
        return tile.reshape(n_rows, n_columns)

    def column_tiles(self, panel, columns):
        """Yield each panel of rows with a view of its share of some columns of `panel`.

        Above the diagonal it is a transposed view of the tile below.
        """
        for rows in self.panels:
            if rows.start < panel.start:
                yield rows, self.tile(panel, rows)[columns].T
            else:
                yield rows, self.tile(rows, panel)[:, columns]


def _sweep(tiles, block):
    """Overwrite the lower triangle of a tiled matrix with the lower triangle of its inverse."""
    A = tiles.A
    gemm, syrk, trsm = get_blas_funcs(("gemm", "syrk", "trsm"), (A,))
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (A,))
    for panel in progress(tiles.panels, "Inverse"):
        square = tiles.tile(panel, panel)
        for pivot in gen_batches(len(square), block):  # columns of the panel
            L = _cholesky(potrf, square[pivot, pivot].T)
            W = np.empty((len(A), len(L)), dtype=A.dtype)
            for rows, tile in tiles.column_tiles(panel, pivot):
                W[rows] = tile
            above = slice(panel.start + pivot.start, panel.start + pivot.stop)
            W[panel.start : above.start] = square[pivot, : pivot.start].T
            W[above] = 0
            for rows in tiles.panels:  # Fortran order, in place: W becomes A_ik L⁻¹
                trsm(1.0, L, W[rows].T, trans_a=1, overwrite_b=1)
            for rows in tiles.panels:  # A_ij − A_ik A_kk⁻¹ A_kj
                *left, diagonal = tiles.up_to(rows)
                for columns in left:
                    tile = tiles.tile(rows, columns).T
                    options = {"beta": 1.0, "c": tile, "trans_a": 1, "overwrite_c": 1}
                    gemm(-1.0, W[columns].T, W[rows].T, **options)
                tile = tiles.tile(rows, diagonal).T
                syrk(-1.0, W[rows].T, beta=1.0, c=tile, trans=1, overwrite_c=1)
            for rows in tiles.panels:  # A_ik A_kk⁻¹
                trsm(1.0, L, W[rows].T, overwrite_b=1)
            for rows, tile in tiles.column_tiles(panel, pivot):
                tile[:] = W[rows]
            square[pivot, : pivot.start] = W[panel.start : above.start].T
            inverse, _ = potri(L, overwrite_c=1)
            np.negative(inverse, out=square[pivot, pivot].T)
    tiles.restore()


class Gram:
    """The Gram matrix XᵀX of some rows, as closed-form models read it.

    A model can be fitted from anything with these methods, such as a sum over the blocks of rows of
    a cluster.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        The rows.
    dense : ndarray of float32 of shape (n_dense_rows, n_items), default=None
        Further rows of X with few zeros.
    """

    def __init__(self, X, dense=None):
        self.X, self.dense = X, dense
        self.n_items = X.shape[1]

    def diagonal(self):
        """Return the sums of the squared values of each item, in float64."""
        squares = item_squares(self.X)
        if self.dense is not None:
            squares += np.einsum("ij,ij->j", self.dense, self.dense, dtype=np.float64)
        return squares

    def lower(self, dtype):
        """Return a new array with the lower triangle; the values above it are undefined."""
        out = lower_gram(self.X, dtype)
        if self.dense is not None:
            _add_lower_gram(out, self.dense.astype(dtype, copy=False))
        return out

    def times(self, vector):
        """Return the product with a vector of float64."""
        product = 0
        for rows in row_slices(self.X):  # scipy makes a float64 copy of the values
            part = row_slice(self.X, rows)
            product = product + part.T @ (part @ vector)
        if self.dense is not None:
            product += self.dense.T @ (self.dense @ vector)
        return product

    def device_array(self, device):
        """Return a new float32 tensor on a device; its lower triangle counts."""
        import torch

        out = torch.zeros((self.n_items, self.n_items), device=device)
        for rows in row_blocks(self.X.shape[0], 4 * self.n_items):
            block = torch.from_numpy(self.X[rows].toarray()).to(device)
            out.addmm_(block.T, block)
        if self.dense is not None:
            block = torch.from_numpy(self.dense).to(device)
            out.addmm_(block.T, block)
        return out


def inverse_gram(gram, penalty, device="cpu"):
    """Return (XᵀX + diagMat(penalty))⁻¹ as a dense array: in float32 if accurate, else in float64.

    Parameters
    ----------
    gram : Gram
        XᵀX.
    penalty : float or ndarray of float64 of shape (n_items,)
        What is added to the diagonal, greater than zero.
    device : str, default="cpu"
        Where to compute it; devices other than the CPU use torch, in float32 only.

    Raises
    ------
    MemoryError
        If the matrix does not fit, before it is allocated.
    ValueError
        If the matrix is too close to singular even for float64, or the device is unavailable.
    """
    if device != "cpu":
        device = check_device(device)
        if device.type != "cpu":
            return _inverse_on_device(gram, penalty, device)
    for dtype in (np.float32, np.float64):
        fits = np.max(penalty) <= float(np.finfo(dtype).max)
        P = _try_inverse(gram, penalty, dtype) if fits else None
        if P is not None:
            return P
    raise ValueError(f"{_too_small(penalty)}: XᵀX + l2·I is singular.")


def _too_small(penalty):
    name = "l2=" if np.ndim(penalty) == 0 else "A penalty of "
    return f"{name}{np.min(penalty):g} is too small for these interactions"


def _check_memory(n_items, dtype):
    dtype = np.dtype(dtype)
    check_memory(
        # EASE copies a float64 inverse to float32
        (dtype.itemsize + (4 if dtype.itemsize > 4 else 0)) * n_items**2,
        f"EASE's {dtype} matrix of {n_items:,} × {n_items:,} items",
        "ItemKNN stores only a few neighbors per item; filter_k_core drops rare items.",
    )


def is_inverse(times, gram, penalty):
    """Return whether P inverts XᵀX + diagMat(penalty) accurately, tested on a random vector.

    Parameters
    ----------
    times : callable
        Returns the product of P with a vector of float64 of shape (n_items,).
    gram : Gram
        XᵀX.
    penalty : float or ndarray of float64 of shape (n_items,)
        What is added to the diagonal.
    """
    probe = np.random.RandomState(0).uniform(-1, 1, size=gram.n_items)
    image = times(probe)
    residual = gram.times(image) + penalty * image - probe
    return np.abs(residual).max() < 1e-3


def matvec(P, vector):
    """Return the product of a large array with a vector, in the precision of the array."""
    image, vector = np.empty(len(P)), vector.astype(P.dtype)
    for rows in row_blocks(len(P), P[0].nbytes):
        image[rows] = P[rows] @ vector
    return image


def _try_inverse(gram, penalty, dtype):
    """Return (XᵀX + diagMat(penalty))⁻¹, or None if `dtype` is not precise enough."""
    _check_memory(gram.n_items, dtype)
    P = gram.lower(dtype)
    P[np.diag_indices_from(P)] += np.asarray(penalty, dtype=dtype)
    try:
        invert_in_place(P)
    except np.linalg.LinAlgError:
        return None
    return P if is_inverse(partial(matvec, P), gram, penalty) else None


def _add_lower_gram(out, rows):
    """Add the lower triangle of RᵀR of a dense array to `out`, by blocks of its rows."""
    for items in row_blocks(len(out), out[0].nbytes):
        out[items, : items.stop] += rows[:, items].T @ rows[:, : items.stop]


def _inverse_on_device(gram, penalty, device):
    """Return (XᵀX + diagMat(penalty))⁻¹ as a float32 array, computed by torch on `device`."""
    import torch

    _check_memory(gram.n_items, np.float32)
    with torch.no_grad():
        P = gram.device_array(device)
        P.diagonal().add_(torch.as_tensor(penalty, dtype=P.dtype, device=device))
        L, info = torch.linalg.cholesky_ex(P)  # which reads the lower triangle
        del P
        P = torch.cholesky_inverse(L).cpu().numpy()
    if info.item() or not is_inverse(partial(matvec, P), gram, penalty):
        raise ValueError(
            f"{_too_small(penalty)} in float32: XᵀX + l2·I is singular. Raise it, or use "
            'device="cpu", which falls back to float64.'
        )
    return P
