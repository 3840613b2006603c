"""filter_k_core on frames and matrices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys.preprocessing import InteractionEncoder, filter_k_core


def random_events(seed, n_events=600):
    rng = np.random.default_rng(seed)
    index = rng.permutation(n_events) + 1000
    users = rng.geometric(0.03, size=n_events)
    items = rng.geometric(0.05, size=n_events)
    return pd.DataFrame({"user": users, "item": [f"i{i}" for i in items], "x": index}, index=index)


def brute_force(events, min_user, min_item):
    """Drop one user or item at a time until every limit holds."""
    while True:
        pairs = events.drop_duplicates(["user", "item"])
        counts = {"user": pairs.user.value_counts(), "item": pairs.item.value_counts()}
        for column, limit in (("item", min_item), ("user", min_user)):
            rare = counts[column].index[counts[column] < limit]
            if len(rare):
                events = events[events[column] != rare[0]]
                break
        else:
            return events


@pytest.mark.parametrize("limits", [(2, 2), (5, 5), (3, 8), (8, 1), (0, 6), (6, 0)])
def test_equals_brute_force(limits):
    events = random_events(seed=0)
    filtered = filter_k_core(events, min_user=limits[0], min_item=limits[1])
    pd.testing.assert_frame_equal(filtered, brute_force(events, *limits))
    assert 0 < len(filtered) < len(events)


def test_repeated_events_count_once():
    events = pd.DataFrame({"user": [1, 1, 1, 2, 2], "item": [1, 1, 1, 1, 2]})
    assert filter_k_core(events, min_user=2, min_item=None).index.tolist() == [3, 4]


def test_matrix_agrees_with_frame():
    events = random_events(seed=1)
    encoder = InteractionEncoder(values="count")
    X = encoder.fit_transform(events)
    filtered, rows, columns = filter_k_core(X, min_user=4, min_item=5)
    frame = filter_k_core(events, min_user=4, min_item=5)
    np.testing.assert_array_equal(encoder.user_ids_[rows], np.unique(frame.user))
    np.testing.assert_array_equal(encoder.item_ids_[columns], np.unique(frame.item))
    expected = InteractionEncoder(values="count").fit_transform(frame)
    assert isinstance(filtered, sp.csr_array)
    assert (filtered != expected).nnz == 0
    assert rows.dtype == columns.dtype == np.int64


def test_matrix_without_limits_drops_nothing_and_keeps_values():
    X = sp.coo_array(np.array([[0, 2**40], [0, 0]]))
    filtered, rows, columns = filter_k_core(X, min_user=None, min_item=0)
    np.testing.assert_array_equal(filtered.toarray(), X.toarray())
    assert filtered.dtype == np.int64
    assert rows.tolist() == columns.tolist() == [0, 1]


def test_max_iter_stops_early():
    # A chain: dropping item 4 makes user 3 rare, which makes item 3 rare, and so on.
    events = pd.DataFrame({"user": [1, 1, 2, 2, 3, 3, 9, 9], "item": [1, 2, 2, 3, 3, 4, 1, 2]})
    sizes = [
        len(filter_k_core(events, min_user=2, min_item=2, max_iter=n)) for n in (1, 2, 3, 4, None)
    ]
    assert sizes == [7, 6, 5, 4, 4]


def test_other_column_names():
    events = random_events(seed=2)
    renamed = events.rename(columns={"user": 0, "item": "what"})
    filtered = filter_k_core(renamed, user=0, item="what", min_user=3, min_item=3)
    assert filtered.index.equals(filter_k_core(events, min_user=3, min_item=3).index)


def test_errors():
    events = random_events(seed=3)
    with pytest.raises(ValueError, match="Nothing is left of .* Lower min_user or min_item"):
        filter_k_core(events, min_user=10_000)
    with pytest.raises(ValueError, match="Nothing is left"):
        filter_k_core(sp.csr_array((3, 4)))
    with pytest.raises(ValueError, match="Nothing is left"):
        filter_k_core(events.iloc[:0])
    with pytest.raises(ValueError, match=r"no column 'who'; its columns are \['user'"):
        filter_k_core(events, user="who")
    with pytest.raises(ValueError, match="Column 'item' holds NaN in 600 events"):
        filter_k_core(events.assign(item=np.nan))
    with pytest.raises(TypeError, match="got ndarray"):
        filter_k_core(np.ones((3, 3)))
    for name in ("min_user", "min_item", "max_iter"):
        with pytest.raises(ValueError, match=f"'{name}' parameter"):
            filter_k_core(events, **{name: -1})
