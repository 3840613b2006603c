"""The unit that rating models work in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_recsys.utils._rating_scale import RatingScale

UNITS = [(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]


def scale_of(ratings):
    return RatingScale.of_range(float(ratings.min()), float(ratings.max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ratings_from_1_to_5_stay_as_they_are(dtype):
    """To the last bit: figures on MovieLens do not move."""
    ratings = np.arange(1, 5.25, 0.25).astype(dtype)
    scale = scale_of(ratings)
    assert_array_equal(scale.read(ratings), ratings)
    scores = np.random.default_rng(0).normal(3, 2, 100).astype(np.float32)
    assert_array_equal(scale.undo(scores.copy()), scores)


@pytest.mark.parametrize("levels", [np.arange(1, 6), np.arange(1, 11) / 2, np.arange(1, 101)])
@pytest.mark.parametrize("a, b", UNITS)
def test_what_is_read_is_equal_in_every_unit(levels, a, b):
    """To the last bit, though float32 rounds the ratings of each unit differently."""
    ratings = (a * levels + b).astype(np.float32)
    expected = scale_of(levels).read(levels)
    assert expected.dtype == np.float32
    assert_array_equal(scale_of(ratings).read(ratings), expected)
    assert_allclose(expected, np.linspace(1, 5, len(levels)), atol=2**-15)


@pytest.mark.parametrize("a, b", [*UNITS, (1e-30, 0), (1e37, 0), (3.0, -2e5)])
def test_undo_is_the_inverse(a, b):
    ratings = (a * np.linspace(0.5, 5, 50) + b).astype(np.float32)
    scale = scale_of(ratings)
    scaled = scale.apply(ratings).astype(np.float32)
    assert_allclose((scaled.min(), scaled.max()), (1, 5), rtol=1e-6)
    back = scale.undo(scaled)
    assert back is scaled
    assert back.dtype == np.float32
    assert_allclose(back, ratings, rtol=1e-6, atol=5 * a * 2**-23)


def test_no_rating_becomes_a_cell_that_is_not_observed():
    scale = RatingScale.of_range(10, 50)
    read = scale.read(np.array([0.0, 1e-4, -10, 10]))
    assert np.all(read != 0)
    assert_allclose(read, [0, 0, -1, 1], atol=1e-4)


@pytest.mark.parametrize("value", [4, -3, 1e-6, 1000])
def test_a_single_rating(value):
    scale = RatingScale.of_range(value, value)
    assert_allclose(scale.read([value]), [1])
    assert_allclose(scale.undo(np.ones(1, dtype=np.float32)), [value], rtol=1e-6)


def test_its_state_is_checked():
    scale = RatingScale.of_range(-9.5, 10.5)
    other = RatingScale(1, 1)
    other._load_state(scale._save_state())
    assert other == scale
    for state in ({}, {"low": 1.0}, {"low": 1.0, "unit": 0.0}, {"low": np.nan, "unit": 1.0}):
        with pytest.raises(ValueError, match="rating scale"):
            other._load_state(state)
