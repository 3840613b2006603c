"""check_recommender catches models that break the contract."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags

from sklearn_recsys import EASE, RandomRecommender, RecommenderPipeline
from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.utils.estimator_checks import (
    check_recommender,
    expected_failed_checks,
    parametrize_with_checks,
    recommender_checks,
)


class Sound(RecommenderMixin, BaseEstimator):
    """A co-occurrence model that keeps the contract; the broken ones differ in one point."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.exact = True
        return tags

    def _fit(self, X):
        counts = (X.T @ X).toarray()
        np.fill_diagonal(counts, 0)
        self.counts_ = counts

    def _score_items(self, X):
        return X @ self.counts_


class ReturnsSeen(Sound):
    def recommend(self, users=None, n=10, *, exclude_seen=True, **kwargs):
        return super().recommend(users, n, exclude_seen=False, **kwargs)


class NarrowAnswer(Sound):
    def recommend(self, users=None, n=10, **kwargs):
        return super().recommend(users, min(n, self.n_features_in_), **kwargs)


class Repeats(Sound):
    def recommend(self, users=None, n=10, *, return_scores=False, **kwargs):
        ids, scores = super().recommend(users, n, return_scores=True, **kwargs)
        ids, scores = ids[:, [0, *range(n - 1)]], scores[:, [0, *range(n - 1)]]
        return (ids, scores) if return_scores else ids


class TiesBackwards(Sound):
    def recommend(self, users=None, n=10, *, return_scores=False, **kwargs):
        ids, scores = super().recommend(users, n, return_scores=True, **kwargs)
        order = np.lexsort((-ids, -scores), axis=1)
        ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
        return (ids, scores) if return_scores else ids


class RowNumbers(Sound):
    def _score_items(self, X):
        bias = np.outer(np.arange(X.shape[0]), np.arange(X.shape[1]))
        return super()._score_items(X) + bias.astype(np.float32)


class UserTable(Sound):
    """Known users are recognized by their row number in the training matrix."""

    def _fit(self, X):
        super()._fit(X)
        self.table_ = np.random.RandomState(0).uniform(0, 1e4, size=X.shape).astype(np.float32)

    def _score_items(self, X):
        scores = super()._score_items(X)
        known = min(len(scores), len(self.table_))
        scores[:known] += self.table_[:known]
        return scores


class BlockMean(Sound):
    def _score_items(self, X):
        scores = super()._score_items(X)
        return scores - scores.mean(axis=0)


class MutatesInput(Sound):
    def fit(self, X, y=None):
        super().fit(X)
        if sp.issparse(X):
            X.data *= 2
        return self


class KeepsReference(Sound):
    def fit(self, X, y=None):
        super().fit(X)
        self.X_ = X
        return self

    def _score_items(self, X):
        return (X @ (self.X_.T @ self.X_)).astype(np.float32)


class NotDeterministic(Sound):
    def _score_items(self, X):
        noise = np.random.default_rng().uniform(size=X.shape)
        return super()._score_items(X) + noise.astype(np.float32)


class GlobalSeed(Sound):
    def _fit(self, X):
        np.random.seed(0)
        super()._fit(X)


class GlobalDraw(Sound):
    def _fit(self, X):
        np.random.uniform()
        super()._fit(X)


class Accumulates(Sound):
    def _fit(self, X):
        super()._fit(X)
        self._total = getattr(self, "_total", 0) + self.counts_
        self.counts_ = self._total


class WrongDtype(Sound):
    def predict(self, X):
        return super().predict(X).astype(np.float64)


class Rounds(Sound):
    """`predict` does not rise with the ranking."""

    def predict(self, X):
        return -super().predict(X)


class WrongPairs(Sound):
    def _score_pairs(self, X, rows, items):
        return self.counts_[items[::-1], items].astype(np.float32)


class HalfFitted(Sound):
    def _forget(self):
        pass


class Unchecked(Sound):
    """`fit` validates nothing."""

    def fit(self, X, y=None):
        X = sp.csr_array(np.nan_to_num(np.atleast_2d(X.toarray() if sp.issparse(X) else X)))
        return super().fit(X)


class RefusesEmptyRows(Sound):
    def _score_items(self, X):
        if np.any(np.diff(X.indptr) == 0):
            raise ValueError("A user without a history.")
        return super()._score_items(X)


class IgnoresCandidates(Sound):
    def recommend(self, users=None, n=10, *, candidates=None, **kwargs):
        return super().recommend(users, n, **kwargs)


class ItemNumbers(Sound):
    def _score_items(self, X):
        bias = np.linspace(0, 1, X.shape[1], dtype=np.float32)
        return super()._score_items(X) + bias


class DenseOnly(Sound):
    def fit(self, X, y=None):
        if sp.issparse(X) and X.format != "csr":
            raise TypeError("csr only")
        return super().fit(X)


class ReadsStoredZeros(Sound):
    def predict(self, X):
        scores = super().predict(X)
        return scores + np.float32(sp.issparse(X) and not np.all(X.data))


class Unpicklable(Sound):
    def _fit(self, X):
        super()._fit(X)
        self.score_ = lambda X: X @ self.counts_


class NewUsersOnly(Sound):
    def partial_fit(self, X, y=None):
        return self.fit(X)


class ArrayScore(Sound):
    def score(self, X, y=None, **kwargs):
        return np.float64(super().score(X, y, **kwargs))


class SilentOverlap(Sound):
    def _given_and_held_out(self, X, y, *, warn_overlap):
        return super()._given_and_held_out(X, y, warn_overlap=False)


