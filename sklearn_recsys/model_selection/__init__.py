"""Splits, cross-validators and negative sampling for user × item matrices."""

from __future__ import annotations

from sklearn_recsys.model_selection._cross_validation import HoldoutSplit, cell_kfold
from sklearn_recsys.model_selection._evaluate import cross_validate, evaluate
from sklearn_recsys.model_selection._negatives import sample_negatives
from sklearn_recsys.model_selection._split import (
    leave_last_out,
    random_holdout,
    temporal_split,
)
from sklearn_recsys.model_selection._user_split import user_split

__all__ = [
    "HoldoutSplit",
    "cell_kfold",
    "cross_validate",
    "evaluate",
    "leave_last_out",
    "random_holdout",
    "sample_negatives",
    "temporal_split",
    "user_split",
]
