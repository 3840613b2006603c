"""Pipelines that end in a recommender."""

from sklearn_recsys.pipeline._pipeline import RecommenderPipeline, make_recommender_pipeline

__all__ = ["RecommenderPipeline", "make_recommender_pipeline"]
