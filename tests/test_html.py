"""scikit-learn's HTML representation, and what the package adds to it."""

from __future__ import annotations

from html import unescape

import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer

import sklearn_recsys
from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, RecommenderPipeline
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.compose import (
    MaximalMarginalRelevance,
    RerankedRecommender,
    VotingRecommender,
)
from sklearn_recsys.datasets import make_movies
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder
from sklearn_recsys.utils import _html
from sklearn_recsys.utils.discovery import all_recommenders

PLACEHOLDER = "https://docs.example/recsys/"


@pytest.fixture(scope="module")
def encoded():
    encoder = InteractionEncoder()
    events = make_movies(n_users=50, n_items=40, random_state=0).interactions
    return encoder, encoder.fit_transform(events)


def shown(estimator):
    return unescape(estimator._repr_mimebundle_()["text/html"])


def test_fitted_model_shows_its_matrix(encoded):
    X = encoded[1]
    assert "users ×" not in shown(EASE())
    text = f"50 users × 40 items, {X.nnz} interactions, density {100 * X.nnz / 2000:.3g} %"
    for model in (EASE(l2=7), ItemKNN(), PopularityRecommender()):
        assert shown(model.fit(X)).count(text) == 1
    assert "7" in shown(EASE(l2=7).fit(X)).split("density")[1]  # the parameters are still there
    assert "EASE(l2=7)" in shown(EASE(l2=7))


def test_empty_matrix_has_a_density():
    assert _html.size_text(0, 3, 0) == "0 users × 3 items, 0 interactions, density 0 %"


def test_pipeline_draws_its_encoder_first(encoded):
    encoder, X = encoded
    steps = [("likes", Binarizer(threshold=3)), ("model", EASE())]
    pipe = RecommenderPipeline(steps, encoder=encoder).fit(X)
    block = pipe._sk_visual_block_()
    assert list(block.estimators) == [encoder, *(step for _, step in pipe.steps)]
    text = shown(pipe)
    drawn = [text.rindex(f">{name}<") for name in ("InteractionEncoder", "Binarizer", "EASE")]
    assert drawn == sorted(drawn)
    assert ">50 users × 40 items<" in text  # the encoder's
    assert f"{pipe[-1].interactions_.nnz} interactions" in text  # the model's: likes alone
    assert "InteractionEncoder" not in shown(RecommenderPipeline(steps).fit(X))
    assert "EASE" in shown(GridSearchCV(pipe, {"model__l2": [1]}))


def test_composites_draw_their_parts(encoded):
    members = [("knn", ItemKNN()), ("popular", PopularityRecommender())]
    text = shown(VotingRecommender(members).fit(encoded[1]))
    assert "knn: ItemKNN" in text
    assert "popular: PopularityRecommender" in text
    reranked = RerankedRecommender(EASE(), MaximalMarginalRelevance([[1.0]]))
    assert "MaximalMarginalRelevance" in shown(reranked)


def test_broken_composite_is_still_shown():
    assert "VotingRecommender" in shown(VotingRecommender("no list"))


def test_links_to_documentation(monkeypatch):
    monkeypatch.setattr(_html, "documentation_address", lambda: None)
    assert EASE()._get_doc_link() == ""
    assert "href" not in shown(BM25Transformer())

    monkeypatch.setattr(_html, "documentation_address", lambda: PLACEHOLDER)
    module_of = {n: module for module, names in sklearn_recsys._PUBLIC.items() for n in names}
    for name, model in [*all_recommenders(), ("BM25Transformer", BM25Transformer)]:
        page = f"{PLACEHOLDER}api/generated/{module_of[name]}.{name}.html"
        assert model._get_doc_link(model.__new__(model)) == page
    assert f'href="{PLACEHOLDER}api/generated/sklearn_recsys.linear_model.EASE.html"' in shown(
        EASE()
    )


def test_models_of_others_have_no_link(monkeypatch):
    class Own(RecommenderMixin, BaseEstimator):
        pass

    monkeypatch.setattr(_html, "documentation_address", lambda: PLACEHOLDER)
    assert Own()._get_doc_link() == ""


@pytest.mark.parametrize("address", [None, PLACEHOLDER])
def test_models_of_others_can_link_to_their_pages(monkeypatch, address):
    """By the attributes that scikit-learn documents, of a class or of an estimator."""

    class Own(RecommenderMixin, BaseEstimator):
        _doc_link_module = __name__.partition(".")[0]

    monkeypatch.setattr(_html, "documentation_address", lambda: address)
    model = Own()
    model._doc_link_template = "https://own.example/{estimator_name}.html"
    assert model._get_doc_link() == "https://own.example/Own.html"
    Own._doc_link_template = "https://class.example"
    assert Own()._get_doc_link() == "https://class.example"


def test_address_is_the_project_url(monkeypatch):
    fields = {"Project-URL": ["Source, https://code.example", f"Documentation, {PLACEHOLDER}"]}

    class Metadata:
        get_all = staticmethod(fields.get)

    monkeypatch.setattr(_html, "metadata", lambda name: Metadata)
    assert _html.documentation_address.__wrapped__() == PLACEHOLDER
    fields.clear()
    assert _html.documentation_address.__wrapped__() is None
