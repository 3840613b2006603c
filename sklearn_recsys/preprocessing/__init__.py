"""Encoders of raw events and features, weightings and filters of user × item matrices."""

from sklearn_recsys.preprocessing._encoder import InteractionEncoder
from sklearn_recsys.preprocessing._features import FeatureEncoder
from sklearn_recsys.preprocessing._filter import filter_k_core
from sklearn_recsys.preprocessing._weighting import BM25Transformer, LogTransformer

__all__ = [
    "BM25Transformer",
    "FeatureEncoder",
    "InteractionEncoder",
    "LogTransformer",
    "filter_k_core",
]
