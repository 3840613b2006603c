"""Loaders of real data sets and generators of synthetic ones."""

from sklearn_recsys.datasets._movielens import fetch_movielens, fetch_ncf_split
from sklearn_recsys.datasets._movies import make_movies
from sklearn_recsys.datasets._synthetic import make_interactions, make_ratings

__all__ = [
    "fetch_movielens",
    "fetch_ncf_split",
    "make_interactions",
    "make_movies",
    "make_ratings",
]
