"""Rules from a tidy frame: items that must be in a list, and items that must not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from sklearn_recsys.compose._reranker import Reranker, first_allowed
from sklearn_recsys.utils._cells import cell_keys, in_cells
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._ids import as_index, index, missing_ids
from sklearn_recsys.utils._state import Array, Sparse

_RULES = ("must", "must_not")


class ItemRules(Reranker):
    """Follow rules: items that must be in a list, and items that must not.

    Parameters
    ----------
    rules : DataFrame
        A row for each rule, of any library, with the columns ``"item"`` and ``"rule"``, which is
        ``"must"`` or ``"must_not"``, and optionally ``"user"``, where a missing value stands for
        all users. In a pipeline with an encoder users and items are raw ids, in columns with the
        encoder's names; otherwise users are rows of the training matrix, and items are its columns,
        by their labels if it has any, else by number.

    Attributes
    ----------
    must_, must_not_ : ndarray of bool of shape (n_items,)
        The items with a rule for all users.
    user_must_, user_must_not_ : csr_array of float32 of shape (n_users, n_items)
        Ones where a user has a rule.
    n_features_in_ : int
        Number of items.

    See Also
    --------
    RerankedRecommender : A recommender whose lists are reranked.

    Notes
    -----
    Items that must be in a list replace the last ones of it, and it keeps the order of the
    candidates: they may be at its end. A rule does not make an item eligible: one that the call
    excludes is not listed, and one that the user has seen need not be. Of more such items than
    slots, the first are listed.

    A user is their history. Rules for a user apply where the call names training rows or raw ids;
    and to histories that equal one in training, of which the first row counts.

    Filters that are known when `recommend` is called are its arguments `exclude` and `candidates`,
    which take a matrix with a row for each user, or in a pipeline with an encoder a frame.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_recsys.compose import ItemRules
    >>> frame = pd.DataFrame({"item": [3, 0], "rule": ["must", "must_not"]})
    >>> ItemRules(frame).fit(np.eye(4)).rerank([[0, 1, 2, 3]], n=2)
    array([[1, 3]])
    """

    _parameter_constraints: dict = {"rules": "no_validation"}  # frames of any library

    def __init__(self, rules):
        self.rules = rules

    @property
    def comes_last(self):
        """Whether a later reranker could break a rule: if an item must be in a list."""
        frame = self._frame()
        return "rule" in frame.columns and (frame["rule"] == "must").any()

    @property
    def reads_users(self):
        """Whether a rule is for one user; False before `fit`."""
        cells = (getattr(self, f"user_{rule}_", None) for rule in _RULES)
        return any(of_users is not None and of_users.nnz for of_users in cells)

    def _fitted_state(self):
        masks = dict.fromkeys(("must_", "must_not_"), Array("n_items", kinds="b"))
        cells = dict.fromkeys(("user_must_", "user_must_not_"), Sparse("n_users", "n_items"))
        return {**super()._fitted_state(), **masks, **cells}

    def _column(self, kind):
        """Return the name of the column of users or items."""
        labels = self._user_labels if kind == "user" else self._item_labels
        return kind if labels is None else labels[1]

    def _frame(self):
        if not is_frame(self.rules):
            raise ValueError(
                f"The 'rules' parameter of ItemRules must be a DataFrame; got {self.rules!r:.100}."
            )
        return as_pandas_frame(self.rules, "rules")

    def _fit(self, X):
        frame, item, user = self._frame(), self._column("item"), self._column("user")
        missing = {item, "rule"} - set(frame.columns)
        if missing:
            raise ValueError(
                f"rules must have the columns {item!r} and 'rule'; got {list(frame.columns)}."
            )
        other = set(frame["rule"]) - set(_RULES)
        if other:
            raise ValueError(f"A rule is 'must' or 'must_not'; got {missing_ids(list(other))}.")
        items = _places(frame[item], self._item_labels, X.shape[1], "item")
        rows = np.full(len(frame), -1)
        if user in frame.columns:
            named = frame[user].notna().to_numpy()
            rows[named] = _places(frame.loc[named, user], self._user_labels, X.shape[0], "user")
        for rule in _RULES:
            applies = (frame["rule"] == rule).to_numpy()
            mask = np.zeros(X.shape[1], dtype=bool)
            mask[items[applies & (rows < 0)]] = True
            own = applies & (rows >= 0)
            cells = sp.csr_array(
                (np.ones(own.sum(), dtype=np.float32), (rows[own], items[own])), shape=X.shape
            )
            cells.sum_duplicates()
            cells.data[:] = 1
            setattr(self, f"{rule}_", mask)
            setattr(self, f"user_{rule}_", cells)
        self._refuse_conflicts()

    def _refuse_conflicts(self):
        conflicts = self.must_ & self.must_not_
        conflicts[self.user_must_.indices[in_cells(self.user_must_, self.user_must_not_)]] = True
        conflicts[self.user_must_.indices[self.must_not_[self.user_must_.indices]]] = True
        conflicts[self.user_must_not_.indices[self.must_[self.user_must_not_.indices]]] = True
        if conflicts.any():
            raise ValueError(
                "rules say of an item that it must and that it must not be in a list: the items of "
                f"the columns {missing_ids(np.flatnonzero(conflicts))}."
            )

    def _holds(self, rule, ids, histories):
        """Return whether a rule applies to each item of lists; a "must" to unseen ones only."""
        holds = getattr(self, f"{rule}_")[ids] & (ids >= 0)
        if histories.training_rows is not None:
            holds |= _are_stored(getattr(self, f"user_{rule}_"), histories.training_rows, ids)
        if rule == "must":
            holds &= ~_are_stored(histories.X, np.arange(len(ids)), ids)
        return holds

    def _positions(self, ids, scores, n, histories):
        allowed = (ids >= 0) & ~self._holds("must_not", ids, histories)
        return first_allowed(allowed, self._holds("must", ids, histories), n)

    def _is_met(self, ids, histories):
        must_not = self._holds("must_not", ids, histories).any(axis=1)
        n_listed = self._holds("must", ids, histories).sum(axis=1)
        return ~must_not & (n_listed == self._n_required(histories))

    def _n_required(self, histories):
        """Return the number of items that must be in each list: those that are not in `X`."""
        X, rows = histories.X, histories.training_rows
        n_required = np.full(len(histories), np.count_nonzero(self.must_))
        n_required -= X.astype(bool).astype(np.int64) @ self.must_.astype(np.int64)
        if rows is not None and self.user_must_.nnz:
            known = np.flatnonzero(np.asarray(rows) >= 0)
            own = self.user_must_[np.asarray(rows)[known]]
            new = ~in_cells(own, X[known]) & ~self.must_[own.indices]
            n_required[known] += np.bincount(
                np.repeat(np.arange(len(known)), np.diff(own.indptr)), new, len(known)
            ).astype(np.int64)
        return n_required


def _are_stored(cells, rows, ids):
    """Return whether a csr_array stores the cells of lists, whose rows −1 it has not."""
    keys = cell_keys(cells)
    if not len(keys):
        return np.zeros(ids.shape, dtype=bool)
    rows = np.asarray(rows)[:, None]
    wanted = rows * np.int64(cells.shape[1]) + ids
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return (keys[places] == wanted) & (ids >= 0) & (rows >= 0)


def _places(values, labels, n, kind):
    """Return the rows or columns of the training matrix that labels or numbers stand for."""
    ids = None if labels is None else labels[0]
    if labels is not None and ids is None:
        raise ValueError(
            "rules name users, but the rows of X are not the users of the encoder, as in a fold of "
            "a cross-validation over users: use rules for all users, or the argument `exclude` of "
            "recommend."
        )
    values = as_index(values, kind)
    if ids is None:
        numbers = pd.to_numeric(values, errors="coerce")
        places = np.where(np.isin(numbers, np.arange(n)), numbers, -1).astype(np.int64)
    else:
        places = index(ids).get_indexer(values)
    if np.any(places < 0):
        where = f"the {n} of the training matrix" if ids is None else "those seen in fit"
        unknown = missing_ids(values[places < 0])
        raise ValueError(f"rules name {kind}s that are none of {where}: {unknown}.")
    return places
