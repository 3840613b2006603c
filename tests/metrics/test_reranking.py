"""Metrics of reranked lists against brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn import config_context

from sklearn_recsys.metrics import (
    calibration_error_at_k,
    provider_share_at_k,
    relevance_loss_at_k,
)

N_ITEMS, N_ROWS = 25, 30


def make_case(seed=0):
    rng = np.random.default_rng(seed)
    y_pred = np.array([rng.permutation(N_ITEMS)[:8] for _ in range(N_ROWS)])
    y_pred[np.arange(8) >= rng.integers(0, 9, size=N_ROWS)[:, None]] = -1
    X = sp.random_array((N_ROWS, N_ITEMS), density=0.15, rng=rng, format="csr")
    features = (rng.random((N_ITEMS, 5)) < 0.3) * rng.random((N_ITEMS, 5))
    return y_pred, X, features


def brute_error(items, history, features, alpha):
    def mean(items):
        of_items = [features[item] / features[item].sum() for item in items if features[item].any()]
        return np.mean(of_items, axis=0) if of_items else np.zeros(features.shape[1])

    p, q = mean(history), mean(items)
    if not p.any() or not len(items):
        return np.nan
    smoothed = (1 - alpha) * q + alpha * p
    return sum(p[g] * np.log(p[g] / smoothed[g]) for g in range(len(p)) if p[g] > 0)


@pytest.mark.parametrize("alpha", [0.01, 0.3])
def test_calibration_error_is_stecks(alpha):
    y_pred, X, features = make_case()
    expected = [
        brute_error(row[:5][row[:5] >= 0], X[[u]].indices, features, alpha)
        for u, row in enumerate(y_pred)
    ]
    assert 2 < np.isnan(expected).sum() < 15
    call = {"k": 5, "alpha": alpha}
    actual = calibration_error_at_k(y_pred, X, features, average=None, **call)
    assert_allclose(actual, expected, atol=1e-12)
    assert_allclose(calibration_error_at_k(y_pred, X, features, **call), np.nanmean(expected))
    sparse = calibration_error_at_k(y_pred, X, sp.csr_array(3 * features), average=None, **call)
    assert_allclose(sparse, actual, atol=1e-12)
    with config_context(working_memory=1e-3):
        blocks = calibration_error_at_k(y_pred, X, features, average=None, **call)
    assert_allclose(blocks, actual, atol=1e-12)


def test_the_history_itself_is_calibrated():
    genres = np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]
    X = np.zeros((1, 8))
    X[0, [0, 1]] = 5, 1  # values do not count
    assert calibration_error_at_k([[4, 5]], X, genres) == 0
    assert_allclose(calibration_error_at_k([[2, 3]], X, genres), -np.log(0.01))


def test_calibration_error_of_frames():
    y_pred, X, features = make_case()
    users, slots = np.nonzero(y_pred >= 0)
    lists = pd.DataFrame({"who": users, "rank": slots + 1, "what": 100 + y_pred[users, slots]})
    rows, items = X.nonzero()
    events = pd.DataFrame({"who": rows, "what": 100 + items}).sample(frac=1, random_state=0)
    frame = pd.DataFrame(features, index=100 + np.arange(N_ITEMS)).sample(frac=1, random_state=0)
    expected = calibration_error_at_k(y_pred, X, features, k=5, average=None)
    actual = calibration_error_at_k(lists, events, frame, k=5, average=None)
    assert_allclose(actual.reindex(range(N_ROWS)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([[0]], np.eye(3)[:1], -np.eye(3)), "at least 0; got -1"),
        (([[0]], np.eye(3)[:1], np.eye(2)), "each of the 3 items"),
        (([[0], [1]], np.eye(3)[:1], np.eye(3)), "the same users"),
        (([[-1]], np.eye(3)[:1], np.eye(3)), "No row has both"),
    ],
)
def test_invalid_input_of_calibration_error(arguments, match):
    with pytest.raises(ValueError, match=match):
        calibration_error_at_k(*arguments)
    with pytest.raises(ValueError, match="alpha must be between"):
        calibration_error_at_k([[0]], np.eye(3)[:1], np.eye(3), alpha=0)


def test_provider_share():
    y_pred, _, _ = make_case()
    providers = np.random.default_rng(1).integers(-1, 4, size=N_ITEMS)
    labels = np.where(providers < 0, None, np.array([*"abcd"], dtype=object)[providers])
    listed = [providers[item] for row in y_pred for item in row[:5] if item >= 0]
    expected = max(listed.count(provider) for provider in range(4)) / len(listed)
    assert provider_share_at_k(y_pred, labels, 5) == expected
    users, slots = np.nonzero(y_pred >= 0)
    frame = pd.DataFrame({"user": users, "rank": slots + 1, "item": 100 + y_pred[users, slots]})
    series = pd.Series(labels, index=100 + np.arange(N_ITEMS)).sample(frac=1, random_state=0)
    assert provider_share_at_k(frame, series, 5) == expected
    assert provider_share_at_k([[0, 1]], [None, None]) == 0
    with pytest.raises(TypeError, match="must be a Series"):
        provider_share_at_k(frame, labels)
    with pytest.raises(ValueError, match="lacks"):
        provider_share_at_k(frame, series[:3])
    with pytest.raises(ValueError, match="1-D"):
        provider_share_at_k([[0]], [["a"]])
    with pytest.raises(ValueError, match="recommends nothing"):
        provider_share_at_k([[-1]], ["a"])
    with pytest.raises(ValueError, match="providers has 1 items"):
        provider_share_at_k([[1]], ["a"])


def test_relevance_loss():
    best = [[5, 4, 3, 2], [9, 8, 7, 6], [1, -np.inf, -np.inf, -np.inf], [3, 2, 1, 0]]
    scores = [[3, 5, 4], [9, 6, -np.inf], [-np.inf] * 3, [0, 1, 2]]
    loss = relevance_loss_at_k(scores, best, k=3, average=None)
    assert_allclose(loss, [0, 1, np.nan, 1])
    assert_allclose(relevance_loss_at_k(scores, best, k=3), 2 / 3)
    with pytest.raises(ValueError, match="the same rows"):
        relevance_loss_at_k(scores[1:], best)
    with pytest.raises(ValueError, match="fewer items"):
        relevance_loss_at_k([[3, 2]], [[3, -np.inf]])
    with pytest.raises(ValueError, match="fewer items"):
        relevance_loss_at_k([[3, 2]], [[3]])
    with pytest.raises(ValueError, match="All lists are empty"):
        relevance_loss_at_k([[-np.inf]], [[3]])
