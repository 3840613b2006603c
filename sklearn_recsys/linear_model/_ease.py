"""EASE: a linear autoencoder in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
"""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.linear_model._base import LinearMixin
from sklearn_recsys.linear_model._gram import inverse_gram
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils.validation import check_indices


class EASE(LinearMixin, BaseEstimator):
    """Embarrassingly shallow autoencoder.

    Learns an item-item weight matrix B with a zero diagonal that reconstructs histories,
    ``X ≈ X B``: the closed-form solution of a ridge regression of every item on all others [1]_. It
    has one hyperparameter, and scoring a new user is one matrix product.

    Parameters
    ----------
    l2 : float, default=500.0
        The ridge penalty λ, in units of squared values of `X`: it is added to the diagonal of XᵀX,
        which holds the items' user counts if all values are ones. Good values lie between 100 and
        2000 on most data; choose it on held-out interactions.
    device : str, default="cpu"
        Where `fit` inverts the items × items matrix: ``"cpu"``, or, if torch is installed,
        ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which uses a GPU if there is one.

    Attributes
    ----------
    coef_ : ndarray of float32 of shape (n_items, n_items)
        The weights B: ``coef_[i, j]`` is what item i in a history adds to the score of item j.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    Raises
    ------
    MemoryError
        In `fit`, before anything is allocated, if a float32 items × items matrix does not fit.

    See Also
    --------
    sklearn_recsys.neighbors.ItemKNN : Sparse item weights, for catalogs whose items × items matrix
        does not fit in memory.

    Notes
    -----
    With P̂ = (XᵀX + λI)⁻¹ the solution is B̂ = I − P̂ · diagMat(1 ⊘ diag(P̂)), eq. 8 of [1]_. A single
    items × items matrix is built, inverted and turned into B̂ in place. If float32 is not precise
    enough for a small `l2`, the inverse is computed in float64.

    References
    ----------
    .. [1] Harald Steck. "Embarrassingly Shallow Autoencoders for Sparse Data". WWW 2019.
       https://arxiv.org/abs/1905.03375

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import EASE
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = EASE(l2=1.0).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=1)  # a new user
    array([[2]])
    """

    _parameter_constraints: dict = {
        "l2": [Interval(Real, 0, None, closed="neither")],
        "device": [str],
    }

    def __init__(self, l2=500.0, *, device="cpu"):
        self.l2 = l2
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.exact = True
        return tags

    def _fit(self, X):
        P = inverse_gram(X, self.l2, self.device)
        P /= -P.diagonal().copy()
        np.fill_diagonal(P, 0)
        self.coef_ = P.astype(np.float32, copy=False)

    def explain(self, users, item):
        """Explain a score by the items of the history.

        Parameters
        ----------
        users : int, or {array-like, sparse matrix, sparse array} of shape (1, n_items)
            One user, as in `recommend`: a training row, or a history.
        item : int
            The item whose score is to be explained.

        Returns
        -------
        items : ndarray of int64 of shape (n_history,)
            The items of the user's history, the largest contribution first.
        contributions : ndarray of float32 of shape (n_history,)
            What each adds to the score of `item`; they sum to the score. Both arrays are empty for
            an empty history, which is scored by popularity.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> from sklearn_recsys import EASE
        >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])
        >>> items, contributions = EASE(l2=1.0).fit(R).explain(0, item=2)
        >>> items
        array([1, 0])
        """
        check_is_fitted(self)
        history = self._histories(users).X
        if history.shape[0] != 1:
            raise ValueError(
                f"explain takes one user at a time; got {history.shape[0]}: pass X[[row]] or the "
                "number of a training row."
            )
        (item,) = check_indices([item], history.shape[1], name="item")
        with np.errstate(over="ignore", invalid="ignore"):  # the results are checked instead
            contributions = self._refuse_nan(history.data * self.coef_[history.indices, item])
        order = np.argsort(-contributions, kind="stable")
        return history.indices[order].astype(np.int64), contributions[order]
