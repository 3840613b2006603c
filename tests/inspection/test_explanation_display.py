"""Displays of explanations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("matplotlib", reason="needs matplotlib")

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_recsys import EASE, ItemKNN, RecommenderPipeline, VotingRecommender
from sklearn_recsys.datasets import make_interactions, make_movies
from sklearn_recsys.inspection import ExplanationDisplay
from sklearn_recsys.preprocessing import InteractionEncoder

R = make_interactions(n_users=60, n_items=40, density=0.4, random_state=0)
USER = int(np.argsort(np.diff(R.indptr), kind="stable")[30])  # a history of medium length


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def widths(display):
    return [bar.get_width() for bar in display.bars_]


def labels(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_bars_of_an_additive_model_sum_to_the_score():
    model = EASE(l2=10).fit(R)
    (item,), (score,) = (a[0] for a in model.recommend(USER, n=1, return_scores=True))
    display = ExplanationDisplay.from_estimator(model, USER, item, n=3)
    assert sum(widths(display)) == pytest.approx(score, rel=1e-4)
    assert labels(display)[3] == f"{R[[USER]].nnz - 3} other items"
    why = model.explain(USER, item)
    largest = why.loc[why["contribution"].abs().nlargest(3).index].sort_values(
        "contribution", ascending=False
    )
    assert labels(display)[:3] == [str(i) for i in largest["history_item"]]
    assert_allclose(widths(display)[:3], largest["contribution"])
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_title() == f"item {item} for user {USER}"


def test_losses_of_score_are_not_added_up():
    model = VotingRecommender([("ease", EASE(l2=10)), ("knn", ItemKNN())]).fit(R)
    display = ExplanationDisplay.from_estimator(model, USER, 0, n=3)
    assert len(widths(display)) == len(labels(display)) == 3
    assert display.ax_.get_xlabel() == "Loss of score without it"


def test_names_axes_and_keywords_of_bars():
    model = EASE(l2=10).fit(R)
    _, ax = plt.subplots()
    names = pd.Series("same", index=range(40))
    display = ExplanationDisplay.from_estimator(
        model, R[[USER]], 2, ax=ax, names=names, bar_kwargs={"color": "green"}
    )
    assert display.ax_ is ax
    assert set(labels(display)[:10]) == {"same"}
    assert len(widths(display)) == 11
    assert ax.patches[0].get_facecolor() == matplotlib.colors.to_rgba("green")
    assert ax.get_title() == "same for user 0"


def test_raw_ids_through_a_pipeline():
    encoder = InteractionEncoder()
    X = encoder.fit_transform(make_movies(n_users=50, n_items=40, random_state=0).interactions)
    pipe = RecommenderPipeline([("ease", EASE(l2=10))], encoder=encoder).fit(X)
    user, item = encoder.user_ids_[3], encoder.item_ids_[5]
    display = ExplanationDisplay.from_estimator(pipe, user, item, n=2)
    expected = pipe.explain(user, item)["history_item"].map(str)
    assert set(labels(display)[:2]) <= set(expected)
    assert display.additive


def test_bad_arguments():
    model = EASE(l2=10).fit(R)
    for users, items in ([0, 1], 2), (0, [2, 3]), (np.zeros((1, 40)), 2):
        with pytest.raises(ValueError, match="one item for one user"):
            ExplanationDisplay.from_estimator(model, users, items)
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        ExplanationDisplay.from_estimator(model, 0, 2, n=0)


def test_names_by_position_are_refused():
    R = make_interactions(n_users=50, n_items=20, random_state=0)
    model = EASE(l2=10).fit(R)
    titles = [f"title {i}" for i in range(20)]
    with pytest.raises(TypeError, match=r"dict\(enumerate\(titles\)\)"):
        ExplanationDisplay.from_estimator(model, 0, 7, names=titles)
    display = ExplanationDisplay.from_estimator(model, 0, 7, names=dict(enumerate(titles)))
    assert display.ax_.get_title().startswith("title 7 ")
