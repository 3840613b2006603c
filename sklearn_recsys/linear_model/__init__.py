"""Linear models."""

from sklearn_recsys.linear_model._ease import EASE

__all__ = ["EASE"]
