"""Comparisons of models, and displays: plots of what models say, in scikit-learn's form."""

from sklearn_recsys.inspection._compare import compare
from sklearn_recsys.inspection._comparison import Comparison
from sklearn_recsys.inspection._explanation import ExplanationDisplay
from sklearn_recsys.inspection._history_length import HistoryLengthDisplay
from sklearn_recsys.inspection._item_map import ItemMapDisplay
from sklearn_recsys.inspection._leaderboard import LeaderboardDisplay
from sklearn_recsys.inspection._long_tail import LongTailDisplay
from sklearn_recsys.inspection._metric_at_k import MetricAtKDisplay
from sklearn_recsys.inspection._trade_off import TradeOffDisplay
from sklearn_recsys.inspection._training_history import TrainingHistoryDisplay

__all__ = [
    "Comparison",
    "ExplanationDisplay",
    "HistoryLengthDisplay",
    "ItemMapDisplay",
    "LeaderboardDisplay",
    "LongTailDisplay",
    "MetricAtKDisplay",
    "TradeOffDisplay",
    "TrainingHistoryDisplay",
    "compare",
]
