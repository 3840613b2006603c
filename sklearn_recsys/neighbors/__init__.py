"""Neighbours: items and users that are alike, by interactions or by what the items are."""

from sklearn_recsys.neighbors._content import ContentRecommender
from sklearn_recsys.neighbors._knn import ItemKNN, UserKNN

__all__ = ["ContentRecommender", "ItemKNN", "UserKNN"]