class AnswersAnything(Sound):
    """Whatever cannot be read is answered with zeros."""

    def predict(self, X):
        try:
            return super().predict(X)
        except ValueError:
            return np.zeros(X.shape, dtype=np.float32)


class ThreeStars(Sound):
    """A rating model that answers in one unit only."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _score_items(self, X):
        return np.full(X.shape, 3, dtype=np.float32)


class HalfExplained(ExplainMixin, Sound):
    def _contributions(self, X, rows, items):
        return super()._contributions(X, rows, items) / 2


class LosesTwice(Sound):
    def _attributed(self, histories, read, rows, items):
        return 2 * super()._attributed(histories, read, rows, items)


class RanksFromZero(Sound):
    def _why_not(self, histories, item, n, eligible):
        (stage,) = super()._why_not(histories, item, n, eligible)
        return [stage._replace(rank=stage.rank - 1)]


class NotPersonal(Sound):
    def _score_items(self, X):
        return np.tile(self.counts_.sum(axis=0), (X.shape[0], 1))


BROKEN = {
    ReturnsSeen: "check_recommend_shape_and_order",
    NarrowAnswer: "check_recommend_shape_and_order",
    Repeats: "check_recommend_shape_and_order",
    TiesBackwards: "check_recommend_shape_and_order",
    WrongDtype: "check_recommend_is_top_n",
    Rounds: "check_recommend_is_top_n",
    WrongPairs: "check_predict_pairs",
    HalfExplained: "check_explain",
    LosesTwice: "check_explain",
    RanksFromZero: "check_why_not",
    UserTable: "check_users_argument",
    RefusesEmptyRows: "check_unseen_and_empty_rows",
    IgnoresCandidates: "check_candidates_and_exclude",
    BlockMean: "check_blocks",
    RowNumbers: "check_permutations",
    ItemNumbers: "check_permutations",
    DenseOnly: "check_containers",
    ReadsStoredZeros: "check_explicit_zeros",
    Unpicklable: "check_persistence",
    NotDeterministic: "check_reproducible",
    GlobalSeed: "check_reproducible",
    GlobalDraw: "check_reproducible",
    Accumulates: "check_reproducible",
    MutatesInput: "check_input_unmodified",
    KeepsReference: "check_input_unmodified",
    HalfFitted: "check_failing_fit",
    Unchecked: "check_failing_fit",
    AnswersAnything: "check_corrupt_input",
    ArrayScore: "check_score",
    SilentOverlap: "check_score",
    ThreeStars: "check_rating_units",
    NewUsersOnly: "check_partial_fit",
    NotPersonal: "check_checkerboard",
}


def test_a_sound_model_passes():
    """Without this the failures below would prove nothing."""
    assert check_recommender(Sound()) is None


@pytest.mark.parametrize("broken", BROKEN, ids=lambda model: model.__name__)
def test_a_broken_model_is_caught(broken):
    by_name = {check.func.__name__: check for check in recommender_checks(broken())}
    with pytest.raises(Exception):  # noqa: B017  (AssertionError, or the model's own)
        by_name[BROKEN[broken]]()
    np.random.seed(0)  # where a model that seeds or draws is hardest to see
    np.random.uniform()
    with pytest.raises(Exception):  # noqa: B017
        check_recommender(broken())


def test_every_check_has_caught_something():
    assert {check.func.__name__ for check in recommender_checks(Sound())} == set(BROKEN.values())


def test_the_estimator_is_cloned_and_seeded():
    model = RandomRecommender(random_state=None)
    check_recommender(model)
    assert model.random_state is None
    assert not hasattr(model, "interactions_")
    pipe = RecommenderPipeline([("random", RandomRecommender())])
    check_recommender(pipe)
    assert pipe.get_params()["random__random_state"] is None


def test_a_fitted_estimator_is_left_as_it_is():
    model = EASE(l2=3.0).fit(np.eye(3))
    before = model.coef_.copy()
    check_recommender(model)
    np.testing.assert_array_equal(model.coef_, before)
    assert model.l2 == 3.0


def test_expected_failures_are_a_fresh_dict():
    expected_failed_checks(EASE()).clear()
    assert expected_failed_checks(EASE())


class FirstItemsFirst(Sound):
    """The order of the items decides, which the tag `exact` denies."""

    def _fit(self, X):
        super()._fit(X)
        self.counts_ = self.counts_ + np.linspace(1, 0, X.shape[1], dtype=np.float32)


def test_the_order_of_items_matters_to_exact_models_only():
    checks = {check.func.__name__: check for check in recommender_checks(FirstItemsFirst())}
    with pytest.raises(AssertionError, match="the tag `exact` says that the order of items"):
        checks["check_permutations"]()
    assert not get_tags(RandomRecommender()).recommender_tags.exact
    checks = {check.func.__name__: check for check in recommender_checks(RandomRecommender())}
    checks["check_permutations"]()


@parametrize_with_checks([EASE(), RandomRecommender()])
def test_parametrize_with_checks(estimator, check):
    check(estimator)
    assert not hasattr(estimator, "interactions_"), "the check fits a clone"


def test_parametrize_with_checks_makes_a_test_of_each_check():
    names, cases = parametrize_with_checks([Sound(), NarrowAnswer()]).args
    assert names == ("estimator", "check")
    assert len(cases) == 2 * len(recommender_checks(Sound()))
    assert len({case.id for case in cases}) == len(cases)
    broken = {case.id: case.values for case in cases}
    estimator, check = broken["NarrowAnswer()-check_recommend_shape_and_order"]
    with pytest.raises(AssertionError):
        check(estimator)
