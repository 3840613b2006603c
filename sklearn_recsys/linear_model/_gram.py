"""The inverse of a regularised Gram matrix: lean, in place, and on every core.

LAPACK's way, ``potrf`` and ``potri``, is not taken where it is large: the threaded ``spotrf`` of
scipy's OpenBLAS crashes the interpreter at some 26,000 items on some processors, and a copy in
another library's layout doubles the memory. Sweeping blocks of columns needs the same n³
multiplications, nearly all in the symmetric rank update ``syrk``, where BLAS is fastest, and
nothing beside the matrix but a block of columns.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from sklearn_recsys.utils._threads import map_blocks, row_blocks
from sklearn_recsys.utils.validation import check_device, check_memory

_WHOLE = 4096  # up to here LAPACK inverts the matrix at once: it is safe, and faster
_BLOCK = 512  # columns swept at once beyond


def lower_gram(X, dtype=np.float32):
    """Return an array of shape (n_items, n_items) with the lower triangle of XᵀX of a csr_array.

    What lies above the diagonal is undefined.
    """
    n_items = X.shape[1]
    out = np.empty((n_items, n_items), dtype=dtype)
    X = X.astype(dtype, copy=False)
    Xt = X.T.tocsr()

    def block(items):
        product = Xt[items] @ X[:, : items.stop]
        shape = (product.shape[0], n_items)
        parts = (product.data, product.indices, product.indptr)
        sp.csr_array(parts, shape=shape).toarray(out=out[items])

    map_blocks(block, n_items, max(1, min(256, 2**23 // n_items)))
    return out


def invert_in_place(A):
    """Overwrite a symmetric positive definite matrix with its inverse.

    For each block k of columns with Cholesky factor L of the pivot A_kk, the symmetric sweep
    operator takes A_ij to A_ij − A_ik A_kk⁻¹ A_kj, A_ik to A_ik A_kk⁻¹ and A_kk to −A_kk⁻¹; after
    all blocks A holds −A⁻¹ (Goodnight, The American Statistician 33, 1979). One triangle is kept.

    Parameters
    ----------
    A : ndarray of shape (n, n), C-contiguous
        Float32 or float64; only its lower triangle is read.

    Returns
    -------
    A : ndarray of shape (n, n)
        The same memory, both triangles.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a pivot is not positive definite in this precision.
    """
    n = len(A)
    U = A.T  # Fortran order, as BLAS wants it; its upper triangle is worked on
    trsm, syrk = get_blas_funcs(("trsm", "syrk"), (U,))
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (U,))
    for start in range(0, n, n if n <= _WHOLE else _BLOCK):
        stop = n if n <= _WHOLE else min(start + _BLOCK, n)
        pivot = slice(start, stop)
        L, info = potrf(U[pivot, pivot], overwrite_a=stop - start == n)  # A_kk = Lᵀ L
        if info:
            raise np.linalg.LinAlgError("The matrix is not positive definite.")
        if stop - start < n:
            W = np.empty((n, stop - start), dtype=A.dtype, order="F")
            W[:start] = U[:start, pivot]
            W[pivot] = 0
            W[stop:] = U[pivot, stop:].T
            W = trsm(1.0, L, W, side=1, overwrite_b=1)
            syrk(-1.0, W, beta=1.0, c=U, overwrite_c=1)  # A_ij − A_ik A_kk⁻¹ A_kj
            W = trsm(1.0, L, W, side=1, trans_a=1, overwrite_b=1)  # A_ik A_kk⁻¹
            U[:start, pivot] = W[:start]
            U[pivot, stop:] = W[stop:].T
        inverse, _ = potri(L, overwrite_c=1)
        np.negative(inverse, out=U[pivot, pivot])

    for start in range(0, n, _BLOCK):  # negate, and mirror the triangle
        stop = min(start + _BLOCK, n)
        rows = U[start:stop, start:]
        np.negative(rows, out=rows)
        square = U[start:stop, start:stop]
        square[:] = np.triu(square) + np.triu(square, 1).T
        U[stop:, start:stop] = U[start:stop, stop:].T
    return A


def inverse_gram(X, l2, device="cpu"):
    """Return (XᵀX + l2 I)⁻¹ as a dense array, in float32 wherever that is accurate.

    Parameters
    ----------
    X : csr_array of shape (n_users, n_items)
        The matrix.
    l2 : float
        The ridge penalty.
    device : str, default="cpu"
        Where to compute; another device than the CPU does so by torch, in float32 only.

    Raises
    ------
    MemoryError
        If the matrix cannot fit, before it is allocated.
    ValueError
        If the matrix is too close to singular for float64, too, or the device is not there.
    """
    if device != "cpu":
        device = check_device(device)
        if device.type != "cpu":
            return _inverse_on_device(X, l2, device)
    for dtype in (np.float32, np.float64):
        P = _try_inverse(X, l2, dtype)
        if P is not None:
            return P
    raise ValueError(f"l2={l2:g} is too small for these interactions: XᵀX + l2·I is singular.")


def _check_memory(n_items, dtype):
    dtype = np.dtype(dtype)
    check_memory(
        (dtype.itemsize + (4 if dtype.itemsize > 4 else 0)) * n_items**2,  # and its float32 copy
        f"EASE's {dtype} matrix of {n_items:,} × {n_items:,} items",
        "ItemKNN keeps a few neighbours per item instead; filter_k_core drops rare items.",
    )


def _is_inverse(P, X, l2):
    """Return whether P inverts XᵀX + l2 I well enough, tried on a random vector."""
    probe = np.random.RandomState(0).uniform(-1, 1, size=X.shape[1])
    image = (P @ probe.astype(P.dtype)).astype(np.float64)
    residual = X.T @ (X @ image) + l2 * image - probe
    return np.abs(residual).max() < 1e-3


def _try_inverse(X, l2, dtype):
    """Return (XᵀX + l2 I)⁻¹, or None if this precision is too short for it."""
    _check_memory(X.shape[1], dtype)
    P = lower_gram(X, dtype)
    P[np.diag_indices_from(P)] += dtype(l2)
    try:
        invert_in_place(P)
    except np.linalg.LinAlgError:
        return None
    return P if _is_inverse(P, X, l2) else None


def _inverse_on_device(X, l2, device):
    """Return (XᵀX + l2 I)⁻¹ as a float32 array, computed by torch on `device`."""
    import torch

    n_items = X.shape[1]
    _check_memory(n_items, np.float32)
    with torch.no_grad():
        P = torch.zeros((n_items, n_items), device=device)
        for rows in row_blocks(X.shape[0], 4 * n_items):
            dense = torch.from_numpy(X[rows].toarray()).to(device)
            P.addmm_(dense.T, dense)
        P.diagonal().add_(l2)
        L, info = torch.linalg.cholesky_ex(P)
        del P
        P = torch.cholesky_inverse(L).cpu().numpy()
    if info.item() or not _is_inverse(P, X, l2):
        raise ValueError(
            f"l2={l2:g} is too small for these interactions in float32: XᵀX + l2·I is singular. "
            'Raise it, or use device="cpu", which falls back to float64.'
        )
    return P
