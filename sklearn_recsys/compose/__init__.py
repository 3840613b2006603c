"""Recommenders made of recommenders: blends, switches, backfill, reranked lists."""

from sklearn_recsys.compose._backfill import BackfillRecommender
from sklearn_recsys.compose._rerank import RerankedRecommender
from sklearn_recsys.compose._rerank_calibration import Calibration
from sklearn_recsys.compose._rerank_exposure import cap_exposure
from sklearn_recsys.compose._rerank_mmr import MaximalMarginalRelevance
from sklearn_recsys.compose._rerank_quota import CategoryQuota
from sklearn_recsys.compose._rerank_rules import ItemRules
from sklearn_recsys.compose._reranker import Reranker
from sklearn_recsys.compose._stacking import StackingRecommender
from sklearn_recsys.compose._switch import SwitchRecommender
from sklearn_recsys.compose._two_stage import TwoStageRecommender
from sklearn_recsys.compose._voting import VotingRecommender

__all__ = [
    "BackfillRecommender",
    "Calibration",
    "CategoryQuota",
    "ItemRules",
    "MaximalMarginalRelevance",
    "RerankedRecommender",
    "Reranker",
    "StackingRecommender",
    "SwitchRecommender",
    "TwoStageRecommender",
    "VotingRecommender",
    "cap_exposure",
]
