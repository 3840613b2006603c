"""Nearest neighbors: items and users whose interactions are alike."""

from sklearn_recsys.neighbors._knn import ItemKNN, UserKNN

__all__ = ["ItemKNN", "UserKNN"]
