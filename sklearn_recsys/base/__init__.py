"""The contract of every recommender."""

from sklearn_recsys.base._explain import ExplainMixin
from sklearn_recsys.base._factors import FactorsMixin
from sklearn_recsys.base._recommender import RecommenderMixin
from sklearn_recsys.base._tags import RecommenderTags, is_recommender
from sklearn_recsys.base._user_features import UserFeaturesMixin

__all__ = [
    "ExplainMixin",
    "FactorsMixin",
    "RecommenderMixin",
    "RecommenderTags",
    "UserFeaturesMixin",
    "is_recommender",
]
