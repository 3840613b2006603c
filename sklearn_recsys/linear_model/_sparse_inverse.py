"""The weights of EASE with few nonzeros, from the inverses of overlapping blocks of items.

Steck, "Markov Random Fields for Collaborative Filtering", NeurIPS 2019, section 3. No items × items
array is made: the pattern of the weights is found in blocks of rows of the Gram matrix, and the
Gram matrix of a block of items is made when the block is inverted. Only that of the items with the
most users is stored, as their blocks would take longest.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.linear_model._gram import invert_in_place, lower_gram, mirror_lower
from sklearn_recsys.linear_model._new_users import bounded_diagonal, column_factors
from sklearn_recsys.utils._cells import item_squares, shared_cells, take_cells, with_values
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._neighbors import similar_rows
from sklearn_recsys.utils._on_disk import some_columns, transposed
from sklearn_recsys.utils._threads import batches, map_blas_blocks
from sklearn_recsys.utils.progress import length, progress

_SHARE = 0.5  # r: share of a block whose weights are taken from its inverse
_STORED = 2**14  # items whose Gram matrix is stored, in 1 GiB
_CELLS = 2**24  # cells of blocks inverted before their weights are added up


def sparse_weights(X, penalty, n_neighbors, max_diagonal=0.0, *, share=_SHARE, n_stored=_STORED):
    """Return sparse weights W = I − P (Λ + diagMat μ), where P inverts blocks of XᵀX + Λ.

    Parameters
    ----------
    X : csr_array of float32 of shape (n_rows, n_items)
        The matrix.
    penalty : float or ndarray of float64 of shape (n_items,)
        The diagonal of Λ, greater than zero.
    n_neighbors : int
        The maximum number of weights of each item off the diagonal, at least 1.
    max_diagonal : float, default=0.0
        The bound ξ of the diagonal of W.
    share : float, default=0.5
        The share r of a block whose weights are taken from its inverse: the item whose block it is
        and its best neighbors. With 0 every item has a block of its own.
    n_stored : int, default=16384
        Number of items whose Gram matrix is stored.

    Returns
    -------
    W : csr_array of float32 of shape (n_items, n_items)
        The weights that are not zero.

    Raises
    ------
    MemoryError
        If the weights may not fit, before they are allocated.
    ValueError
        If a block is too close to singular even for float64.
    """
    n_items = X.shape[1]
    n_weights = int(np.minimum(shared_cells(X), n_neighbors + 1).sum()) + n_items
    check_memory(
        40 * n_weights + 4 * min(n_items, n_stored) ** 2 + 64 * (n_neighbors + 1) ** 2,
        f"EASE with up to {n_neighbors:,} weights for each of {n_items:,} items",
        "Lower density.",
    )
    penalty = np.broadcast_to(np.asarray(penalty, dtype=np.float64), (n_items,))
    norms = item_squares(X)
    pattern = neighbor_pattern(X, norms + penalty, n_neighbors)
    blocks = choose_blocks(pattern, norms, share)
    gram = _BlockGram(X, n_stored)
    n_seen = np.diff(pattern.indptr)

    def weights(run, one):
        """Return the cells of the pattern that a block determines, and its weights in them."""
        items, n_accepted = run[one.start]
        accepted = items[:n_accepted]
        P = _inverse(gram, items, penalty[items])
        d = P.diagonal()[:n_accepted].astype(np.float64)
        P = P[:, :n_accepted] * -column_factors(d, penalty[accepted], max_diagonal)
        P[np.arange(n_accepted), np.arange(n_accepted)] = bounded_diagonal(
            d, penalty[accepted], max_diagonal
        )
        columns = np.repeat(np.arange(n_accepted), n_seen[accepted])
        ends = np.cumsum(n_seen[accepted])
        cells = (pattern.indptr[accepted + 1] - ends)[columns] + np.arange(ends[-1])
        rows = _positions(items, n_items)[pattern.indices[cells]]
        is_inside = rows >= 0
        return cells[is_inside], P[rows[is_inside], columns[is_inside]]

    sums = np.zeros(pattern.nnz, dtype=np.float32)
    counts = np.zeros(pattern.nnz, dtype=np.int32)
    groups = batches(len(blocks), max(4, _CELLS // (n_neighbors + 1) ** 2))
    for group in progress(groups, "Weights", len(blocks), size=length):
        run = blocks[group]
        # added in the order of the blocks, whatever the number of threads
        for cells, values in map_blas_blocks(partial(weights, run), len(run), 1):
            sums[cells] += values
            counts[cells] += 1
    sums /= np.maximum(counts, 1)
    W = with_values(pattern, sums)
    return take_cells(W, sums != 0).T.tocsr()


def neighbor_pattern(X, scale, n_neighbors):
    """Return, in rows, the items whose correlation with each item is largest, and the item itself.

    The correlation of items i and j is |XᵀX + Λ|ᵢⱼ / √(scaleᵢ scaleⱼ), where `scale` is the
    diagonal of XᵀX + Λ. The penalty lowers those of rare items, which are due to few users.

    Returns
    -------
    pattern : csr_array of float32 of shape (n_items, n_items)
        The larger a value is, the closer is the neighbor. The diagonal is infinite.
    """
    factors = (1 / np.sqrt(scale)).astype(np.float32)  # that of the row changes no order

    def correlations(rows):
        products = rows @ X
        products.data = np.abs(products.data) * factors[products.indices]
        return products

    n_items = X.shape[1]
    neighbors = similar_rows(transposed(X), X, correlations, n_neighbors, np.arange(n_items))
    own = sp.diags_array(np.full(n_items, np.inf, dtype=np.float32), format="csr")
    return sp.csr_array(neighbors + own)


def choose_blocks(pattern, norms, share):
    """Return pairs of the items of a block, the best neighbors first, and how many it determines.

    Items with many neighbors come first, ties by their norms, then by index. An item that an
    earlier block determines has no block of its own.
    """
    waiting = np.ones(pattern.shape[0], dtype=bool)
    blocks = []
    for item in np.lexsort((-norms, -np.diff(pattern.indptr))):
        if waiting[item]:
            row = slice(pattern.indptr[item], pattern.indptr[item + 1])
            items = pattern.indices[row][np.argsort(-pattern.data[row], kind="stable")]
            n_accepted = max(1, int(np.ceil(share * len(items))))
            waiting[items[:n_accepted]] = False
            blocks.append((items, n_accepted))
    return blocks


class _BlockGram:
    """The Gram matrices of blocks of items.

    Parameters
    ----------
    X : csr_array of float32 of shape (n_rows, n_items)
        The matrix.
    n_stored : int
        Number of items, those with the most users, whose Gram matrix is stored.
    """

    def __init__(self, X, n_stored):
        self.X, self.Xt = X, transposed(X)
        self.n_users = np.diff(self.Xt.indptr)
        self.n_others = shared_cells(X)
        frequent = np.argsort(-self.n_users, kind="stable")[:n_stored]
        self.slots = _positions(frequent, X.shape[1]).astype(np.int64)
        self.stored = mirror_lower(lower_gram(sp.csr_array(some_columns(X, frequent))))

    def __call__(self, items, dtype):
        """Return the Gram matrix of an array of items."""
        if dtype != np.float32:
            rows = self.Xt[items].astype(dtype)
            return (rows @ rows.T).toarray()
        slots = self.slots[items]
        # any value is taken for items that are not stored, and replaced
        out = self.stored.reshape(-1).take(slots[:, None] * len(self.stored) + slots, mode="clip")
        others = np.flatnonzero(slots < 0)
        if len(others):
            out[others] = self._products(items, others).toarray()
            out[:, others] = out[others].T
        return out

    def _products(self, items, others):
        """Return the rows `others` of the Gram matrix of the items, by the shorter way."""
        if self.n_others[items[others]].sum() < self.n_users[items].sum():
            rows = self.Xt[items[others]]
            users, columns = np.unique(rows.indices, return_inverse=True)
            rows = sp.csr_array((rows.data, columns, rows.indptr), (len(others), len(users)))
            return rows @ self.X[users][:, items]  # of these items only: a third of the time
        rows = self.Xt[items]
        return rows[others] @ rows.T


def _inverse(gram, items, penalty):
    """Return the inverse of a block of XᵀX + Λ: in float32 if accurate, else in float64."""
    probe = np.random.RandomState(0).uniform(-1, 1, size=len(items))
    for dtype in (np.float32, np.float64):
        if penalty.max() > float(np.finfo(dtype).max):
            continue
        G = gram(items, dtype)
        G[np.diag_indices_from(G)] += penalty.astype(dtype)
        try:
            P = invert_in_place(G.copy())
        except np.linalg.LinAlgError:
            continue
        image = (P @ probe.astype(dtype)).astype(np.float64)
        if np.abs(G @ image - probe).max() < 1e-3:
            return P
    raise ValueError(
        f"A penalty of {penalty.min():g} is too small for these interactions: XᵀX + l2·I is "
        "singular. Raise l2."
    )


def _positions(items, n_items):
    """Return the position of each item in an array of items, or −1."""
    positions = np.full(n_items, -1, dtype=np.int32)
    positions[items] = np.arange(len(items))
    return positions
