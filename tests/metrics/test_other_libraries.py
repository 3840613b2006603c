"""Ranking metrics agree with ir_measures and ranx, as far as their conventions are the same.

Both want an id and a score for each item of a list, and a relevance for each held-out item. Their
average precision divides by the number of held-out items, and not by k where that is smaller.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose

from sklearn_recsys.metrics import (
    hr_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)


@st.composite
def held_out_and_lists(draw):
    """Held-out values from 1 to 5, at least one in each row, ranked lists, and k."""
    n_rows, n_items, width = draw(st.tuples(*[st.integers(1, 12)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    held_out = rng.integers(1, 6, (n_rows, n_items)) * (rng.random((n_rows, n_items)) < 0.3)
    held_out[np.arange(n_rows), rng.integers(0, n_items, n_rows)] = 4
    lists = np.argsort(rng.random((n_rows, n_items)), axis=1)[:, :width]
    for row in range(n_rows):  # lists of different lengths, which end in empty slots
        lists[row, rng.integers(1, lists.shape[1] + 1) :] = -1
    return held_out, lists, draw(st.integers(1, 12))


def ours(held_out, lists, k):
    """Return our values by row, in the convention of the other libraries."""
    y = sp.csr_array(held_out)
    options = {"k": k, "average": None}
    n_relevant = np.diff(y.indptr)
    return {
        "hr": hr_at_k(y, lists, **options),
        "recall": recall_at_k(y, lists, **options),
        "precision": precision_at_k(y, lists, **options),
        "mrr": mrr_at_k(y, lists, **options),
        "map": map_at_k(y, lists, **options) * np.minimum(k, n_relevant) / n_relevant,
        "ndcg": ndcg_at_k(y, lists, **options),
        "ndcg, linear gains": ndcg_at_k(y, lists, **options, gains="linear"),
        "ndcg, exponential gains": ndcg_at_k(y, lists, **options, gains="exponential"),
    }


def judgments(held_out, binary):
    """Return a dict of held-out items and their relevance for each row."""
    return {
        str(row): {str(item): 1 if binary else int(values[item]) for item in np.flatnonzero(values)}
        for row, values in enumerate(held_out)
    }


def rankings(lists):
    """Return a dict of items and decreasing scores for each row."""
    return {
        str(row): {str(item): float(-rank) for rank, item in enumerate(items) if item >= 0}
        for row, items in enumerate(lists)
    }


@settings(max_examples=50, deadline=None, derandomize=True)
@given(held_out_and_lists())
def test_ir_measures(case):
    measures = pytest.importorskip("ir_measures", reason="needs ir_measures")
    held_out, lists, k = case
    names = {
        "hr": measures.Success @ k,
        "recall": measures.R @ k,
        "precision": measures.P @ k,
        "mrr": measures.RR @ k,
        "map": measures.AP @ k,
        "ndcg": measures.nDCG @ k,
    }
    values = ours(held_out, lists, k)
    for name, measure in names.items():
        assert_allclose(values[name], by_row(measure, held_out, lists), err_msg=name, rtol=1e-6)
    linear = by_row(measures.nDCG @ k, held_out, lists, binary=False)
    assert_allclose(values["ndcg, linear gains"], linear, rtol=1e-6)


def by_row(measure, held_out, lists, binary=True):
    """Return the values of a measure of ir_measures, row by row."""
    found = measure.iter_calc(judgments(held_out, binary), rankings(lists))
    values = {one.query_id: one.value for one in found}
    return [values[str(row)] for row in range(len(lists))]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(held_out_and_lists())
def test_ranx(case):
    ranx = pytest.importorskip("ranx", reason="needs ranx")
    held_out, lists, k = case
    values = ours(held_out, lists, k)
    run = ranx.Run(rankings(lists))
    binary = ranx.Qrels(judgments(held_out, binary=True))
    for name in ("hit_rate", "recall", "precision", "map", "mrr"):
        own = "hr" if name == "hit_rate" else name
        assert_rows(ranx, binary, run, f"{name}@{k}", values[own])
    assert_rows(ranx, binary, run, f"ndcg@{k}", values["ndcg"])
    graded = ranx.Qrels(judgments(held_out, binary=False))
    assert_rows(ranx, graded, run, f"ndcg@{k}", values["ndcg, linear gains"])
    assert_rows(ranx, graded, run, f"ndcg_burges@{k}", values["ndcg, exponential gains"])


def assert_rows(ranx, judged, run, name, expected):
    """Compare a metric of ranx row by row."""
    found = ranx.evaluate(judged, run, name, return_mean=False)
    order = [int(row) for row in judged.keys()]  # noqa: SIM118, as it is no dict
    assert_allclose(np.asarray(expected)[order], found, err_msg=name, rtol=1e-6)
