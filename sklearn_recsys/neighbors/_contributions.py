"""What the items of a history add to scores that are sums over neighboring users."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.utils._cells import cell_rows, take_rows, with_values
from sklearn_recsys.utils._on_disk import transposed
from sklearn_recsys.utils._threads import row_blocks


def values_of_neighbors(neighbors, rows, items, fitted):
    """Return the neighbors of the row of each pair who have its item, and their values of it.

    Parameters
    ----------
    neighbors : csr_array of shape (n_rows, n_users)
        Similarities.
    rows, items : ndarray of int of shape (n_pairs,)
        The pairs.
    fitted : csr_array of shape (n_users, n_items)
        The values of the users.

    Returns
    -------
    similarities : csr_array of float64 of shape (n_pairs, n_users)
        Of the neighbors who have the item.
    values : ndarray
        Their values of it, one for each stored cell.
    """
    of_items = transposed(fitted)[items]
    of_rows = neighbors[rows].astype(np.float64)
    has_item = with_values(of_items, np.ones(of_items.nnz))
    similarities = of_rows.multiply(has_item).tocsr()
    values = of_items[cell_rows(similarities), similarities.indices]
    return similarities, values


def shared_votes(votes, X, rows, fitted):
    """Return the contributions of the cells of some rows to the sums of votes of other users.

    A vote belongs to the items that the row and the voter share, in proportion to the products of
    their values.

    Parameters
    ----------
    votes : csr_array of float64 of shape (n_pairs, n_users)
        The votes that each score is the sum of.
    X : csr_array of shape (n_rows, n_items)
        The rows.
    rows : ndarray of int of shape (n_pairs,)
        The row of each pair.
    fitted : csr_array of shape (n_users, n_items)
        The rows of the voters.

    Returns
    -------
    contributions : ndarray of float64
        One for each stored cell of ``X[rows]``.
    """
    result = [np.empty(0)]
    for pairs in row_blocks(len(rows), 16 * sum(fitted.shape)):
        own, given = take_rows(X, rows[pairs]).astype(np.float64), votes[pairs]
        voters, columns = np.unique(given.indices, return_inverse=True)
        of_voters = fitted[voters].astype(np.float64)
        overlaps = (own @ of_voters.T).toarray()[cell_rows(given), columns]
        shape = (given.shape[0], len(voters))
        weights = sp.csr_array((given.data / overlaps, columns, given.indptr), shape=shape)
        result.append(own.data * (weights @ of_voters).toarray()[cell_rows(own), own.indices])
    return np.concatenate(result)
