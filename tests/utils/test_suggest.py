"""Errors say what may have been meant, and which models have what one lacks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

import sklearn_recsys
from sklearn_recsys import EASE, ItemKNN, MultVAE, PopularityRecommender, RecommenderPipeline
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.model_selection import cross_validate, evaluate
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._suggest import did_you_mean
from sklearn_recsys.utils.discovery import all_recommenders

X = np.eye(4) + np.eye(4, k=1)
model = PopularityRecommender().fit(X)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndgc", " Did you mean 'ndcg'?"),
        ("NDCG", " Did you mean 'ndcg'?"),
        ("auc", ""),
        (["ndcg"], ""),
        (None, ""),
    ],
)
def test_did_you_mean(name, expected):
    assert did_you_mean(name, ["ndcg", "hr", "recall"]) == expected


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: model.score(X, metric="ndgc@10"), "ndcg"),
        (lambda: model.score(X, metric="rmse"), "neg_rmse"),
        (lambda: make_recommender_scorer(["hr", "Recall"]), "recall"),
        (lambda: evaluate(model, X, metrics=["covrage"]), "coverage"),
        (lambda: cross_validate(EASE(), X, scoring="precison"), "precision"),
        (lambda: fetch_movielens("1M"), "1m"),
        (lambda: fetch_movielens("ml-100k"), "100k"),
        (lambda: fetch_movielens("100k", fold="UA"), "ua"),
        (lambda: MultVAE(optimizer="addam").fit(X), "adam"),
        (lambda: InteractionEncoder().fit(pd.DataFrame({"users": [1], "item": [2]})), "users"),
    ],
)
def test_where_names_are_given(call, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        call()


def test_a_metric_that_is_no_string_is_refused():
    for metric in (["ndcg"], {"ndcg"}, 10):
        with pytest.raises(ValueError, match="Unknown metric"):
            model.score(X, metric=metric)


@pytest.mark.parametrize("method", ["similar_items", "similar_users", "transform"])
@pytest.mark.parametrize(
    "asked", [model, RecommenderPipeline([("model", PopularityRecommender())]).fit(X)]
)
def test_a_missing_method_names_the_models_that_have_it(asked, method):
    if method == "transform" and isinstance(asked, RecommenderPipeline):
        pytest.skip("scikit-learn's Pipeline has it, whatever the model")
    assert not hasattr(asked, method)
    assert getattr(asked, method, None) is None
    with pytest.raises(AttributeError, match="Models that have it: ") as raised:
        getattr(asked, method)
    listed = str(raised.value).split("Models that have it: ")[1].rstrip(".").split(", ")
    assert listed == [name for name, item in all_recommenders() if hasattr(item, method)]
    assert type(asked).__name__ in str(raised.value)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_method_that_a_pipeline_does_not_hand_on():
    pipe = RecommenderPipeline([("model", PopularityRecommender())]).fit(X)
    with pytest.raises(
        AttributeError, match=r"Models that have it: .*EASE.* pipe\[-1\]\.export_onnx"
    ):
        pipe.export_onnx("unwritten.onnx")
    with pytest.raises(AttributeError) as raised:  # handed on if the model has it
        pipe.similar_items([0])
    assert "pipe[-1]" not in str(raised.value)


def test_a_misspelt_method():
    with pytest.raises(AttributeError, match=r"has no attribute 'recomend'.* mean 'recommend'\?"):
        model.recomend(0)
    with pytest.raises(AttributeError, match="'anything'") as raised:
        _ = model.anything
    assert "Models" not in str(raised.value)


def test_private_and_fitted_attributes_are_as_ever():
    for name in ("_private", "coef_", "__array__"):
        with pytest.raises(AttributeError, match=name) as raised:
            getattr(model, name)
        assert type(raised.value) is AttributeError
        assert raised.value.name == name
    for unfitted in (ItemKNN(), ItemKNN.__new__(ItemKNN)):
        assert vars(copy.copy(unfitted)) == vars(copy.deepcopy(unfitted)) == vars(unfitted)


def test_an_error_inside_a_property_is_not_hidden():
    class Broken(RecommenderMixin, BaseEstimator):
        @property
        def size(self):
            return self.missing_thing_

        @property
        def _size(self):
            return self.missing_thing_

    for name in ("size", "_size"):
        with pytest.raises(AttributeError, match="missing_thing_"):
            getattr(Broken(), name)


def test_names_of_the_package():
    with pytest.raises(AttributeError, match="'EASEE'") as raised:
        _ = sklearn_recsys.EASEE
    assert (raised.value.name, raised.value.obj) == ("EASEE", sklearn_recsys)
