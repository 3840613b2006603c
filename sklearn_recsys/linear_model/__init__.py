"""Linear models."""

from sklearn_recsys.linear_model._ease import EASE
from sklearn_recsys.linear_model._graph_filter import GraphFilter
from sklearn_recsys.linear_model._rp3beta import RP3beta
from sklearn_recsys.linear_model._slim import SLIM

__all__ = ["EASE", "GraphFilter", "RP3beta", "SLIM"]
