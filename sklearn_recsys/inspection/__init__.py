"""Displays: plots of what models say, in scikit-learn's form."""

from sklearn_recsys.inspection._explanation import ExplanationDisplay

__all__ = ["ExplanationDisplay"]
