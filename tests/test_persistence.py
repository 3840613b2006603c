"""save and load: what comes back is what was saved."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import stat
import subprocess
import sys
import tracemalloc
import uuid
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneOut,
    LeavePOut,
    PredefinedSplit,
    RandomizedSearchCV,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    Normalizer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

import sklearn_recsys
from sklearn_recsys import (
    EASE,
    ContentRecommender,
    ItemKNN,
    MultVAE,
    PopularityRecommender,
    RecommenderPipeline,
    StackingRecommender,
    UserKNN,
)
from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.exceptions import VersionWarning
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.model_selection import HoldoutSplit
from sklearn_recsys.persistence import ModelFileError, _classes, _container, _files, load, save
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder
from sklearn_recsys.utils.discovery import all_recommenders

ROOT = str(Path(__file__).parents[1])
MODELS = [recommender for _, recommender in all_recommenders()]


def matrix(n_users=30, n_items=12, seed=0):
    cells = np.random.RandomState(seed).randint(-8, 6, size=(n_users, n_items)).clip(min=0)
    cells[np.arange(n_users), np.arange(n_users) % n_items] = 3
    return sp.csr_array(cells.astype(np.float32))


def fitted(recommender):
    params = {"max_epochs": 2, "random_state": 0}
    model = recommender()
    quick = {name: value for name, value in params.items() if name in model.get_params()}
    return model.set_params(**quick).fit(matrix())


def round_trip(model, tmp_path, **kwargs):
    path = tmp_path / "model.recsys"
    save(model, path)
    assert os.listdir(tmp_path) == [path.name]
    return load(path, **kwargs)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Holder(BaseEstimator):
    """Holds anything as a parameter and as fitted state."""

    def __init__(self, value=None):
        self.value = value

    def keep(self, *values):
        self.kept_ = list(values)
        return self


class CoOccurrence(RecommenderMixin, BaseEstimator):
    def __init__(self, power=1):
        self.power = power

    def _fit(self, X):
        self.counts_ = (X.T @ X).power(self.power)

    def _score_items(self, X):
        return (X @ self.counts_).toarray()


# ------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("recommender", MODELS, ids=lambda cls: cls.__name__)
def test_recommenders(recommender, tmp_path):
    model, X = fitted(recommender), matrix(seed=1)
    model.save(tmp_path / "model.recsys")
    loaded = sklearn_recsys.load(tmp_path / "model.recsys")
    assert type(loaded) is recommender
    assert loaded.get_params() == model.get_params()
    assert set(vars(loaded)) == set(vars(model))
    assert_array_equal(loaded.predict(X), model.predict(X))
    for users in (None, X):
        for got, expected in zip(
            loaded.recommend(users, n=4, return_scores=True),
            model.recommend(users, n=4, return_scores=True),
            strict=True,
        ):
            assert_array_equal(got, expected)
            assert got.dtype == expected.dtype


# a loaded neural model has a new optimizer, which the tests of neural models cover
@pytest.mark.parametrize(
    "recommender",
    [model for model in MODELS if not hasattr(model, "_make_module")],
    ids=lambda cls: cls.__name__,
)
def test_loaded_models_learn_on(recommender, tmp_path):
    model = fitted(recommender)
    loaded = round_trip(model, tmp_path)
    more = matrix(seed=2)
    assert_array_equal(loaded.partial_fit(more).recommend(), model.partial_fit(more).recommend())


@pytest.mark.parametrize("recommender", MODELS, ids=lambda cls: cls.__name__)
def test_unfitted_models(recommender, tmp_path):
    loaded = round_trip(recommender(), tmp_path)
    assert loaded.get_params() == recommender().get_params()
    assert not hasattr(loaded, "interactions_")


@pytest.mark.parametrize("metric", ["cosine", "jaccard", "pearson"])
@pytest.mark.parametrize("model", [ItemKNN, UserKNN])
def test_neighbors_by_every_metric(model, metric, tmp_path):
    model = model(n_neighbors=3, metric=metric).fit(matrix())
    loaded = round_trip(model, tmp_path)
    assert_array_equal(loaded.predict(matrix(seed=1)), model.predict(matrix(seed=1)))


TRANSFORMERS = [
    "passthrough",
    Binarizer(threshold=2),
    BM25Transformer(),
    FunctionTransformer(np.log1p, inverse_func=np.expm1, accept_sparse=True),
    MaxAbsScaler(),
    Normalizer("l1"),
    QuantileTransformer(n_quantiles=5, ignore_implicit_zeros=True),
    RobustScaler(with_centering=False),
    StandardScaler(with_mean=False),
    TfidfTransformer(sublinear_tf=True),
    make_pipeline(Binarizer(), TfidfTransformer()),
]


@pytest.mark.parametrize("step", TRANSFORMERS, ids=lambda step: type(step).__name__)
def test_pipelines(step, tmp_path):
    step = step if isinstance(step, str) else clone(step)
    model = RecommenderPipeline([("step", step), ("model", EASE(l2=3.0))]).fit(matrix())
    loaded = round_trip(model, tmp_path)
    assert [name for name, _ in loaded.steps] == ["step", "model"]
    assert type(loaded.steps) is list
    assert type(loaded.steps[0]) is tuple
    with config_context(print_changed_only=False):
        assert repr(loaded) == repr(model)
    assert loaded.n_features_in_ == 12
    assert_array_equal(loaded.predict(matrix(seed=1)), model.predict(matrix(seed=1)))
    assert_array_equal(loaded.recommend(), model.recommend())


FINAL_ESTIMATORS = [
    ElasticNet(alpha=0.001),
    HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3),
    HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=3),
    LinearRegression(),
    LogisticRegression(),
    Ridge(),
]


@pytest.mark.parametrize("final", FINAL_ESTIMATORS, ids=lambda final: type(final).__name__)
def test_estimators_at_the_end_of_a_stack(final, tmp_path):
    members = [("ease", EASE(l2=3.0)), ("knn", ItemKNN())]
    model = StackingRecommender(members, final).fit(matrix())
    assert np.ptp(model.predict(matrix(seed=1))) > 0
    loaded = round_trip(model, tmp_path)
    assert_array_equal(loaded.predict(matrix(seed=1)), model.predict(matrix(seed=1)))
    assert repr(round_trip(clone(model), tmp_path)) == repr(model)


def test_trees_with_categories_are_left_to_pickle(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.integers(3, size=(60, 2)).astype(float)
    model = HistGradientBoostingRegressor(categorical_features=[0]).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="joblib or pickle"):
        save(model, tmp_path / "model")


@pytest.mark.parametrize(
    "field, value",
    [("left", 0), ("right", 10**6), ("feature_idx", 2), ("feature_idx", -1)]
    + [("is_categorical", 1), ("value", np.nan), ("is_leaf", np.zeros(3, dtype=np.uint8))],
)
def test_trees_with_links_that_do_not_hold_are_refused(field, value):
    """scikit-learn would follow them out of bounds, or forever."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=3).fit(X, X[:, 0])
    state = _classes.saved_state(model)
    loaded = HistGradientBoostingRegressor()
    _classes.load_state(loaded, state)
    assert_array_equal(loaded.predict(X), model.predict(X))
    nodes = state["nodes"]
    nodes[field] = value if isinstance(value, np.ndarray) else np.full_like(nodes[field], value)
    with pytest.raises(ValueError, match="trees are not valid"):
        _classes.load_state(HistGradientBoostingRegressor(), state)


