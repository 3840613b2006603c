"""Neural models, trained by torch through skorch."""

from sklearn_recsys.neural._autorec import AutoRec
from sklearn_recsys.neural._base import NeuralRecommender
from sklearn_recsys.neural._batches import RowDataset, SparseRows
from sklearn_recsys.neural._mult_vae import MultDAE, MultVAE

__all__ = ["AutoRec", "MultDAE", "MultVAE", "NeuralRecommender", "RowDataset", "SparseRows"]
