"""Recommenders made of recommenders: blends, switches, backfill."""

from sklearn_recsys.compose._backfill import BackfillRecommender
from sklearn_recsys.compose._stacking import StackingRecommender
from sklearn_recsys.compose._switch import SwitchRecommender
from sklearn_recsys.compose._voting import VotingRecommender

__all__ = [
    "BackfillRecommender",
    "StackingRecommender",
    "SwitchRecommender",
    "VotingRecommender",
]