def test_every_allowed_class_of_scikit_learn_is_tried():
    estimators = [*TRANSFORMERS, *FINAL_ESTIMATORS]
    tried = {_classes.name_of(type(step)) for step in estimators if not isinstance(step, str)}
    assert set(_classes._SCIKIT_LEARN) <= tried


SPLITTERS = [
    HoldoutSplit(),
    KFold(3, shuffle=True, random_state=0),
    ShuffleSplit(2, test_size=0.3, random_state=1),
    RepeatedKFold(n_splits=3, n_repeats=2, random_state=0),
    GroupKFold(2),
    GroupShuffleSplit(2, random_state=0),
    LeaveOneOut(),
    LeavePOut(2),
    PredefinedSplit([0, 1, -1] * 10),
    TimeSeriesSplit(3, gap=1),
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
def test_splitters(cv, tmp_path):
    loaded = round_trip(GridSearchCV(EASE(), {"l2": [1.0, 10.0]}, cv=cv), tmp_path).cv
    assert type(loaded) is type(cv)
    assert repr(loaded) == repr(cv)
    X, y = np.zeros((30, 2)), np.zeros(30)
    groups = np.arange(30) % 4 if type(cv).__name__.startswith("Group") else None
    for got, expected in zip(loaded.split(X, y, groups), cv.split(X, y, groups), strict=True):
        for part, wanted in zip(got, expected, strict=True):
            assert_array_equal(part, wanted)


def test_every_allowed_splitter_is_tried():
    assert set(_classes._SPLITTERS) == {_classes.name_of(type(cv)) for cv in SPLITTERS}


SCORINGS = {
    "none": (None, True),
    "one": (make_recommender_scorer("hr@3", candidates=[0, 1, 2, 5]), True),
    "several": (make_recommender_scorer(["ndcg@5", "hr@5"], exclude_seen=False), "hr@5"),
}


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_searches(search, scoring, tmp_path):
    scoring, refit = SCORINGS[scoring]
    grid = {"l2": np.array([1.0, 10.0])} if search is GridSearchCV else {"l2": [1.0, 10.0]}
    extra = {"n_iter": 2, "random_state": 0} if search is RandomizedSearchCV else {}
    model = search(EASE(), grid, cv=KFold(3), scoring=scoring, refit=refit, **extra).fit(matrix())
    loaded = round_trip(model, tmp_path)
    assert repr(loaded) == repr(model)
    assert set(vars(loaded)) == set(vars(model))
    assert loaded.best_params_ == model.best_params_
    assert_array_equal(loaded.predict(matrix(seed=1)), model.predict(matrix(seed=1)))
    assert loaded.score(matrix(seed=1)) == model.score(matrix(seed=1))
    assert list(loaded.cv_results_) == list(model.cv_results_)
    for name, expected in model.cv_results_.items():
        got = loaded.cv_results_[name]
        assert type(got) is type(expected)
        assert str(got) == str(expected)
        if isinstance(expected, np.ma.MaskedArray):
            assert got.dtype == expected.dtype
            assert got.fill_value == expected.fill_value
            assert_array_equal(got.mask, expected.mask)
    again = loaded.fit(matrix())
    assert again.best_params_ == model.best_params_


def test_the_requests_of_a_scorer(tmp_path):
    with config_context(enable_metadata_routing=True):
        scorer = make_recommender_scorer("hr@3").set_score_request(user_features=True)
        loaded = round_trip(GridSearchCV(EASE(), {}, scoring=scorer), tmp_path).scoring
        assert loaded.get_metadata_routing().score.requests == {"user_features": True}


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (FunctionTransformer(lambda X: X), "only hold numpy functions"),
        (FunctionTransformer(np.add), "numpy.ufunc"),
        (GridSearchCV(EASE(), {}, scoring=lambda *args: 1.0), "is a function"),
        (GridSearchCV(EASE(), {}, refit=lambda results: 0), "is a function"),
        (MultVAE(net_params={"compile": True}), "net_params holds 'compile'"),
        (MultVAE(net_params={"iterator_train__collate_fn": "x"}), "net_params holds"),
        (MultVAE(device="cpu:x"), "device is"),
    ],
)
def test_what_a_file_must_not_hold_is_not_saved(model, match, tmp_path):
    with pytest.raises(TypeError, match=match):
        save(model, tmp_path / "model.recsys")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("coef_", np.zeros((3, 12), np.float32), "n_items is 3, but it is 12 elsewhere"),
        ("coef_", np.full((12, 12), np.nan, np.float32), "NaN or infinite"),
        ("n_features_in_", 10**8, "n_items is 100000000"),
        ("interactions_", matrix().tocsc(), "not a csr_array"),
        ("l2", -1.0, "The 'l2' parameter of EASE must be"),
        ("feature_names_in_", np.array(["a"] * 12, dtype=object), "a repeated label"),
    ],
)
def test_a_broken_model_is_not_saved(name, value, match, tmp_path):
    """Content that a file must not hold is refused by `save`, not only by `load`."""
    model = EASE().fit(matrix())
    setattr(model, name, value)
    with pytest.raises(ValueError, match=match):
        model.save(tmp_path / "model.recsys")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("recommender", MODELS, ids=lambda cls: cls.__name__)
