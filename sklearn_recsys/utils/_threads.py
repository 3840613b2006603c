"""Row blocks of bounded memory, and the sparse product in threads.

scipy's sparse products and numpy's partitions release the interpreter's lock but use one core each;
processing blocks of rows in parallel threads uses the others.
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from threadpoolctl import ThreadpoolController

_BLOCK_MIB = 64  # larger blocks gain no speed


@cache
def controller():
    """Return the controller of the loaded thread pools, cached because finding them is slow."""
    return ThreadpoolController()


def n_threads():
    """Return the number of threads that BLAS may use, as limited by joblib and the user."""
    return max(
        (lib["num_threads"] for lib in controller().info() if lib["user_api"] == "blas"), default=1
    )


def batches(n_rows, size):
    """Yield consecutive slices of `size` rows.

    Like scikit-learn's `gen_batches`, but without its parameter validation, which takes half as
    long as scoring a user.
    """
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def rows_per_block(row_bytes):
    """Return the number of rows per block, within scikit-learn's `working_memory`."""
    budget = min(get_config()["working_memory"], _BLOCK_MIB) * 2**20
    return max(1, int(budget // max(1, row_bytes)))


def row_blocks(n_rows, row_bytes):
    """Return slices over `n_rows`, each of bounded memory."""
    return batches(n_rows, rows_per_block(row_bytes))


def map_blocks(function, n_rows, size, report=iter):
    """Return ``function(rows)`` for consecutive slices of `size` rows, run in threads.

    ``report(blocks)`` returns an iterable over the list of slices; this thread takes the next value
    of it when the result of a slice is there.
    """
    return _mapped(function, *_blocks_and_threads(n_rows, size), report)


def _blocks_and_threads(n_rows, size):
    """Return slices, and the number of threads for them."""
    blocks = list(batches(n_rows, size)) or [slice(0, 0)]
    return blocks, min(n_threads(), len(blocks)) if len(blocks) > 1 else 1


def _mapped(function, blocks, threads, report):
    if threads <= 1:
        return [function(rows) for rows in report(blocks)]
    with ThreadPoolExecutor(threads) as pool, closing(pool.map(function, blocks)) as results:
        return [next(results) for _ in report(blocks)]  # closed: an error cancels the others


class _OneBlasThread:
    """A context in which BLAS uses one thread, and which several threads may be in at once.

    The number is one of the whole process. If each thread set and restored it for itself, the first
    one to leave would restore it while others still compute, and the last one would restore the
    limit of another, for good.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._n_inside = 0

    def __enter__(self):
        with self._lock:
            if not self._n_inside:
                blas = controller().select(user_api="blas")
                with _control(blas):
                    self._limit = blas.limit(limits=1)
            self._n_inside += 1

    def __exit__(self, *error):
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                with _control(controller()):
                    self._limit.restore_original_limits()


@contextmanager
def _control(libraries):
    """Let this thread set limits: threadpoolctl lets one at a time do so, and ignores the rest."""

    def release():
        for library in libraries.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)

    release()
    yield
    release()


_one_blas_thread = _OneBlasThread()


def map_blas_blocks(function, n_rows, size, report=iter):
    """Return `map_blocks` of a function that calls BLAS or LAPACK, which then use one thread each.

    Threads then do not wait for each other's BLAS calls, and the result is the same, bit for bit,
    for any number of threads.
    """
    blocks, threads = _blocks_and_threads(n_rows, size)  # before the limit
    with _one_blas_thread:
        return _mapped(function, blocks, threads, report)


@contextmanager
def deferred_interrupt():
    """Return a context that a Ctrl-C does not end: its handler is called afterwards."""
    if threading.current_thread() is not threading.main_thread():  # others are not interrupted
        yield
        return
    caught = []
    former = signal.signal(signal.SIGINT, lambda *args: caught.append(args))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if former is None else former)
        if caught:
            signal.raise_signal(signal.SIGINT)


def even_blocks(costs, budget):
    """Yield slices of consecutive rows whose `costs` sum to about `budget`."""
    if len(costs):
        starts = np.flatnonzero(np.diff(np.cumsum(costs) // budget)) + 1
        bounds = [0, *starts.tolist(), len(costs)]
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
            yield slice(start, stop)


def sparse_dot(X, B):
    """Return the dense product of a csr_array with a dense or sparse matrix, in threads.

    Each row's sum runs in the order of its stored cells, so blocks change no bit of the result.
    """
    out = np.empty((X.shape[0], B.shape[1]), dtype=np.result_type(X.dtype, B.dtype))

    def block(rows):
        product = (X if rows == slice(0, X.shape[0]) else X[rows]) @ B
        if sp.issparse(product):
            product.toarray(out=out[rows])
        else:
            out[rows] = product

    # a few blocks per thread balance rows of unequal length
    size = min(256, -(-X.shape[0] // (4 * n_threads()))) if X.nnz > 10_000 else X.shape[0]
    map_blocks(block, X.shape[0], max(1, size))
    return out
