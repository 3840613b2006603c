"""Matrix factorization by alternating least squares."""

from sklearn_recsys.decomposition._als import ALS

__all__ = ["ALS"]
