"""A matrix on a cluster, as blocks of rows in the memory of its workers, and sums over them."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, cached_property, partial

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.linear_model._gram import lower_panel, mirror_lower
from sklearn_recsys.utils._cells import item_counts, item_squares, shared_cells
from sklearn_recsys.utils._threads import batches, even_blocks
from sklearn_recsys.utils.validation import check_csr

_WIDTH = 8  # sums that one task adds up
_GROUP_BYTES = 2**29  # of blocks that one task reads
_TASKS = 4  # of each thread of the workers, at least, so that all of them end at the same time
_TILE_BYTES = 2**26  # of a dense term
_TILE_CELLS = 2**23  # of a sparse term, at most


class Blocks:
    """Blocks of rows on a cluster.

    Dask keeps them in the memory of the workers, or spills them to their disks, as long as this
    object exists, and computes those again that are lost with a worker.

    Parameters
    ----------
    client : distributed.Client
        The client of the cluster.
    futures : list of distributed.Future
        The blocks, first rows first.
    shape : tuple of int
        The shape of the matrix.
    """

    def __init__(self, client, futures, shape):
        self.client, self.futures, self.shape = client, futures, shape

    def map(self, function, *args):
        """Return other blocks, of ``function(block, *args)``, where an argument may be a future."""
        futures = [self.client.submit(function, block, *args) for block in self.futures]
        return Blocks(self.client, futures, self.shape)

    def with_rows(self, rows):
        """Return the blocks and one more, a csr_array in the memory of the caller."""
        futures = [*self.futures, self.client.submit(itself, rows)]
        return Blocks(self.client, futures, (self.shape[0] + rows.shape[0], self.shape[1]))

    def gather(self, function, *args):
        """Return the list of ``function(block, *args)`` for all blocks."""
        return self.client.gather(self.map(function, *args).futures)

    def sum(self, function, *args):
        """Return a future of the sum of ``function(block, *args)`` over all blocks.

        A task adds up blocks of one worker; their sums are added up in a tree.

        Parameters
        ----------
        function : callable
            Returns a new ndarray or csr_array.
        *args : object
            Further arguments; futures stand for their results.
        """
        return self.sum_of_groups(self.groups, partial(_sum_of_blocks, function), *args)

    def sum_of_groups(self, groups, function, *args):
        """Return a future of the sum of ``function(blocks, *args)`` over groups of blocks.

        Parameters
        ----------
        groups : list of list of distributed.Future
            The blocks, in groups.
        function : callable
            Returns a new ndarray or csr_array, given a list of blocks.
        *args : object
            Further arguments; futures stand for their results.
        """
        sums = [self.client.submit(function, group, *args) for group in groups]
        while len(sums) > 1:  # before further terms, so that a worker holds few sums
            few = [sums[part] for part in batches(len(sums), _WIDTH)]
            sums = [self.client.submit(_sum, terms, priority=1) for terms in few]
        return sums[0]

    @cached_property
    def sizes(self):
        """Bytes of each block, an array."""
        from distributed import wait

        wait(self.futures)
        sizes = self.client.nbytes(summary=False)
        return np.array([sizes.get(future.key, 0) for future in self.futures])

    @cached_property
    def groups(self):
        """Lists of blocks, each held by one worker and of bounded memory."""
        sizes = dict(zip(self.futures, self.sizes, strict=True))
        holders = self.client.who_has(self.futures)
        by_worker = defaultdict(list)
        for future in self.futures:
            by_worker[min(holders[future.key], default=None)].append(future)
        return [
            futures[group]
            for futures in by_worker.values()
            for group in even_blocks([sizes[future] for future in futures], _GROUP_BYTES)
        ]


def read_blocks(X, client, model):
    """Return the blocks of a user's distributed matrix, validated for a model, and its counts.

    Parameters
    ----------
    X : dask.array.Array or list of dask.delayed.Delayed
        The matrix: its blocks, or the parts of the list, are sparse matrices of consecutive rows.
    client : distributed.Client
        The client of the cluster.
    model : RecommenderMixin
        The model, which checks and reads the values.

    Returns
    -------
    blocks : Blocks
        Canonical csr_arrays of float32.
    counts : ndarray of int64 of shape (n_items,)
        The number of cells of each item.
    """
    import dask

    tasks = [dask.delayed(_read)(block, model) for block in _blocks_of(X)]
    blocks = Blocks(client, client.compute(tasks), None)
    shapes = blocks.gather(_shape)
    widths = {n_items for _, n_items, _ in shapes}
    if len(widths) > 1:
        raise ValueError(
            f"The blocks of X must have a column for each item; got {sorted(widths)} columns."
        )
    if not sum(n_cells for *_, n_cells in shapes):
        raise ValueError("X holds no interaction: every cell is zero (not observed).")
    blocks.shape = (sum(n_rows for n_rows, *_ in shapes), widths.pop())
    return blocks, blocks.sum(item_counts).result()


def is_distributed(X):
    """Return whether `X` is a dask array, or a list of dask collections or futures."""
    from dask import is_dask_collection
    from distributed import Future

    if isinstance(X, (list, tuple)) and len(X):
        return all(is_dask_collection(part) or isinstance(part, Future) for part in X)
    return is_dask_collection(X)


def _blocks_of(X):
    """Return a list of what stands for the blocks of rows of `X`."""
    import dask.array as da

    if isinstance(X, da.Array):
        if X.ndim != 2:
            raise ValueError(f"X must be 2-D (n_users, n_items); got {X.ndim} dimension(s).")
        if X.numblocks[1] != 1:
            raise ValueError(
                f"A block of X must hold whole rows; its columns are in {X.numblocks[1]} chunks. "
                "Make the blocks from rows, with dask.array.from_delayed or map_blocks."
            )
        return X.to_delayed().ravel().tolist()
    if isinstance(X, (list, tuple)) and is_distributed(X):
        return list(X)
    raise TypeError(
        "X must be a dask array whose blocks are CSR matrices of rows, or a list of delayed CSR "
        f"matrices; got {type(X).__name__}. A matrix in memory is fitted by the local model."
    )


@cache
def _measure_sparse_arrays():
    """Tell Dask in this process the size of a sparse array, instead of 56 bytes.

    By the sizes, Dask decides what to spill to disk and what to send to which worker.
    """
    from dask.sizeof import sizeof

    for kind in (sp.csr_array, sp.csc_array, sp.coo_array):
        if sizeof.dispatch(kind) is sizeof.dispatch(object):  # Dask knows sparse matrices only
            sizeof.register(kind, _n_bytes)


def _n_bytes(X):
    from dask.sizeof import sizeof

    return sum(map(sizeof, vars(X).values()))


def _read(X, model):
    _measure_sparse_arrays()
    return model._read(check_csr(X, dtype=np.float32))


def itself(value):
    """Return a value of the caller; a task is not lost with a worker, as scattered data is."""
    return value


def _shape(X):
    return (*X.shape, X.nnz)


def _sum_of_blocks(function, blocks, *args):
    _measure_sparse_arrays()  # a worker may have read no block
    total = None
    for block in blocks:
        term = function(block, *args)
        if total is None:
            total = term
        else:
            total += term
    return total


def _sum(terms):
    total = terms[0].copy()  # a task must not change its input
    for term in terms[1:]:
        total += term
    return total


# ---------------------------------------------------------------- products of columns


class BlockGram:
    """The Gram matrix XᵀX of blocks, as `sklearn_recsys.linear_model._gram.Gram` is of a matrix.

    Parameters
    ----------
    blocks : Blocks
        The rows.
    counts : ndarray of int64 of shape (n_items,)
        The number of cells of each item, by which the work is divided.
    """

    def __init__(self, blocks, counts):
        self.blocks, self.counts = blocks, counts
        self.n_items = blocks.shape[1]

    def diagonal(self):
        """Return the sums of the squared values of each item, in float64."""
        return self.blocks.sum(item_squares).result()

    def lower(self, dtype):
        """Return a new array with the lower triangle; the values above it are undefined."""
        out = np.empty((self.n_items, self.n_items), dtype=dtype)
        for items, panel in results(*self._lower_panels(np.dtype(dtype))):
            out[items, : items.stop] = panel
        return out

    def on_workers(self):
        """Return a future of the matrix in float32, both triangles filled.

        Raises
        ------
        MemoryError
            If a worker must not hold it, next to the panels that it is made of.
        """
        client, n_bytes = self.blocks.client, 6 * self.n_items**2
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        limit = min((worker["memory_limit"] or np.inf for worker in workers), default=np.inf)
        if n_bytes > limit:
            raise MemoryError(
                f"The Gram matrix of {self.n_items:,} × {self.n_items:,} items needs "
                f"{n_bytes / 2**30:.1f} GiB on a worker, whose limit is {limit / 2**30:.1f} GiB. "
                "Start fewer workers with more memory each, or drop rare items (filter_k_core)."
            )
        panels, sums = self._lower_panels(np.dtype(np.float32))
        return client.submit(_symmetric, panels, sums)

    def _lower_panels(self, dtype):
        """Return slices of items, and futures of their rows of the lower triangle."""
        panels, blocks = list(self._panels(dtype.itemsize)), self.blocks
        sums = [blocks.sum_of_groups(self._groups, lower_panel, items, dtype) for items in panels]
        return panels, sums

    @property
    def _groups(self):
        """Lists of blocks, each for one task: all in one if they are smaller than a triangle.

        To send them to all workers then takes less than to send sums.
        """
        blocks = self.blocks
        is_small = blocks.sizes.sum() <= min(_GROUP_BYTES, 2 * self.n_items**2)
        return [blocks.futures] if is_small else blocks.groups

    def _panels(self, itemsize):
        """Return slices of items whose rows of the triangle take the same time, and fit."""
        n_threads = sum(self.blocks.client.nthreads().values())
        n_panels = -(-_TASKS * n_threads // len(self._groups))
        products = self.counts * np.cumsum(self.counts, dtype=np.float64)
        n_bytes = itemsize * np.arange(1.0, self.n_items + 1)
        return even_blocks(products * (n_panels / products.sum()) + n_bytes / _TILE_BYTES, 1)

    def times(self, vector):
        """Return the product with a vector of float64."""
        return self.blocks.sum(_times, vector).result()

    def device_array(self, device):
        """Return a new float32 tensor on a device, of which the lower triangle counts."""
        import torch

        return torch.from_numpy(self.lower(np.float32)).to(device)


def _symmetric(panels, rows):
    """Return the whole of a symmetric matrix, given panels of its lower triangle."""
    out = np.empty((panels[-1].stop,) * 2, dtype=np.float32)
    for items, panel in zip(panels, rows, strict=True):
        out[items, : items.stop] = panel
    return mirror_lower(out)


def _times(X, vector):
    return X.T @ (X @ vector)


def n_products(blocks):
    """Return, for each item, an upper bound of the number of items that share a user with it."""
    return np.minimum(blocks.sum(shared_cells).result(), blocks.shape[1])


def nearest_items(blocks, bounds, products, best, *args):
    """Return a row of neighbors for each item, from sums of sparse products over the blocks.

    Parameters
    ----------
    blocks : Blocks
        The rows.
    bounds : ndarray of shape (n_items,)
        As `n_products` returns them.
    products : list of callable
        ``products[0](block, items)`` is the block's term of the rows of some items, a csr_array of
        shape (n_items_of_the_slice, n_items).
    best : callable
        ``best(items, totals, *args)`` makes the result for these items of the sums, a csr_array of
        the same shape.
    *args : object
        Further arguments of `best`.

    Returns
    -------
    neighbors : csr_array of shape (n_items, n_items)
    """
    panels = list(even_blocks(bounds, _TILE_CELLS))
    lists = []
    for items in panels:
        totals = [blocks.sum(product, items) for product in products]
        lists.append(blocks.client.submit(best, items, totals, *args))
    rows = dict(results(range(len(panels)), lists))
    return sp.vstack([rows[panel] for panel in range(len(panels))], format="csr")


def results(names, futures):
    """Yield the name and the result of each future once it is there, and release it.

    `futures` is emptied.
    """
    from distributed import as_completed

    named = dict(zip([future.key for future in futures], names, strict=True))
    waiting = as_completed(futures)
    futures.clear()
    for future in waiting:
        yield named[future.key], future.result()
