"""The hold-out of ``score(X)``: by content, so that it does not depend on the order of the rows."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from sklearn_recsys.utils._cells import cell_rows, last_cells, take_cells, value_ranks, with_values
from sklearn_recsys.utils._history_index import item_hashes, mix, row_hashes


def hold_out_by_content(X, share=0.2, *, latest=False):
    """Hold out a share, and at least one cell, or a number of cells of each row.

    The cells are sampled by a hash of the row's items and the ranks of their values: the split does
    not depend on the row's position, a random state or the unit of the values, so all candidates of
    a search are scored on the same split.

    Parameters
    ----------
    X : csr_array of shape (n_rows, n_items)
        A canonical matrix.
    share : float or int, default=0.2
        The share to hold out of each row of two or more cells, rounded down to at least one, or
        the number of cells of each row that has more of them.
    latest : bool, default=False
        Whether to hold out the cells with the largest values (the latest interactions) instead of
        sampling them.

    Returns
    -------
    X_input, y : csr_array of shape (n_rows, n_items)
        The input cells and the held-out cells.
    """
    lengths = np.diff(X.indptr)
    if isinstance(share, Integral):
        n_held_out = np.where(lengths > share, share, 0)
    else:
        n_held_out = np.where(lengths > 1, np.maximum(1, (share * lengths).astype(np.int64)), 0)
    keys = X.data
    if not latest:
        ranked = with_values(X, value_ranks(X))
        keys = mix(row_hashes(ranked)[cell_rows(X)] + item_hashes(X.indices))
    held_out = last_cells(X, keys, n_held_out)
    return take_cells(X, ~held_out), take_cells(X, held_out)
