"""What a Comparison shows: frames, text, HTML and the leaderboard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("matplotlib", reason="needs matplotlib")

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

from sklearn_recsys import EASE, PopularityRecommender, RandomRecommender
from sklearn_recsys.datasets import make_movies
from sklearn_recsys.inspection import LeaderboardDisplay, compare
from sklearn_recsys.preprocessing import InteractionEncoder

R = InteractionEncoder().fit_transform(make_movies(n_users=80, random_state=0).interactions)
MODELS = {
    "<random>": RandomRecommender(random_state=0),
    "EASE": EASE(l2=50),
    "popular": PopularityRecommender(),
}
OPTIONS = {"cv": 2, "metrics": ["ndcg", "coverage"], "n_resamples": 999}


@pytest.fixture(scope="module")
def comparison():
    return compare(MODELS, R, **OPTIONS)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def labels(display):
    return [label.get_text() for label in display.ax_.get_yticklabels()]


def test_frames(comparison):
    whole = comparison.to_frame()
    pd.testing.assert_frame_equal(whole, comparison.scores)
    assert whole is not comparison.scores
    assert whole.index.tolist() == [
        (metric, model) for metric in ("ndcg@10", "coverage@10") for model in MODELS
    ]
    assert comparison.models == ["EASE", "popular", "<random>"]
    one = comparison.to_frame("ndcg@10")
    assert one.index.tolist() == comparison.models
    assert one["score"].is_monotonic_decreasing
    pd.testing.assert_series_equal(
        one["fit_seconds"], comparison.costs["fit_seconds"].loc[comparison.models]
    )
    with pytest.raises(ValueError, match=r"no metric 'ndcg'; it has ndcg@10, coverage@10"):
        comparison.to_frame("ndcg")


def test_it_shows_as_a_table(comparison):
    text, html = repr(comparison), comparison._repr_html_()
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == comparison.models
    best = comparison.scores.loc[("ndcg@10", "EASE")]
    cell = f"{best['score']:.4f} [{best['low']:.4f}, {best['high']:.4f}] *"
    assert best["p_holm"] < 0.05
    assert cell in lines[2]
    assert "*" not in lines[4]
    assert "fit, s" in lines[0]
    assert "MiB" not in text
    assert "repeats" not in text
    assert "80 users" in lines[5]
    assert "95 %" in lines[5]
    assert max(map(len, lines)) <= 120
    assert cell in html
    assert "&lt;random&gt;" in html
    assert "<random>" not in html


def test_it_shows_how_much_repetitions_differ():
    models = {"popular": PopularityRecommender(), "random": RandomRecommender()}
    comparison = compare(models, R, cv=2, metrics="ndcg", n_repeats=3, n_resamples=99)
    deviation = comparison.repeats.loc["random", "ndcg@10"].std()
    assert deviation > 0
    text = repr(comparison)
    assert "ndcg@10, s.d. of repeats" in text
    assert f"{deviation:.4f}" in text
    assert "nan" not in text.lower()


def test_the_confidence_level_is_that_of_intervals_and_marks():
    narrow = compare(MODELS, R, **OPTIONS, confidence_level=0.5)
    wide = compare(MODELS, R, **OPTIONS, confidence_level=0.99)
    for frame in (narrow, wide):
        assert frame.confidence_level in (0.5, 0.99)
    lengths = [c.scores["high"] - c.scores["low"] for c in (narrow, wide)]
    assert (lengths[0] < lengths[1])["ndcg@10"].all()
    assert "p < 0.5 by" in repr(narrow)
    assert "p < 0.01 by" in repr(wide)


def test_leaderboard(comparison):
    display = comparison.plot()
    assert isinstance(display, LeaderboardDisplay)
    assert labels(display) == comparison.models
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "ndcg@10"
    bottom, top = display.ax_.get_ylim()
    assert bottom > top  # the best one is at the top
    points, _, (bars,) = display.errorbar_
    frame = comparison.to_frame("ndcg@10")
    assert_allclose(points.get_xdata(), frame["score"])
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert_allclose(ends, frame[["low", "high"]])


def test_leaderboard_of_differences(comparison):
    _, ax = plt.subplots()
    display = comparison.plot("ndcg@10", difference=True, ax=ax, errorbar_kwargs={"fmt": "s"})
    assert display.ax_ is ax
    assert display.ax_.get_xlabel() == "ndcg@10, difference from <random>"
    points, _, (bars,) = display.errorbar_
    assert points.get_marker() == "s"
    frame = comparison.to_frame("ndcg@10")
    assert_allclose(points.get_xdata(), frame["difference"].fillna(0))
    ends = np.array([segment[:, 0] for segment in bars.get_segments()])
    assert_allclose(ends, frame[["difference_low", "difference_high"]].fillna(0))


def test_leaderboard_of_a_metric_without_intervals(comparison):
    display = LeaderboardDisplay.from_comparison(comparison, "coverage@10")
    points = display.errorbar_[0]
    assert_allclose(points.get_xdata(), comparison.to_frame("coverage@10")["score"])


def test_leaderboard_from_estimators(comparison):
    display = LeaderboardDisplay.from_estimators(MODELS, R, cv=2, n_resamples=999)
    assert labels(display) == comparison.models
    pd.testing.assert_frame_equal(
        display.scores, comparison.to_frame("ndcg@10")[["score", "low", "high"]]
    )
