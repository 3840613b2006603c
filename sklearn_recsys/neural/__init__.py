"""Neural models, trained by torch through skorch."""

from sklearn_recsys.neural._autorec import AutoRec
from sklearn_recsys.neural._base import NeuralRecommender
from sklearn_recsys.neural._batches import RowDataset, SparseRows

__all__ = ["AutoRec", "NeuralRecommender", "RowDataset", "SparseRows"]
