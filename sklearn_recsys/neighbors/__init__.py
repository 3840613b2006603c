"""Nearest neighbors: items and users whose interactions are alike."""

from sklearn_recsys.neighbors._knn import ItemKNN, UserKNN
from sklearn_recsys.neighbors._knn_baseline import ItemKNNBaseline, UserKNNBaseline

__all__ = ["ItemKNN", "ItemKNNBaseline", "UserKNN", "UserKNNBaseline"]
