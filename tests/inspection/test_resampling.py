"""Bootstrap, sign flips, Holm's correction, and standard errors, against other ways to them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from sklearn_recsys.inspection._resampling import bootstrap_sums, holm, sign_flip_test
from sklearn_recsys.inspection._statistics import score_table
from sklearn_recsys.metrics import mae, rmse
from sklearn_recsys.metrics._outcome import RowSums


def rng():
    return np.random.default_rng(0)


# ------------------------------------------------------------------------- the bootstrap


def test_sums_of_samples_occur_as_often_as_an_enumeration_says():
    values = np.array([[0.0], [1.0], [5.0]])
    all_sums = [values[list(rows)].sum() for rows in product(range(3), repeat=3)]
    possible, expected = np.unique(all_sums, return_counts=True)
    sums = bootstrap_sums(values, 20_000, rng()).ravel()
    found, counts = np.unique(sums, return_counts=True)
    assert_array_equal(found, possible)
    assert stats.chisquare(counts, 20_000 * expected / 27).pvalue > 0.001


def test_all_columns_see_the_same_samples():
    values = rng().random((3000, 1))
    sums = bootstrap_sums(np.hstack([values, 2 * values, np.ones((3000, 1))]), 3000, rng())
    assert_allclose(sums[:, 1], 2 * sums[:, 0])
    assert_array_equal(sums[:, 2], 3000)
    assert sums[:, 0].std() == pytest.approx(values.std() * np.sqrt(3000), rel=0.05)


@pytest.mark.parametrize("name", ["ndcg@10", "neg_rmse", "neg_mae"])
def test_intervals_are_those_of_scipy(name):
    """Cells of an error metric are drawn by user."""
    n = 40
    counts = rng().integers(1, 9, n).astype(float) if name.startswith("neg") else np.ones(n)
    a, b = (
        np.array([seeded.random(int(count)).sum() for count in counts])
        for seeded in map(np.random.default_rng, (1, 2))
    )
    sums = {name: {"a": RowSums(name, a, counts), "b": RowSums(name, b, counts)}}
    table = score_table(sums, "a", 0.9, 20_000, rng()).loc[name]

    def score(totals, counts, axis):
        mean = totals.sum(axis=axis) / counts.sum(axis=axis)
        return {"neg_rmse": -np.sqrt(mean), "neg_mae": -mean}.get(name, mean)

    def difference(b, a, counts, axis):
        return score(b, counts, axis) - score(a, counts, axis)

    options = {"paired": True, "method": "BCa", "confidence_level": 0.9, "rng": rng()}
    for data, function, columns, model in (
        ((a, counts), score, ["low", "high"], "a"),
        ((b, counts), score, ["low", "high"], "b"),
        ((b, a, counts), difference, ["difference_low", "difference_high"], "b"),
    ):
        expected = stats.bootstrap(data, function, **options)
        low, high = expected.confidence_interval
        assert_allclose(table.loc[model, columns], [low, high], atol=0.03 * (high - low))
        if function is score:
            error = table.loc[model, "standard_error"]
            assert error == pytest.approx(expected.standard_error, rel=0.05)
    assert table.loc["b", "difference"] == pytest.approx(
        RowSums(name, b, counts).score - RowSums(name, a, counts).score
    )


def test_errors_of_rows_add_up_to_those_of_cells():
    y, predicted = rng().random((2, 50))
    rows = np.sort(rng().integers(0, 9, 50))
    counts = np.bincount(rows, minlength=10).astype(float)  # the last user has no cell
    for name, metric, error in (("neg_rmse", rmse, np.square), ("neg_mae", mae, np.abs)):
        totals = np.bincount(rows, weights=error(y - predicted), minlength=10)
        sums = RowSums(name, totals, counts)
        assert sums.score == pytest.approx(-metric(y, predicted))
        of_user = rows == 3
        assert sums.by_row[3] == pytest.approx(-metric(y[of_user], predicted[of_user]))
        assert np.isnan(sums.by_row[9])
        assert len(sums.influence) == np.count_nonzero(counts)
        assert sums.influence.mean() == pytest.approx(0, abs=1e-12)


def test_influence_is_a_derivative():
    totals, counts = rng().random(20) + 1, rng().integers(1, 5, 20).astype(float)
    for name in ("ndcg@10", "neg_rmse", "neg_mae"):
        whole = RowSums(name, totals, counts)
        for row in (0, 7):
            weights = np.ones(20)
            weights[row] += 1e-6
            more = RowSums(name, weights * totals, weights * counts)
            slope = 20 * (more.score - whole.score) / 1e-6
            assert whole.influence[row] == pytest.approx(slope, rel=1e-4)


# ------------------------------------------------------------------------- the test


@pytest.mark.parametrize("discrete", [False, True])
def test_p_values_are_those_of_all_flips(discrete):
    differences = rng().normal(0.4, 1, (9, 3))
    if discrete:  # many ties, and many zeros
        differences = np.sign(differences) * (np.abs(differences) > 0.6) / 3
    p_values = sign_flip_test(differences, 20_000, rng())
    signs = np.array(list(product([-1, 1], repeat=9)))
    for column, p_value in zip(differences.T, p_values, strict=True):
        sums, observed = np.abs(signs @ column), abs(column.sum())
        as_large = np.isclose(sums, observed)
        exact = np.mean((sums > observed) & ~as_large) + np.mean(as_large) / 2
        assert p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_p_values_of_hits_are_those_of_mcnemar():
    """Of 30 users who are hit by one model only, 21 are by the first."""
    hits = np.repeat([1.0, -1.0, 0.0], [21, 9, 200])[:, np.newaxis]
    (p_value,) = sign_flip_test(hits, 40_000, rng())
    exact = 2 * stats.binom.sf(21, 30, 0.5) + stats.binom.pmf(21, 30, 0.5)
    assert p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 40_000))


def test_p_values_of_extremes():
    zero, balanced, large = sign_flip_test(
        np.array([[0.0, 1.0, 1.0]] * 30 + [[0.0, -1.0, 1.0]] * 30), 999, rng()
    )
    assert zero == balanced == 1
    assert large == 0.5 / 1000


@pytest.mark.parametrize("hits", [False, True])
def test_the_test_keeps_its_level(hits):
    """The values of two equal models, mostly zero, are exchangeable."""
    drawn = rng()
    values = drawn.random((60, 2, 2000)) * (drawn.random((60, 2, 2000)) < 0.3)
    values = (values > 0).astype(float) if hits else values
    p_values = sign_flip_test(values[:, 0] - values[:, 1], 499, rng())
    rejected = np.count_nonzero(p_values <= 0.05)
    assert stats.binomtest(rejected, 2000, 0.05).pvalue > 0.001


def test_holm_by_hand():
    p_values = [0.04, 0.01, np.nan, 0.03, 0.005]
    assert_allclose(holm(p_values), [0.06, 0.03, np.nan, 0.06, 0.02])
    assert_allclose(holm([0.6, 0.5]), [1, 1])
    assert_allclose(holm([0.2]), [0.2])
    assert np.isnan(holm([np.nan])).all()
