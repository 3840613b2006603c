"""Checks of explanations: of scores, and of what is not recommended."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import get_tags

from sklearn_recsys.utils.estimator_checks._tools import FEW, make_matrix


def check_explain(estimator):
    """Check contributions: they sum to the score if `additive`, else each is what it loses."""
    X = make_matrix(estimator)
    model = estimator.fit(X)
    n_items = X.shape[1]
    one_item = sp.csr_array(([1.0], ([0], [3])), shape=(1, n_items), dtype=np.float32)
    histories = sp.vstack([X[:2], make_matrix(estimator, seed=1)[:3], one_item], format="csr")
    # what ranks the items; predicted ratings may be clipped
    lists, scores = model.recommend(histories, 2, return_scores=True)
    why = model.explain(histories, lists)
    assert list(why.columns) == ["user", "item", "history_item", "contribution"]
    requested = [[row, item] for row, items in enumerate(lists) for item in items if item >= 0]
    assert_array_equal(why[["user", "item"]].drop_duplicates(), requested)
    for (user, item), group in why.groupby(["user", "item"]):
        seen = histories[[user]].indices
        history_items = group["history_item"].to_numpy()
        assert_array_equal(np.sort(history_items), seen, "not one row for each item seen")
        contributions = group["contribution"].to_numpy()
        assert np.all(np.diff(contributions) <= 0), "contributions are not in descending order"
        (score,) = scores[user][lists[user] == item]
        if get_tags(estimator).recommender_tags.additive:
            tolerance = 1e-5 + 1e-4 * np.abs(contributions).sum()
            assert_allclose(contributions.sum(), score, rtol=1e-4, atol=tolerance)
        else:
            shorter = histories[[user] * len(seen)].toarray()
            shorter[np.arange(len(seen)), history_items] = 0
            without = _scores_of(model, shorter)[:, item]
            tolerance = 1e-5 + 1e-4 * np.abs(without).max()
            assert_allclose(contributions, score - without, rtol=1e-4, atol=tolerance)
    same = model.explain(1, lists[1]).drop(columns="user")  # a training row, and its history
    expected = model.explain(X[[1]], lists[1]).drop(columns="user")
    assert_array_equal(same, expected)
    assert model.explain(sp.csr_array((1, n_items)), [0, 1]).empty


def check_why_not(estimator):
    """Check that `why_not` agrees with `recommend` on who is recommended, and on the ranks."""
    X = make_matrix(estimator)
    n_items, n = X.shape[1], 3
    by_score = get_tags(estimator).recommender_tags.ranks_by_score
    model = estimator.fit(X)
    for user in (0, make_matrix(estimator, seed=1)[[FEW]]):
        (everything,), (scores,) = model.recommend(user, n_items, return_scores=True)
        everything = everything[everything >= 0]
        (listed,), (list_scores,) = model.recommend(user, n, return_scores=True)
        last_score = list_scores[listed >= 0][-1]
        for item in [*everything[: n + 1], everything[-1]]:
            stages = model.why_not(user, item, n)
            last = stages.iloc[-1]
            assert (last["reason"] == "recommended") == (item in listed), last["reason"]
            if item in listed:
                slot = np.flatnonzero(listed == item)[0]
                assert last["rank"] == slot + 1
                assert_allclose(last["score"], list_scores[slot], rtol=1e-5, atol=1e-6)
            if len(stages) == 1 and by_score:
                slot = np.flatnonzero(everything == item)[0]
                assert last["rank"] == slot + 1
                row = last[["score", "last_score", "gap"]].tolist()
                expected = [scores[slot], last_score, last_score - scores[slot]]
                assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
        seen = (X[[user]] if isinstance(user, int) else user).indices
        others = np.setdiff1d(everything, everything[:1])
        reasons = [
            model.why_not(user, seen[0], n),
            model.why_not(user, everything[0], n, exclude=everything[:2]),
            model.why_not(user, everything[0], n, candidates=others),
            model.why_not(user, everything[0], n, candidates=others[None]),
        ]
        reasons = [stages["reason"].iloc[0] for stages in reasons]
        assert reasons == ["seen", "excluded", *["not a candidate"] * 2]
        stages = model.why_not(user, seen[0], n, exclude_seen=False)
        (listed,) = model.recommend(user, n, exclude_seen=False)
        assert (stages["reason"].iloc[-1] == "recommended") == (seen[0] in listed)


def _scores_of(model, histories):
    """Return the scores of all items, not clipped."""
    n_items = histories.shape[1]
    tags = get_tags(model).recommender_tags
    if not (tags.ranks_by_score or tags.values == "rating"):  # lists may lack items
        return model.predict(histories)
    ids, scores = model.recommend(histories, n_items, exclude_seen=False, return_scores=True)
    in_order = np.full(scores.shape, -np.inf, dtype=np.float32)
    np.put_along_axis(in_order, ids, scores, axis=1)
    return in_order
