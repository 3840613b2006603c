"""Two stages: recommenders retrieve candidates, and a model of their features ranks them."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import check_array

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.compose._base import BaseComposite
from sklearn_recsys.compose._normalize import min_max
from sklearn_recsys.compose._pair_features import (
    FEATURES,
    OF_ITEM_FEATURES,
    OF_ORDER,
    Pairs,
    latest,
    pair_features,
    popularity,
    recency,
)
from sklearn_recsys.compose._training import (
    HOLDOUT,
    candidate_pairs,
    check_can_predict,
    fitted_to_pairs,
    group_params,
    pair_scores,
    ranked_first,
    retrieved,
)
from sklearn_recsys.preprocessing._feature_matrix import feature_matrix
from sklearn_recsys.preprocessing._features import fit_encoder
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._sklearn import HasMethods, Interval, StrOptions
from sklearn_recsys.utils._sparse import as_csr
from sklearn_recsys.utils._state import Array, Check, Instance, Maybe, Sparse

_RANKER = HistGradientBoostingClassifier(
    learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=0
)


class TwoStageRecommender(BaseComposite):
    """Retrieval and ranking: the candidates of recommenders, ranked by a classifier or regressor.

    Each retriever contributes the items that it scores highest; a model that has learned from
    features of pairs of users and items orders them [1]_. It is trained on interactions that are
    held out: the retrievers are fitted to the rest, so that no feature of a training pair has seen
    its target, and then to all interactions.

    Parameters
    ----------
    retrievers : list of tuple of (str, recommender)
        Names and recommenders, clones of which are fitted twice.
    ranker : classifier, regressor or ranker, default=None
        Of scikit-learn's interface; a clone is fitted to the features of pairs, with the target 1
        for a held-out interaction and 0 otherwise. Its scores are its decision function, its
        probability of 1, or its prediction. LightGBM's, XGBoost's and CatBoost's rankers are told
        which pairs belong to a user. None: a HistGradientBoostingClassifier.
    features : list of str or callable, default=("scores", "popularity", "history_length")
        What the ranker sees of a pair, in this order; see Notes.
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): a row for each item, in the order of the columns of `X`, for
        the features of that name and ``"similarity"``. In a pipeline with an encoder, the rows of a
        frame are matched to the items by the raw item ids in its index.
    item_encoder, user_encoder : transformer, default=None
        Convert `item_features` and ``user_features`` to numbers, such as a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder` or a
        :class:`~sklearn.compose.ColumnTransformer`; clones of them are fitted. None: a
        FeatureEncoder with default parameters for frames; anything else must hold numbers.
    n_candidates : int, default=50
        The number of unseen items that each retriever contributes.
    n_negatives : int, default=50
        The number of training pairs with the target 0 for each with the target 1, sampled from the
        candidates of the same user if there are more.
    holdout : float or int, default=0.2
        The share of each user's interactions to hold out, at least one of two or more, or how many
        of users who have more: sampled by a hash of the user's history, or the latest ones if
        an order is read.
    held_out : {"cells", "latest", "users"}, default="cells"
        ``"cells"``: the retrievers are first fitted to the other interactions of all users, which
        suits recommendations for training users. ``"latest"``: the same, and the values of `X` are
        positions or times, the latest of which are held out. ``"users"``: the share is also that of
        the users whose interactions are held out, a fifth if `holdout` is an integer, and the
        retrievers are first fitted to the others, which suits new users.

    Attributes
    ----------
    estimators_ : list of recommenders
        The fitted retrievers, in the order of `retrievers`.
    named_estimators_ : Bunch
        The fitted retrievers by name.
    ranker_ : estimator or None
        The fitted ranker; None if every user has every item, so that there is nothing to rank.
    popularity_ : ndarray of float32 of shape (n_items,)
        The logarithm of one plus the number of users of each item.
    recency_ : ndarray of float32 of shape (n_items,) or None
        The mean position of each item in the histories, from 0 to 1, if an order is read.
    item_features_ : csr_array of float32 of shape (n_items, n_item_features) or None
        The encoded features of the items.
    user_features_ : ndarray of float32 of shape (n_users, n_user_features) or None
        The encoded features of the training users, if they are among the `features`.
    item_encoder_, user_encoder_ : transformer or None
        The fitted encoders; None where there was nothing to encode.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    StackingRecommender : Learns weights of recommenders, also for ratings.

    Notes
    -----
    A classifier or regressor tells pairs apart across users, some of whom have more held-out
    interactions among their candidates than others. Features that go along with that, as
    ``"ranks"`` do, hide their effect within a user, unless ``"history_length"`` explains it or the
    model is told the groups.

    The features are

    - ``"scores"``: each retriever's score, standardized over the candidates of the user;
    - ``"ranks"``: the logarithm of each retriever's rank of the item, from 1;
    - ``"popularity"``: the logarithm of one plus the number of users of the item;
    - ``"history_length"``: the logarithm of one plus the number of items of the user;
    - ``"recency"``: how late in their histories users come to the item, from 0 to 1;
    - ``"recent_scores"``: as ``"scores"``, of the user's ten latest interactions alone;
    - ``"item_features"``: the columns of the encoded features of the item, such as text vectors;
    - ``"similarity"``: the cosine of the item's features and the sum of those of the history;
    - ``"user_features"``: the columns of the encoded features of the user, which are then passed to
      `fit` and to all methods that take users;
    - a function ``f(X, rows, items)`` of a csr_array of histories, its rows and the items of the
      pairs; it returns an array of shape (n_pairs,) or (n_pairs, n_columns) and must depend on the
      contents of each row and on the items alone. A file holds no functions:
      :func:`~sklearn_recsys.save` refuses a model with one, which pickle accepts if it can be
      imported.

    With ``"recency"``, ``"recent_scores"`` or ``held_out="latest"``, the values of `X` are
    positions or times, as for a retriever that reads the order of interactions. Other retrievers
    then need a :class:`~sklearn.preprocessing.Binarizer` in a pipeline.

    Candidates are scored from 1 to 2, in the order of the ranker. All other items follow in the
    order of the first retriever, from 0 to ½, seen items among them, and so do all items of a user
    without a history and features, from whom the ranker can't learn. The result is a ranking, whose
    scores have no unit, even if all retrievers predict ratings.

    References
    ----------
    .. [1] Paul Covington, Jay Adams, Emre Sargin. "Deep neural networks for YouTube
       recommendations". RecSys 2016.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_recsys import EASE, ItemKNN, TwoStageRecommender
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(n_users=400, n_items=50, density=0.2, random_state=0)
    >>> model = TwoStageRecommender(
    ...     [("ease", EASE(l2=10)), ("knn", ItemKNN())],
    ...     LogisticRegression(),
    ...     features=["scores", "popularity"],
    ...     n_candidates=20,
    ... ).fit(R)
    >>> int(model.ranker_.coef_.argmax())  # it is EASE that decides most
    0
    >>> model.recommend(R[:2], n=1)
    array([[44],
           [44]])
    """

    _members_param = "retrievers"

    _parameter_constraints: dict = {
        "retrievers": [list],
        "ranker": [HasMethods(["fit", "predict"]), None],
        "features": [list, tuple],
        "item_features": ["array-like", "sparse matrix", None],
        "item_encoder": [HasMethods(["fit", "transform"]), None],
        "user_encoder": [HasMethods(["fit", "transform"]), None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "holdout": HOLDOUT,
        "held_out": [StrOptions({"cells", "latest", "users"})],
    }

    def __init__(
        self,
        retrievers,
        ranker=None,
        features=("scores", "popularity", "history_length"),
        *,
        item_features=None,
        item_encoder=None,
        user_encoder=None,
        n_candidates=50,
        n_negatives=50,
        holdout=0.2,
        held_out="cells",
    ):
        self.retrievers = retrievers
        self.ranker = ranker
        self.features = features
        self.item_features = item_features
        self.item_encoder = item_encoder
        self.user_encoder = user_encoder
        self.n_candidates = n_candidates
        self.n_negatives = n_negatives
        self.holdout = holdout
        self.held_out = held_out

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        own = tags.recommender_tags
        if own.values == "rating":
            own.values = "weight"  # the scores are not ratings
        if OF_ORDER & self._feature_names() or self.held_out == "latest":
            own.values = "order"
        own.exact = False  # which cells are held out depends on the item indices
        return tags

    def _feature_names(self):
        """Return the names among the `features` parameter, whatever its value is."""
        given = self.features if isinstance(self.features, (list, tuple)) else []
        return {name for name in given if isinstance(name, str)}

    def _fitted_state(self):
        encoder = Maybe(Instance(BaseEstimator))
        return {
            **super()._fitted_state(),
            "ranker_": Maybe(Check(check_can_predict)),
            "popularity_": Array("n_items"),
            "recency_": Maybe(Array("n_items")),
            "item_features_": Maybe(Sparse("n_items", "n_item_features")),
            "user_features_": Maybe(Array("n_users", "n_own_user_features")),
            "item_encoder_": encoder,
            "user_encoder_": encoder,
        }

    def _check_portable(self):
        super()._check_portable()
        names = self.features
        if not (isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)):
            raise ValueError("one of its features is a function, which a file does not hold")

    # ---------------------------------------------------------------- fitting

    def _fit(self, X, user_features=None):
        self._check_features(user_features)
        self.item_features_ = self.item_encoder_ = self.user_features_ = self.user_encoder_ = None
        if OF_ITEM_FEATURES & self._feature_names():
            features = self._ordered_item_features()
            self.item_features_, self.item_encoder_ = feature_matrix(features, self.item_encoder)
        if "user_features" in self.features:
            if is_frame(user_features) or self.user_encoder is not None:
                self.user_encoder_ = fit_encoder(self.user_encoder, _read(user_features))
            self.user_features_ = self._encoded(user_features, X.shape[0])
        super()._fit(X, user_features)

    def _check_features(self, user_features):
        """Raise ValueError unless the `features` are known, and what they need is given."""
        known = [*FEATURES]
        unknown = [name for name in self.features if not callable(name) and name not in known]
        if unknown or not self.features:
            raise ValueError(
                f"features must be functions or of {', '.join(map(repr, FEATURES))}, with at least "
                f"one; got {unknown[0] if unknown else self.features!r:.100}."
            )
        names = self._feature_names()
        if OF_ITEM_FEATURES & names and self.item_features is None:
            raise ValueError(
                f"The features {sorted(OF_ITEM_FEATURES & names)} need the parameter item_features."
            )
        if "user_features" in names and user_features is None:
            raise ValueError("The features ['user_features'] need user_features in fit.")

    def _reads_user_features(self):
        return "user_features" in self.features or super()._reads_user_features()

    def _fit_members(self, X, user_features=None, rows=None):
        if not super()._reads_user_features():
            user_features = None
        super()._fit_members(X, user_features, rows)
        # of the same interactions, so that they do not tell of the held-out ones
        self.popularity_ = popularity(X)
        self.recency_ = recency(X) if "recency" in self.features else None

    _learns = True

    def _learn(self, X, user_features):
        histories, y = self._fit_to_the_rest(X, user_features)
        columns = [
            (self._pair_features(part, scores, rows, items), target, rows + block.start)
            for block, part, scores, rows, items, target in candidate_pairs(
                histories, y, self._member_scores, self.n_candidates, self.n_negatives
            )
        ]
        features, target, users = map(np.concatenate, zip(*columns, strict=True))
        self.ranker_ = None
        if not target.all():  # or every user has every item
            ranker = clone(_RANKER if self.ranker is None else self.ranker)
            params = group_params(ranker, users)
            self.ranker_ = fitted_to_pairs(ranker, features, target, **params)

    # ---------------------------------------------------------------- features of users

    @property
    def _has_features(self):
        return self.user_features_ is not None or super()._has_features

    def _with_features(self, histories, user_features):
        if self.user_features_ is None:
            return super()._with_features(histories, user_features)
        rows = histories.training_rows
        if user_features is not None:
            own = self._encoded(user_features, len(histories))
        elif rows is not None:
            own = self.user_features_[rows]
        else:
            raise ValueError(
                f"{type(self).__name__} was fitted with user_features: pass those of these users, "
                "too."
            )
        if super()._has_features:
            members = super()._with_features(histories, user_features).user_features
            own = np.hstack([own, members])
        return Histories(histories.X, own, rows)

    def _encoded(self, user_features, n_rows):
        """Return the features of users as the ranker reads them; raise if they do not match."""
        features = _read(user_features)
        if self.user_encoder_ is not None:
            features = self.user_encoder_.transform(features)
        features = check_array(
            as_csr(features, "user_features"),
            accept_sparse="csr",
            dtype=np.float32,
            input_name="user_features",
        )
        features = features if isinstance(features, np.ndarray) else features.toarray()
        expected = (n_rows, self._n_own_features or features.shape[1])
        if features.shape != expected:
            raise ValueError(
                f"user_features must have a row for each row of X and the columns seen in fit: "
                f"expected the shape {expected}, got {features.shape}."
            )
        return features

    @property
    def _n_own_features(self):
        return 0 if self.user_features_ is None else self.user_features_.shape[1]

    @property
    def _n_encoded_features(self):
        return self._n_own_features + super()._n_encoded_features

    def _histories_of_members(self, X, user_features=None):
        if user_features is not None:
            user_features = user_features[:, self._n_own_features :]
        return super()._histories_of_members(X, user_features)

    # ---------------------------------------------------------------- scores

    def _member_scores(self, histories):
        members = self._histories_of_members(histories.X, histories.user_features)
        return [model._scores(histories) for model, histories in members]

    def _pair_features(self, histories, scores, rows, items):
        X, user_features = histories.X, histories.user_features
        own = None if self.user_features_ is None else user_features[:, : self._n_own_features]
        pairs = Pairs(
            X=X,
            scores=scores,
            rows=rows,
            items=items,
            recent_scores=lambda: self._member_scores(histories.with_X(latest(X))),
            popularity=self.popularity_,
            recency=self.recency_,
            item_features=self.item_features_,
            user_features=own,
        )
        return pair_features(self.features, pairs)

    def _score_items(self, X, user_features=None):
        histories = Histories(X, user_features)
        scores = self._member_scores(histories)
        candidates = retrieved(scores, X, self.n_candidates)
        candidates[histories.is_cold] = False  # the ranker has not learned from such users
        rows, items = np.nonzero(candidates)
        if self.ranker_ is None or not len(rows):
            return min_max(scores[0]) / 2
        features = self._pair_features(histories, scores, rows, items)
        return ranked_first(scores[0], rows, items, pair_scores(self.ranker_, features))


def _read(features):
    """Return features of users as a pandas frame, or as they are."""
    return as_pandas_frame(features, "user_features") if is_frame(features) else features
