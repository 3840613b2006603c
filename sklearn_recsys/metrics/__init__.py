"""Metrics on arrays and frames: ranking at k, rating errors, and beyond-accuracy metrics."""

from __future__ import annotations

from sklearn_recsys.metrics._beyond_accuracy import (
    coverage_at_k,
    gini_at_k,
    intra_list_diversity_at_k,
    novelty_at_k,
    popularity_bias_at_k,
)
from sklearn_recsys.metrics._ranking import (
    hr_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from sklearn_recsys.metrics._rating import mae, rmse
from sklearn_recsys.metrics._reranking import (
    calibration_error_at_k,
    provider_share_at_k,
    relevance_loss_at_k,
)
from sklearn_recsys.metrics._scorer import make_recommender_scorer

__all__ = [
    "calibration_error_at_k",
    "coverage_at_k",
    "gini_at_k",
    "hr_at_k",
    "intra_list_diversity_at_k",
    "mae",
    "make_recommender_scorer",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "novelty_at_k",
    "popularity_bias_at_k",
    "precision_at_k",
    "provider_share_at_k",
    "recall_at_k",
    "relevance_loss_at_k",
    "rmse",
]
