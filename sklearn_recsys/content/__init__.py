"""Recommenders that compare items by their features."""

from sklearn_recsys.content._content import ContentRecommender

__all__ = ["ContentRecommender"]
