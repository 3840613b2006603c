"""Batch scoring on Dask, Spark and Ray, from Parquet to Parquet."""

from __future__ import annotations

import os

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sklearn_recsys import EASE, InteractionEncoder, make_recommender_pipeline
from sklearn_recsys.batch import BatchRecommender
from sklearn_recsys.datasets import make_movies


@pytest.fixture(scope="module")
def events():
    return make_movies(n_users=40, n_items=30, random_state=0).interactions


@pytest.fixture(scope="module")
def pipe(events):
    encoder = InteractionEncoder()
    return make_recommender_pipeline(EASE(l2=10), encoder=encoder).fit(
        encoder.fit_transform(events)
    )


@pytest.fixture
def source(events, tmp_path):
    """Return a folder of histories in three files."""
    folder = tmp_path / "histories"
    folder.mkdir()
    lists = events.groupby("user", as_index=False)[["item", "rating", "timestamp"]].agg(list)
    for i in range(3):
        lists[i * 15 : (i + 1) * 15].to_parquet(folder / f"{i}.parquet")
    return folder


@pytest.fixture
def recommend(pipe, tmp_path):
    """Return a function, pickled by value, that also tells which process loaded how many files."""
    pipe.save(tmp_path / "model")
    batch = BatchRecommender(tmp_path / "model", n=5)

    def recommend(histories):
        from sklearn_recsys.batch import _loaded

        frame = batch(histories)
        return frame.assign(process=os.getpid(), loads=_loaded.cache_info().misses)

    return recommend


def check(folder, pipe, events):
    found = pd.read_parquet(folder).sort_values(["user", "rank"], ignore_index=True)
    loads, process = found.pop("loads"), found.pop("process")
    assert_frame_equal(found, pipe.recommend(events, n=5, return_scores=True))
    assert (loads == 1).all()
    assert os.getpid() not in set(process)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # in Dask itself
def test_dask(dask, source, recommend, pipe, events, tmp_path):
    import dask.dataframe as dd

    histories = dd.read_parquet(source)
    meta = recommend(histories._meta)
    histories.map_partitions(recommend, meta=meta).to_parquet(tmp_path / "found")
    check(tmp_path / "found", pipe, events)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_spark(spark, source, recommend, pipe, events, tmp_path):
    columns = "user long, rank long, item long, score float, process long, loads long"
    histories = spark.read.parquet(str(source))
    found = histories.mapInPandas(lambda frames: map(recommend, frames), columns)
    found.write.parquet(str(tmp_path / "found"))
    check(tmp_path / "found", pipe, events)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # of what it sets itself
def test_ray(ray, source, recommend, pipe, events, tmp_path):
    histories = ray.data.read_parquet(str(source))
    found = histories.map_batches(recommend, batch_format="pandas", batch_size=None)
    found.write_parquet(str(tmp_path / "found"))
    check(tmp_path / "found", pipe, events)
