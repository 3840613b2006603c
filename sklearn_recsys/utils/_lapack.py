"""Cholesky decompositions of many matrices by LAPACK, without the interpreter's lock.

scipy's wrappers hold the lock during a call, so that parallel threads solve one system after the
other. `scipy.linalg.cython_lapack` exports the same routines as C functions, and ctypes releases
the lock while one runs.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
from scipy.linalg import cython_lapack, get_lapack_funcs


def cholesky(A):
    """Overwrite symmetric positive definite matrices by their Cholesky factors.

    Parameters
    ----------
    A : ndarray of shape (n_systems, n, n)
        C-contiguous matrices in float32 or float64. Only their lower triangles are read and
        overwritten.

    Returns
    -------
    failed : ndarray of bool of shape (n_systems,)
        Whether a matrix is not positive definite in this precision.
    """
    info = np.zeros(len(A), dtype=np.intc)
    potrf = _c_function("potrf", A.dtype.char, 5)
    if potrf is None:
        (potrf,) = get_lapack_funcs(("potrf",), (A,))
        for i in range(len(A)):
            _, info[i] = potrf(A[i].T, overwrite_a=True, clean=False)
        return info != 0
    upper, n = _char(b"U"), _int(A.shape[1])  # the lower triangle, in Fortran's order
    for matrix, code in zip(_addresses(A), _addresses(info), strict=True):
        potrf(upper, n, matrix, n, code)
    return info != 0


def cholesky_solve(factors, b):
    """Solve systems in place, given the Cholesky factors of their matrices.

    Parameters
    ----------
    factors : ndarray of shape (n_systems, n, n)
        The result of `cholesky`.
    b : ndarray of shape (n_systems, n)
        C-contiguous right-hand sides of the same dtype, overwritten by the solutions.
    """
    potrs = _c_function("potrs", factors.dtype.char, 8)
    if potrs is None:
        (potrs,) = get_lapack_funcs(("potrs",), (factors,))
        for i in range(len(factors)):
            b[i], _ = potrs(factors[i].T, b[i])
        return
    upper, n, one, info = _char(b"U"), _int(b.shape[1]), _int(1), _int(0)
    for factor, right in zip(_addresses(factors), _addresses(b), strict=True):
        potrs(upper, n, one, factor, n, right, n, info)


def _char(value):
    return ctypes.byref(ctypes.c_char(value))


def _int(value):
    return ctypes.byref(ctypes.c_int(value))


def _addresses(array):
    """Return the address of each ``array[i]``."""
    start, step = array.ctypes.data, array.strides[0]
    return (start + i * step for i in range(len(array)))


@cache
def _c_function(routine, dtype, n_arguments):
    """Return LAPACK's routine; None where scipy's LAPACK has other integers than C's ``int``."""
    capsule = cython_lapack.__pyx_capi__[{"f": "s", "d": "d"}[dtype] + routine]
    signature = _capsule("PyCapsule_GetName", ctypes.c_char_p)(capsule)
    if not signature.startswith(b"void (char *, int *, "):
        return None
    pointer = _capsule("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_char_p)(capsule, signature)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)(pointer)


def _capsule(function, result, *more):
    """Return a function of Python's C interface that reads a capsule."""
    return ctypes.PYFUNCTYPE(result, ctypes.py_object, *more)((function, ctypes.pythonapi))