def test_every_fitted_attribute_is_declared(recommender):
    """A file is held against what `_fitted_state` declares: nothing may be missing there."""
    model = fitted(recommender)
    fitted_attributes = set(vars(model)) - set(model.get_params())
    assert fitted_attributes - {"_cache_"} <= set(model._fitted_state())


def events(users, items, seed=0):
    rng = np.random.RandomState(seed)
    rows = pd.DataFrame(
        {"u": rng.randint(len(users), size=80), "i": rng.randint(len(items), size=80)}
    )
    frame = pd.DataFrame({"rating": rng.randint(1, 6, size=80)})
    frame["user"] = pd.Series([users[row] for row in rows.u], dtype=getattr(users, "dtype", None))
    frame["item"] = pd.Series([items[row] for row in rows.i], dtype=getattr(items, "dtype", None))
    return frame


TIMES = pd.date_range("2024-01-01 12:00:00.000000001", periods=9)
IDS = {
    "int": np.arange(9) * 10**12,
    "int32": np.arange(9, dtype=np.int32),
    "float": np.linspace(0, 1, 9),
    "str": [f"id {i} “ü” \U0001f600" if i else "" for i in range(9)],
    "mixed": [1, "1", 2.5, False, ("a", 1), -(10**30), b"x", "é", math.inf],
    "tuple": [("a", i, (None, i / 3)) for i in range(9)],
    "uuid": [uuid.UUID(int=i * 2**100) for i in range(9)],
    "times": list(TIMES),
    "utc": list(TIMES.tz_localize("UTC")),
    "mixed times": [*TIMES[:4], *TIMES[4:].tz_localize("UTC").as_unit("us")],
    "categories": pd.Categorical(list("abcdefghi")),
}


@pytest.mark.parametrize("ids", IDS)
def test_encoders(ids, tmp_path):
    frame = events(IDS[ids], IDS[ids][::-1])
    encoder = InteractionEncoder().fit(frame)
    encoder.save(tmp_path / "model.recsys")
    loaded = load(tmp_path / "model.recsys")
    assert loaded.get_params() == encoder.get_params()
    for name in ("user_ids_", "item_ids_"):
        got, expected = getattr(loaded, name), getattr(encoder, name)
        assert got.dtype == expected.dtype
        assert got.tolist() == expected.tolist()
        assert [type(item) for item in got] == [type(item) for item in expected]
    assert_array_equal(loaded.transform(frame).toarray(), encoder.transform(frame).toarray())


@pytest.mark.parametrize("ids", IDS)
def test_pipelines_that_know_raw_ids(ids, tmp_path):
    encoder = InteractionEncoder()
    X = encoder.fit_transform(events(IDS[ids], IDS[ids]))
    model = RecommenderPipeline([("knn", UserKNN())], encoder=encoder).fit(X)
    loaded = round_trip(model, tmp_path)
    users = encoder.user_ids_[[2, 0]]
    pd.testing.assert_frame_equal(
        loaded.recommend(users, n=3, return_scores=True),
        model.recommend(users, n=3, return_scores=True),
    )


