"""Comparisons of models, and displays: plots of what models say, in scikit-learn's form."""

from sklearn_recsys.inspection._compare import compare
from sklearn_recsys.inspection._comparison import Comparison
from sklearn_recsys.inspection._explanation import ExplanationDisplay
from sklearn_recsys.inspection._leaderboard import LeaderboardDisplay

__all__ = ["Comparison", "ExplanationDisplay", "LeaderboardDisplay", "compare"]
