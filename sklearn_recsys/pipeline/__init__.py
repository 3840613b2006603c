"""A pipeline of transformers and a recommender."""

from sklearn_recsys.pipeline._pipeline import RecommenderPipeline

__all__ = ["RecommenderPipeline"]