def test_feature_names(tmp_path):
    X = pd.DataFrame(matrix().toarray(), columns=[f"film {i}" for i in range(12)])
    for model in (EASE(), RecommenderPipeline([("ease", EASE())])):
        loaded = round_trip(model.fit(X), tmp_path)
        assert_array_equal(loaded.feature_names_in_, X.columns)
        with pytest.raises(ValueError, match="feature names"):
            loaded.predict(X[X.columns[::-1]])


VALUES = [
    None,
    True,
    0,
    -(2**63),
    2**63,
    -(10**5000),
    0.1,
    -0.0,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "a\x00\n\ud800\U0001f600",
    b"\x00\xff",
    uuid.UUID(int=7),
    [],
    [1, [2, (3, [])]],
    (),
    ((1,), "x"),
    {},
    {"a": 1, "b": {"type": "ref", "id": 0}},
    {1: "a", "1": "b", (2, None): "c"},
    pd.Timestamp("2020-01-01 00:00:00.123456789"),
    pd.Timestamp("2020-01-01", tz="UTC").as_unit("s"),
    np.float32(0.1),
    np.int64(-3),
    np.bool_(True),
    np.str_("text"),
    np.datetime64("2020-01-01T00:00", "m"),
    np.complex64(1 + 2j),
    np.dtype(">f4"),
    np.dtype("M8[ns]"),
    np.float32,
    np.bool_,
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_values(number, tmp_path):
    value = VALUES[number]
    loaded = round_trip(Holder(value).keep(value, [value]), tmp_path, trusted=[Holder])
    for got in (loaded.value, loaded.kept_[0], loaded.kept_[1][0]):
        assert type(got) is type(value)
        assert got == value
        if isinstance(value, float):
            assert math.copysign(1, got) == math.copysign(1, value)
        if isinstance(value, pd.Timestamp):
            assert got.unit == value.unit
        if isinstance(value, np.generic):
            assert got.dtype == value.dtype
        if isinstance(value, dict):
            assert list(got.items()) == list(value.items())


def test_nesting(tmp_path):
    value = None
    for depth in range(21):  # 29 containers
        value = [{"a": value}, {depth: (value,)}, (value,)][depth % 3]
    assert round_trip(Holder(value), tmp_path, trusted=[Holder]).value == value


def test_nan(tmp_path):
    loaded = round_trip(EASE(l2=math.nan), tmp_path)
    assert math.isnan(loaded.l2)
    value = round_trip(Holder(np.float32("nan")), tmp_path, trusted=[Holder]).value
    assert np.isnan(value)
    assert value.dtype == np.float32


FRAMES = {
    "numpy": lambda: pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False]}),
    "strings": lambda: pd.DataFrame({"a": ["x", None], "b": pd.array(["y", None], dtype="string")}),
    "nullable": lambda: pd.DataFrame(
        {"a": pd.array([1, None], "Int8"), "b": pd.array([True, None])}
    ),
    "objects": lambda: pd.DataFrame({"a": [["x", "y"], ("z", None)], "b": [None, 3]}, dtype=object),
    "category": lambda: pd.DataFrame({"a": pd.Categorical(["b", None], ["c", "b"], ordered=True)}),
    "times": lambda: pd.DataFrame({"a": pd.to_datetime(["2020-01-01", None])}),
    "index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="item")),
    "tuples": lambda: pd.DataFrame({"a": [1]}, index=pd.Index([(1, 2)], tupleize_cols=False)),
    "columns": lambda: pd.DataFrame([[1, "x"]], columns=pd.Index([3, 3], name="n")),
    "rows": lambda: pd.DataFrame({"a": pd.Series([], dtype="str")}),
    "sets": lambda: pd.DataFrame({"a": [{"x", "y"}, set()], "b": [frozenset([3]), None]}),
    "default": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(3, 7, 2, name="n")),
    "nothing": lambda: pd.DataFrame(),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames(name, tmp_path):
    frame = FRAMES[name]()
    loaded = round_trip(Holder(frame).keep(frame), tmp_path, trusted=[Holder])
    pd.testing.assert_frame_equal(loaded.value, frame, check_index_type="exact")
    assert loaded.kept_[0] is loaded.value
    assert [type(x) for x in loaded.value.to_numpy().flat] == [
        type(x) for x in frame.to_numpy().flat
    ]


