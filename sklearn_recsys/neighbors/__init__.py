"""Neighbourhood models."""

from sklearn_recsys.neighbors._knn import ItemKNN, UserKNN

__all__ = ["ItemKNN", "UserKNN"]
