"""One recommender for each user: by the length of the history, or by a rule of one's own."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.compose._base import BaseComposite


class SwitchRecommender(BaseComposite):
    """One of several recommenders for each user, chosen by the user's history.

    Parameters
    ----------
    estimators : list of tuple of (str, recommender)
        Names and recommenders, all of which are fitted to all users.
    rule : array-like of int of shape (n_estimators - 1,) or callable, default=(1, 10)
        Numbers: the least lengths of a history for the second recommender, the third and so on, in
        ascending order; the default takes the first recommender for users without interactions, and
        the third from 10 interactions on. A function ``rule(X)``: the recommender of each row of a
        csr_array of histories, as integers from 0 of shape (n_rows,). It must depend on the
        contents of each row alone.

    Attributes
    ----------
    estimators_ : list of recommenders
        The fitted recommenders, in the order of `estimators`.
    named_estimators_ : Bunch
        The fitted recommenders by name.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.
    rating_range_ : tuple of float
        The least and the greatest training rating, if all recommenders predict ratings.

    See Also
    --------
    VotingRecommender : A mean of the scores of all recommenders.
    BackfillRecommender : Fills up what one recommender leaves open.

    Notes
    -----
    A file holds no functions: :func:`~sklearn_recsys.save` refuses a switch with a callable `rule`,
    which pickle accepts if the function can be imported.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, SwitchRecommender
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(n_users=100, n_items=40, random_state=0)
    >>> switch = SwitchRecommender(
    ...     [("popular", PopularityRecommender()), ("knn", ItemKNN()), ("ease", EASE(l2=10))],
    ...     rule=[1, 15],
    ... ).fit(R)
    >>> switch.chosen([[0] * 40, [1] * 10 + [0] * 30, [1] * 20 + [0] * 20])
    array(['popular', 'knn', 'ease'], dtype='<U7')
    """

    _parameter_constraints: dict = {
        "estimators": [list],
        "rule": ["array-like", callable],
    }

    def __init__(self, estimators, *, rule=(1, 10)):
        self.estimators = estimators
        self.rule = rule

    def _check_portable(self):
        super()._check_portable()
        if callable(self.rule):
            raise ValueError("its rule is a function, which a file does not hold")

    def _fit(self, X, user_features=None):
        self._choices(X[:1])  # a rule of the wrong form is refused before the fits
        super()._fit(X, user_features)

    def chosen(self, X) -> np.ndarray:
        """Return which recommender each user gets.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            Histories.

        Returns
        -------
        names : ndarray of str of shape (n_rows,)
            The names in `estimators`.
        """
        check_is_fitted(self)
        return np.array(self._names())[self._choices(self._read(self._checked(X)))]

    def _choices(self, X):
        """Return the position of each row's recommender."""
        n = len(self.estimators)
        if not callable(self.rule):
            lengths = np.asarray(self.rule)
            valid = lengths.shape == (n - 1,) and lengths.dtype.kind in "iuf"
            if not valid or np.any(np.diff(lengths) < 0):
                raise ValueError(
                    f"rule must be {n - 1} ascending numbers for {n} recommenders, or a function; "
                    f"got {self.rule!r:.100}."
                )
            return np.searchsorted(lengths, np.diff(X.indptr), side="right")
        choices = np.asarray(self.rule(X))
        valid = choices.shape == (X.shape[0],) and choices.dtype.kind in "iu"
        if not valid or np.any((choices < 0) | (choices >= n)):
            raise ValueError(
                f"rule(X) must return an integer from 0 to {n - 1} for each of the {X.shape[0]} "
                f"rows; got {choices!r:.100}."
            )
        return choices

    def _score_items(self, X, user_features=None):
        scores = np.empty(X.shape, dtype=np.float32)
        for rows, model, histories in self._by_member(X, user_features):
            scores[rows] = model._scores(histories)
        return scores

    def _score_pairs(self, X, rows, items, user_features=None):
        scores = np.empty(len(rows), dtype=np.float32)
        position = np.empty(X.shape[0], dtype=np.int64)
        for own, model, histories in self._by_member(X, user_features):
            position[own] = np.arange(len(own))
            pairs = np.flatnonzero(np.isin(rows, own))
            scores[pairs] = model._scores_at(histories, position[rows[pairs]], items[pairs])
        return scores

    def _by_member(self, X, user_features):
        """Yield the rows of each recommender that has some, and their users."""
        choices = self._choices(X)
        members = self._histories_of_members(X, user_features)
        for position, (model, histories) in enumerate(members):
            rows = np.flatnonzero(choices == position)
            if len(rows):
                yield rows, model, histories[rows]
