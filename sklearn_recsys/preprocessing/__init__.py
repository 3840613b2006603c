"""From raw events to user × item matrices, and weightings of such matrices."""

from sklearn_recsys.preprocessing._encoder import InteractionEncoder
from sklearn_recsys.preprocessing._filter import filter_k_core
from sklearn_recsys.preprocessing._weighting import BM25Transformer

__all__ = ["BM25Transformer", "InteractionEncoder", "filter_k_core"]