SEQUENCES = {
    "range": lambda: range(9, 2, -3),
    "set": lambda: {"x", 3, ("y", None)},
    "frozenset": lambda: frozenset([1, 2]),
    "index": lambda: pd.Index([3, 5], name="item"),
    "default index": lambda: pd.RangeIndex(4),
    "strings": lambda: pd.Index(["x", "y"]),
    "objects": lambda: pd.Index(["x", 3, (1, 2)], tupleize_cols=False),
    "categories": lambda: pd.CategoricalIndex(["b", "c"], ["c", "b"], ordered=True),
    "times": lambda: pd.DatetimeIndex(["2020-01-01", "2021-01-01"]),
    "series": lambda: pd.Series([3.0, 5.0], index=["x", "y"], name="item"),
    "nullable": lambda: pd.Series([1, None], dtype="Int32"),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences(name, tmp_path):
    value = SEQUENCES[name]()
    loaded = round_trip(Holder(value).keep(value), tmp_path, trusted=[Holder])
    if isinstance(value, pd.Series):
        pd.testing.assert_series_equal(loaded.value, value)
    elif isinstance(value, pd.Index):
        pd.testing.assert_index_equal(loaded.value, value, exact=True)
    else:
        assert type(loaded.value) is type(value)
        assert loaded.value == value
    if isinstance(value, (pd.Index, pd.Series)):  # what was shared is again
        assert loaded.kept_[0] is loaded.value


ITEMS = {
    "index": pd.Index(["c", "a", "b"]),
    "series": pd.Series(["c", "a", "b"], index=[7, 8, 9]),
    "categories": pd.Categorical(["c", "a", "b"]),
    "nullable": pd.array(["c", "a", "b"], dtype="string"),
    "levels": pd.MultiIndex.from_tuples([("c", 1), ("a", 2), ("b", 3)]).get_level_values(0),
}


@pytest.mark.parametrize("name", [*ITEMS, "polars", "pyarrow"])
def test_a_catalog_of_any_kind(name, tmp_path):
    if name == "polars":
        items = pytest.importorskip("polars").Series(["c", "a", "b"])
    elif name == "pyarrow":
        items = pytest.importorskip("pyarrow").array(["c", "a", "b"])
    else:
        items = ITEMS[name]
    frame = pd.DataFrame({"user": [1, 2], "item": ["a", "b"]})
    encoder = InteractionEncoder(values="one", items=items).fit(frame)
    loaded = round_trip(encoder, tmp_path)
    assert loaded.item_ids_.tolist() == ["c", "a", "b"]
    assert list(loaded.items) == ["c", "a", "b"]
    assert_array_equal(loaded.fit_transform(frame).toarray(), encoder.transform(frame).toarray())


def test_a_frame_of_another_library_is_saved_as_a_pandas_frame(tmp_path):
    polars = pytest.importorskip("polars")
    features = polars.DataFrame({"size": [1.0, 2.0, 3.0], "kind": ["x", "y", "x"]})
    R = np.array([[1, 0, 1], [0, 1, 0]])
    model = ContentRecommender(features).fit(R)
    loaded = round_trip(model, tmp_path)
    assert loaded.item_features.to_dict("list") == features.to_dict(as_series=False)
    assert_array_equal(loaded.fit(R).predict(R), model.predict(R))


def test_a_loaded_pipeline_with_rows_in_the_order_of_the_encoder_fits_again(tmp_path):
    """A default index of features, 0, 1, …, is saved as such: it holds no ids."""
    features = pd.DataFrame({"kind": ["x", "y", "x"]})
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(pd.DataFrame({"user": [1, 2, 1], "item": ["a", "b", "c"]}))
    pipe = RecommenderPipeline([("m", ContentRecommender(features))], encoder=encoder).fit(X)
    loaded = round_trip(pipe, tmp_path)
    assert loaded.fit(X).recommend([2], n=1).equals(pipe.recommend([2], n=1))


ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(6, dtype=">i2"),
    np.arange(12)[::-2],
    np.array(3.5),
    np.zeros((0, 4), dtype=np.float16),
    np.array([True, False]),
    np.array(["a", "ünï\U0010ffff"]),
    np.array([b"a\x00b", b""]),
    np.array(["2020-01-01", "NaT"], dtype="M8[s]"),
    np.array([1, 2], dtype="m8[25us]"),
    np.array([1 + 2j, np.nan]),
    np.array([[1, "a"], [None, (1, 2)]], dtype=object),
    np.array("scalar", dtype=object),
    np.array([], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays(array, tmp_path):
    loaded = round_trip(Holder(array).keep(array), tmp_path, trusted=[Holder]).value
    assert type(loaded) is np.ndarray
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    assert loaded.tolist() == array.tolist() or array.dtype.kind == "c"
    assert loaded.tobytes() == array.tobytes() or array.dtype == object
    assert loaded.flags.writeable
    assert loaded.flags.f_contiguous == array.flags.f_contiguous or array.ndim < 2


SPARSE = [
    sp.csr_array([[0, 1, 2], [0, 0, 3]]),
    sp.csc_array([[0.0, 1, 2], [0, 0, 3]]),
    sp.csr_matrix([[0, 1], [1, 0]], dtype=bool),
    sp.csc_matrix((3, 0), dtype=np.float32),
    sp.csr_array((np.ones(3), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3)),  # unsorted
    sp.csr_array((np.array([0.0]), np.array([1]), np.array([0, 1])), shape=(1, 3)),  # a stored zero
]


@pytest.mark.parametrize("wide", [np.int32, np.int64])
@pytest.mark.parametrize("matrix", SPARSE, ids=lambda matrix: type(matrix).__name__)
def test_sparse_matrices_keep_every_part(matrix, wide, tmp_path):
    matrix = matrix.copy()
    matrix.indices, matrix.indptr = matrix.indices.astype(wide), matrix.indptr.astype(wide)
    loaded = round_trip(Holder(matrix), tmp_path, trusted=[Holder]).value
    assert type(loaded) is type(matrix)
    assert loaded.shape == matrix.shape
    for name in ("data", "indices", "indptr"):
        got, expected = getattr(loaded, name), getattr(matrix, name)
        assert got.dtype == expected.dtype
        assert_array_equal(got, expected)


def test_random_state(tmp_path):
    random = np.random.RandomState(3)
    random.normal(size=3)  # an odd number: one is left over
    loaded = round_trip(Holder(random), tmp_path, trusted=[Holder]).value
    assert_array_equal(loaded.normal(size=1000), random.normal(size=1000))
    with pytest.raises(TypeError, match="bit generator PCG64"):
        save(Holder(np.random.RandomState(np.random.PCG64(0))), tmp_path / "x")


def test_shared_objects_are_written_once_and_shared_again(tmp_path):
    array, encoder = np.arange(10**5), InteractionEncoder()
    loaded = round_trip(Holder([array, encoder]).keep(array, encoder), tmp_path, trusted=[Holder])
    assert loaded.value[0] is loaded.kept_[0]
    assert loaded.value[1] is loaded.kept_[1]
    assert os.path.getsize(tmp_path / "model.recsys") < 1.1 * array.nbytes


def test_equal_models_make_equal_files(tmp_path):
    for name in "ab":
        EASE().fit(matrix()).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_payload_is_an_ordinary_archive(tmp_path):
    model = EASE().fit(matrix())
    model.save(tmp_path / "m")
    members = members_of(tmp_path / "m")
    json.loads(members.pop("model.json"))
    arrays = [np.load(io.BytesIO(data), allow_pickle=False) for data in members.values()]
    assert any(np.array_equal(array, model.coef_) for array in arrays)


def test_routing_requests_are_kept(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = EASE().set_score_request(candidates="shortlist").fit(matrix())
        loaded = round_trip(model, tmp_path)
        request = loaded.get_metadata_routing()
        assert request.score.requests == model.get_metadata_routing().score.requests
        assert request.score.requests["candidates"] == "shortlist"


def test_the_cache_of_a_pipeline_is_not_saved(tmp_path):
    """joblib's cache holds pickles: a file must not say where they lie."""
    steps = [("tfidf", TfidfTransformer()), ("ease", EASE())]
    model = RecommenderPipeline(steps, memory=str(tmp_path / "cache")).fit(matrix())
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").memory is None


def test_paths(tmp_path, monkeypatch):
    model = PopularityRecommender().fit(matrix())
    monkeypatch.chdir(tmp_path)
    for path in ("plain", tmp_path / "Ünïcode 1", os.fsencode(tmp_path / "bytes")):
        model.save(path)
        assert_array_equal(load(path).item_counts_, model.item_counts_)
    with pytest.raises(FileNotFoundError):
        load("nothing")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        model.save(tmp_path / "no" / "folder")
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path)
    assert sorted(os.listdir()) == ["bytes", "plain", "Ünïcode 1"]


# ------------------------------------------------------------------------------- own classes


class Plain:
    """No estimator."""


class Dictionary:
    """No estimator, but with hooks."""

    def __init__(self, words):
        self.words = set(words)

    def _save_state(self):
        return {"words": sorted(self.words)}

    def _load_state(self, state):
        self.words = set(state["words"])


class Hooked(BaseEstimator):
    def __init__(self, size=1):
        self.size = size

    def fit(self, X, y=None):
        self.net_ = memoryview(bytes(self.size))  # not to be saved as it is
        self.dictionary_ = Dictionary("abc")
        return self

    def _save_state(self):
        return {**vars(self), "net_": np.frombuffer(self.net_, np.uint8)}

    def _load_state(self, state):
        assert sorted(state) == ["dictionary_", "net_"]
        vars(self).update(state)
        self.net_ = memoryview(state["net_"].tobytes())


def test_a_class_of_ones_own_has_to_be_trusted(tmp_path):
    model = CoOccurrence(power=2).fit(matrix())
    model.save(tmp_path / "m")
    with pytest.raises(ModelFileError, match=r"CoOccurrence.*trusted=\[CoOccurrence\]"):
        load(tmp_path / "m")
    with pytest.raises(ModelFileError, match="CoOccurrence"):
        load(tmp_path / "m", trusted=[Holder])
    loaded = load(tmp_path / "m", trusted=[Holder, CoOccurrence])
    assert_array_equal(loaded.predict(matrix(seed=1)), model.predict(matrix(seed=1)))
    pipe = RecommenderPipeline([("mine", CoOccurrence())]).fit(matrix())
    assert_array_equal(
        round_trip_into(pipe, tmp_path, [CoOccurrence]).recommend(), pipe.recommend()
    )
    with pytest.raises(TypeError, match="trusted must hold classes"):
        load(tmp_path / "m", trusted=["CoOccurrence"])


def round_trip_into(model, folder, trusted):
    save(model, folder / "again")
    return load(folder / "again", trusted=trusted)


def test_a_class_may_have_moved(tmp_path, monkeypatch):
    """A script's class is in __main__; where the model is served it is in a module."""
    monkeypatch.setattr(CoOccurrence, "__module__", "__main__")
    CoOccurrence(power=3).save(tmp_path / "m")
    monkeypatch.setattr(CoOccurrence, "__module__", "served")
    assert load(tmp_path / "m", trusted=[CoOccurrence]).power == 3


def test_other_estimators_of_scikit_learn_have_to_be_trusted(tmp_path):
    imputer = SimpleImputer(missing_values=99)
    model = RecommenderPipeline([("f", imputer), ("m", EASE())]).fit(matrix())
    model.save(tmp_path / "m")
    with pytest.raises(ModelFileError, match="SimpleImputer"):
        load(tmp_path / "m")
    loaded = load(tmp_path / "m", trusted=[SimpleImputer])
    assert_array_equal(loaded.recommend(), model.recommend())
    svd = TruncatedSVD(2, random_state=0).fit(matrix())
    loaded = round_trip_into(svd, tmp_path, [TruncatedSVD])
    assert_array_equal(loaded.transform(matrix()), svd.transform(matrix()))


def test_hooks(tmp_path):
    loaded = round_trip(Hooked(size=3).fit(None), tmp_path, trusted=[Hooked, Dictionary])
    assert loaded.size == 3
    assert loaded.net_ == memoryview(bytes(3))
    assert loaded.dictionary_.words == {"a", "b", "c"}
    unfitted = round_trip(Hooked(size=2), tmp_path, trusted=[Hooked])
    assert vars(unfitted) == {"size": 2}


# ------------------------------------------------------------------------ what can't be saved


def recursive():
    value = []
    value.append(value)
    return value


def deep():
    value = None
    for _ in range(60):
        value = [value]
    return value


class Shadow(BaseEstimator):
    def fit(self, X, y=None):
        self.transform = 3
        return self

    def transform(self, X):
        return X


UNSAVEABLE = {
    "lambda": lambda: lambda x: x,
    "file": lambda: open(os.devnull),
    "object": Plain,
    "class": lambda: EASE,
    "builtin": lambda: float,
    "module": lambda: math,
    "complex": lambda: 1j,
    "recursive": recursive,
    "deep": deep,
    "structured": lambda: np.zeros(2, dtype="i4,f4"),
    "recarray": lambda: np.array([1]).view(np.recarray),
    "void": lambda: np.zeros(2, "V4"),
    "coo": lambda: sp.coo_array([[1]]),
    "objects": lambda: np.array([Plain(), 1], dtype=object),
    "set": lambda: {Plain()},
    "frame of objects": lambda: pd.DataFrame({"a": [Plain()]}),
    "frame of levels": lambda: pd.DataFrame({("a", "b"): [1]}),
    "frame of periods": lambda: pd.DataFrame({"a": pd.period_range("2020", periods=2)}),
    "series of periods": lambda: pd.Series(pd.period_range("2020", periods=2)),
    "levels": lambda: pd.MultiIndex.from_tuples([(1, 2)]),
    "zone": lambda: pd.Timestamp("2020-01-01", tz="Europe/Paris"),
    "np.void": lambda: np.zeros(1, dtype="i4,f4")[0],
    "structured dtype": lambda: np.dtype("i4,f4"),
    "inner": lambda: {"a": [1, (Plain(),)]},
}


@pytest.mark.parametrize("value", UNSAVEABLE)
def test_what_cannot_be_saved_leaves_the_old_file(value, tmp_path):
    path = tmp_path / "m"
    save(Holder(1), path)
    before = path.read_bytes()
    value = UNSAVEABLE[value]()
    with pytest.raises(TypeError, match=r"Cannot save Holder\.value"):
        save(Holder(value), path)
    with pytest.raises(TypeError, match=r"Cannot save RecommenderPipeline\.steps\[0\]\[1\]\.kept_"):
        save(RecommenderPipeline([("holder", Holder().keep(value)), ("m", EASE())]), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]
    if hasattr(value, "close"):
        value.close()


def test_the_error_names_the_place():
    holder = Holder({"a": [1, (Plain(),)]})
    with pytest.raises(TypeError, match=r"Holder\.value\['a'\]\[1\]\[0\]: .*\.Plain\. "):
        save(holder, "nowhere")
    with pytest.raises(TypeError, match=r"Shadow\.transform.*would hide a method"):
        save(Shadow().fit(None), "nowhere")
    for model in (EASE, "EASE", None):
        with pytest.raises(TypeError, match="Only estimators can be saved"):
            save(model, "nowhere")
    assert not os.path.exists("nowhere")


class Failure(Exception):
    pass


STEPS = {
    "JSON": (json, "dumps"),
    "arrays": (np.lib.format, "write_array"),
    "digest": (_container, "_digest"),
    "sync": (os, "fsync"),
    "replace": (os, "replace"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt])
def test_a_failing_save_leaves_the_old_file_and_no_litter(step, error, tmp_path, monkeypatch):
    path = tmp_path / "m"
    EASE(l2=3).fit(matrix()).save(path)
    before, calls = path.read_bytes(), []

    def fail(*args, **kwargs):
        calls.append(args)
        raise error

    monkeypatch.setattr(*STEPS[step], fail)
    for target in (path, tmp_path / "new"):
        with pytest.raises(error):
            ItemKNN().fit(matrix()).save(target)
        assert os.listdir(tmp_path) == ["m"]
        assert path.read_bytes() == before
    monkeypatch.undo()
    assert len(calls) == 2  # it failed in the midst of writing
    assert load(path).l2 == 3


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")
def test_permissions_and_links(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real" / "m", tmp_path / "link")
    (tmp_path / "ordinary").touch()
    EASE().save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    mode = stat.S_IMODE((tmp_path / "real" / "m").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    os.chmod(tmp_path / "real" / "m", 0o600)  # the owner keeps it private
    ItemKNN().save(tmp_path / "link")
    assert stat.S_IMODE((tmp_path / "real" / "m").stat().st_mode) == 0o600
    assert type(load(tmp_path / "link")) is ItemKNN


# ------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("package", "version"),
    [("sklearn_recsys", "9.1.0"), ("scikit-learn", "1.2.2"), ("scikit-learn", "1.99.dev0")],
)
def test_other_versions_warn(package, version, tmp_path, monkeypatch):
    model, path = EASE().fit(matrix()), tmp_path / "m"
    versions = dict(sklearn_recsys.persistence._PACKAGES)
    with monkeypatch.context() as patch:
        patch.setattr(sklearn_recsys.persistence, "_PACKAGES", {**versions, package: version})
        model.save(path)
    with pytest.warns(VersionWarning, match=f"was saved with {package} {version}") as caught:
        loaded = load(path)
    assert caught[0].filename == __file__
    assert_array_equal(loaded.coef_, model.coef_)

    patched = ".".join([*versions[package].split(".")[:2], "77"])
    with monkeypatch.context() as patch:
        patch.setattr(sklearn_recsys.persistence, "_PACKAGES", {**versions, package: patched})
        model.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path)


# ------------------------------------------------------------------------------- cost


def test_saving_and_loading_hold_the_arrays_once(tmp_path):
    """EASE on 3,000 items: 36 MB."""
    model = EASE().fit(make_interactions(30, 3000, random_state=0))

    def peak(function):
        tracemalloc.start()
        try:
            function()
            return tracemalloc.get_traced_memory()[1] / model.coef_.nbytes
        finally:
            tracemalloc.stop()

    assert peak(lambda: model.save(tmp_path / "m")) < 0.6
    assert peak(lambda: load(tmp_path / "m")) < 1.2
    assert os.path.getsize(tmp_path / "m") < 1.01 * model.coef_.nbytes


# ------------------------------------------------------------------------------- the file itself


KILLED = """
import os, random, signal, sys, time
import numpy as np
from sklearn_recsys import EASE, load
from sklearn_recsys.datasets import make_interactions

model = EASE(l2=1.0).fit(make_interactions(40, 300, random_state=0))

def save_and_kill(folder, n_kills):
    os.mkdir(folder)
    path = os.path.join(folder, "model.recsys")
    model.save(path)
    os.chmod(path, 0o600)
    random.seed(0)
    for _ in range(n_kills):
        child = os.fork()
        if not child:
            while True:
                model.save(path)
        time.sleep(random.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert os.stat(path).st_mode & 0o777 == 0o600
        load(path)
    model.save(path)  # what was killed between two system calls is cleared away here
    print(os.listdir(folder))

folder = sys.argv[1]
save_and_kill(os.path.join(folder, "nameless"), 20)
vars(os).pop("O_TMPFILE", None)
save_and_kill(os.path.join(folder, "named"), 20)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked, and killed")
def test_a_killed_save_leaves_nothing_behind(tmp_path):
    """With files that have no name before they are complete, and without."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["['model.recsys']", "['model.recsys']", ""]


def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_mode(tmp_path):
    path, model = tmp_path / "model.recsys", PopularityRecommender()
    umask = os.umask(0o027)
    try:
        save(model, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o664):
            path.chmod(mode)
            save(model, path)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(umask)


def test_a_link_is_followed(tmp_path):
    (tmp_path / "versions").mkdir()
    target = tmp_path / "versions" / "1.recsys"
    link = tmp_path / "latest.recsys"
    link.symlink_to(target)  # to nothing, as yet
    for _ in range(2):
        save(PopularityRecommender(), link)
        assert link.is_symlink()
        assert os.listdir(tmp_path / "versions") == ["1.recsys"]
        assert isinstance(load(target), PopularityRecommender)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, os.devnull):
        with pytest.raises(OSError, match="a device, a pipe or a socket") as caught:
            save(PopularityRecommender(), path)
        assert caught.value.filename == str(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(IsADirectoryError):
        save(PopularityRecommender(), tmp_path)
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("failing", ["open", "replace", "fsync"])
def test_errors_name_the_file_that_was_asked_for(failing, tmp_path, monkeypatch):
    path = tmp_path / "model.recsys"

    def refuse(name, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(name))

    monkeypatch.setattr(_files.os, failing, refuse)
    with pytest.raises(PermissionError) as caught:
        save(PopularityRecommender(), path)
    monkeypatch.undo()
    assert caught.value.filename == str(path)
    assert ".tmp" not in str(caught.value)
    assert os.listdir(tmp_path) == []
