"""Batch scoring on Dask, from Parquet to Parquet."""

from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_recsys import EASE, InteractionEncoder, make_recommender_pipeline
from sklearn_recsys.batch import BatchRecommender
from sklearn_recsys.datasets import make_movies

pytest.importorskip("distributed", reason="needs Dask: make test-dask")


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # in Dask itself
def test_from_parquet_to_parquet(client, tmp_path):
    import dask.dataframe as dd

    events = make_movies(n_users=40, n_items=30, random_state=0).interactions
    encoder = InteractionEncoder()
    pipe = make_recommender_pipeline(EASE(l2=10), encoder=encoder)
    pipe.fit(encoder.fit_transform(events)).save(tmp_path / "model")
    lists = events.groupby("user", as_index=False)[["item", "rating", "timestamp"]].agg(list)
    for i in range(3):
        lists[i * 15 : (i + 1) * 15].to_parquet(tmp_path / f"histories{i}.parquet")
    histories = dd.read_parquet(tmp_path / "histories*.parquet")
    batch = BatchRecommender(tmp_path / "model", n=5)
    recommended = histories.map_partitions(batch, meta=batch(histories._meta))
    recommended.to_parquet(tmp_path / "recommended")
    found = pd.read_parquet(tmp_path / "recommended")
    expected = pipe.recommend(events, n=5, return_scores=True)
    assert_frame_equal(found.reset_index(drop=True), expected)
