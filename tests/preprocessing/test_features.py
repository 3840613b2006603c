"""FeatureEncoder against what it promises, column by column."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_recsys.datasets import fetch_movielens, make_movies
from sklearn_recsys.persistence import load, save
from sklearn_recsys.preprocessing import FeatureEncoder
from sklearn_recsys.preprocessing._feature_columns import MAX_CODES, count_codes


@parametrize_with_checks([FeatureEncoder(), FeatureEncoder(min_count=2, max_length=3)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def movies():
    return pd.DataFrame(
        {
            "title": ["Toy Story 2", "A Story, a toy", "Heat", None],
            "genres": ["Comedy|Drama", "Crime", "", "Drama | Comedy|Western"],
            "gender": ["F", "M", None, "F"],
            "year": [1990, 2000, 1995, 2003],
        },
        index=[7, 3, 9, 1],
    )


def slot(encoder, name):
    """Return the columns of a slot in what `encode` returns."""
    (found,) = [entry for entry in encoder.slots_ if entry[0] == name]
    return slice(found[2], found[3])


def encoded(encoder, X, name):
    return encoder.encode(X)[:, slot(encoder, name)]


def transformed(encoder, X):
    """Return the sparse answer as a frame with the names of its columns."""
    return pd.DataFrame(encoder.transform(X).toarray(), columns=encoder.get_feature_names_out())


def kind_of(values, **params):
    return FeatureEncoder(**params).fit(pd.DataFrame({"x": values})).kinds_["x"]


# ------------------------------------------------------------------------------------ kinds


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "number"),
        (np.array([1, 2, 3], dtype=np.uint8), "number"),
        ([1.5, np.nan, 2.0], "number"),
        ([np.nan, np.nan], "number"),
        (pd.array([1, None, 3], dtype="Int64"), "number"),
        (pd.Series([1, None, 2.5], dtype=object), "number"),
        ([True, False, True], "category"),
        (pd.array([True, None], dtype="boolean"), "category"),
        (pd.Series([True, None], dtype=object), "category"),
        (pd.Categorical([3, 1, 3]), "category"),
        (pd.Categorical(["a b", "c d", "e|f"]), "category"),
        (["a", "b", "a"], "category"),
        (["student", "K-12 student", "writer"], "category"),  # one of three has two words
        (["two words"] * 4 + ["other one"], "category"),  # two of five are distinct
        (["two words"] * 3 + ["other one"], "text"),
        (["two words", "", "", "", None], "text"),
        (["", "", None], "category"),
        (["a|b", "", ""] * 20, "tags"),
        ([None, None], "category"),
        (pd.to_datetime([None, None]), "category"),
        (["48067", "70072", "55117"], "category"),
        (["two words", "other words", "one"], "text"),
        (pd.array(["two words", "other words", None], dtype="string"), "text"),
        ([["a"], ["b", "c"], None], "tags"),
        ([{"a"}, ("b", "c"), np.array(["d"])], "tags"),
        ([[], []], "tags"),
        (["a|b", "c", "d"], "tags"),
        (["a|b"] + ["c"] * 9, "tags"),  # a tenth
        (["a|b"] + ["c"] * 10, "category"),
        (["New York|Rome", "San Francisco|Los Angeles"], "tags"),
    ],
    ids=str,
)
def test_kinds_are_recognized_by_the_rules(values, kind):
    assert kind_of(values) == kind


def test_kinds_can_be_named_and_the_separator_set():
    assert kind_of([1, 2, 2], kinds={"x": "category"}) == "category"
    assert kind_of(["a b", "c d"], kinds={"x": "category"}) == "category"
    assert kind_of(["a", "b"], kinds={"x": "tags"}) == "tags"
    assert kind_of(["a", "b"], kinds={"x": "text"}) == "text"
    assert kind_of([True, False], kinds={"x": "number"}) == "number"
    assert kind_of(["a;b", "c"], separator=";") == "tags"
    encoder = FeatureEncoder({"genres": "drop", "year": "category"}).fit(movies())
    assert encoder.kinds_ == {
        "title": "text",
        "genres": "drop",
        "gender": "category",
        "year": "category",
    }
    assert [name for name, *_ in encoder.slots_] == ["title", "gender", "year"]
    assert not any("genres" in name for name in encoder.get_feature_names_out())


@pytest.mark.parametrize("version", ["100k", "1m"])
def test_kinds_of_movielens(data_home, version):
    data = fetch_movielens(version, data_home=data_home)
    items = FeatureEncoder().fit(data.items)
    assert items.kinds_ == {"title": "text", "year": "number", "genres": "tags"}
    users = FeatureEncoder().fit(data.users)
    categories = ("gender", "occupation", "zip")
    assert users.kinds_ == {"age": "number", **dict.fromkeys(categories, "category")}
    genres = {genre for row in data.items["genres"].dropna() for genre in row.split("|")} - {""}
    assert items.vocabularies_["genres"].tolist() == sorted(genres)


# -------------------------------------------------------------------------------- transform


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [np.nan, 5.0], [6.0, 5.0]])
    frame = pd.DataFrame(values, columns=["a", "constant"])
    a = values[[0, 1, 3], 0]
    expected = np.column_stack([(values[:, 0] - a.mean()) / a.std(), np.zeros(4)])
    expected[2, 0] = 0
    for X in (frame, values, frame.astype("Float64"), frame.astype(object)):
        encoder = FeatureEncoder().fit(X)
        assert encoder.transform(X).dtype == np.float32
        assert_allclose(encoder.transform(X).toarray(), expected, rtol=1e-6)
        assert_allclose(encoder.encode(X), expected, rtol=1e-6)
    # new rows by the training mean and deviation
    new = encoder.encode(pd.DataFrame({"a": [10.0], "constant": [None]}))
    assert_allclose(new, [[(10 - a.mean()) / a.std(), 0]], rtol=1e-6)


def test_a_column_without_any_number_is_zero():
    X = np.array([[np.nan, 1], [np.nan, 3]])
    assert_array_equal(FeatureEncoder().fit_transform(X).toarray(), [[0, -1], [0, 1]])


def test_categories_are_one_hot_with_a_column_for_unknown():
    encoder = FeatureEncoder().fit(movies()[["gender"]])
    assert encoder.get_feature_names_out().tolist() == ["gender=<unknown>", "gender=F", "gender=M"]
    new = pd.DataFrame({"gender": ["M", "X", None, "", np.nan, "f"]})
    expected = [[0, 0, 1], *[[1, 0, 0]] * 5]
    assert_array_equal(encoder.transform(new).toarray(), expected)


def test_tags_are_multi_hot():
    encoder = FeatureEncoder().fit(movies()[["genres"]])
    assert encoder.get_feature_names_out().tolist() == [
        "genres=<unknown>",
        *(f"genres={genre}" for genre in ["Comedy", "Crime", "Drama", "Western"]),
    ]
    new = ["Drama|Comedy", " Crime |Crime|", "Drama|Musical|Film-Noir", "", None]
    expected = [[0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0] * 5, [0] * 5]
    assert_array_equal(encoder.transform(pd.DataFrame({"genres": new})).toarray(), expected)
    # other forms of the same sets say the same
    sets = [["Drama", "Comedy"], ("Crime", "Crime"), {"Drama", "Musical"}, [], [None, np.nan, ""]]
    assert_array_equal(encoder.transform(pd.DataFrame({"genres": sets})).toarray(), expected)


def test_words_are_counted_in_lower_case():
    encoder = FeatureEncoder().fit(movies()[["title"]])
    names = ["<unknown>", "2", "a", "heat", "story", "toy"]
    assert encoder.get_feature_names_out().tolist() == [f"title:{name}" for name in names]
    new = pd.DataFrame({"title": ["A TOY: a toy, a cat & dog!", "2", "", None, "?!"]})
    expected = [[2, 0, 3, 0, 0, 2], [0, 1, 0, 0, 0, 0], [0] * 6, [0] * 6, [0] * 6]
    assert_array_equal(encoder.transform(new).toarray(), expected)


def test_numbers_come_first_and_names_match_columns():
    encoder = FeatureEncoder().fit(movies())
    answer = encoder.transform(movies())
    assert isinstance(answer, sp.csr_array)
    assert answer.has_canonical_format
    columns = transformed(encoder, movies())
    assert columns.columns[0] == "year"
    assert columns["genres=Comedy"].tolist() == [1, 0, 0, 1]
    assert columns["title:story"].tolist() == [1, 1, 0, 0]
    assert columns["gender=<unknown>"].tolist() == [0, 0, 1, 0]
    assert_allclose(
        columns[["year"]], StandardScaler().fit_transform(movies()[["year"]]), rtol=1e-6
    )


def test_rare_values_are_unknown():
    frame = pd.DataFrame(
        {
            "tags": [["a", "a", "b"], ["b"], ["c"]],  # "a" is twice in one row
            "text": ["x x y", "y z", "z w w"],
            "category": ["p", "p", "q"],
        }
    )
    encoder = FeatureEncoder({"text": "text"}, min_count=2).fit(frame)
    known = {name: values.tolist() for name, values in encoder.vocabularies_.items()}
    assert known == {"tags": ["b"], "text": ["y", "z"], "category": ["p"]}
    columns = transformed(encoder, frame)
    assert columns["text:<unknown>"].tolist() == [2, 0, 2]
    assert columns["tags=<unknown>"].tolist() == [1, 0, 1]
    assert columns["category=<unknown>"].tolist() == [0, 0, 1]


def test_the_words_of_most_rows_are_kept():
    titles = pd.DataFrame({"title": ["d d d d", "c b", "c a", "b a", "c e"]})
    encoder = FeatureEncoder({"title": "text"}, max_words=2).fit(titles)
    assert encoder.vocabularies_["title"].tolist() == ["a", "c"]  # a and b tie


# ----------------------------------------------------------------------------------- encode


def test_slots_describe_the_columns_of_encode():
    encoder = FeatureEncoder(max_length=5).fit(movies())
    assert encoder.slots_ == [
        ("year", "number", 0, 1, 0),
        ("title", "text", 1, 6, 7),
        ("genres", "tags", 6, 9, 6),
        ("gender", "category", 9, 10, 4),
    ]
    codes = encoder.encode(movies())
    assert codes.dtype == np.float32
    assert codes.shape == (4, 10)
    for _name, kind, start, stop, n_codes in encoder.slots_:
        if kind != "number":
            part = codes[:, start:stop]
            assert_array_equal(part, part.astype(int))
            assert part.min() >= 0
            assert part.max() < n_codes


def test_codes_are_empty_unknown_or_a_place_in_the_vocabulary():
    encoder = FeatureEncoder(max_length=4).fit(movies())
    new = pd.DataFrame(
        {
            "year": [1995, 1995, 1995],
            "title": ["the toy a toy story", "Heat", ""],
            "genres": ["Western|Musical|Crime|Drama", "Crime", None],
            "gender": ["M", "X", None],
        }
    )
    words = ["2", "a", "heat", "story", "toy"]
    assert encoder.vocabularies_["title"].tolist() == words
    code = {word: number for number, word in enumerate(words, start=2)}
    # in the order of the words; what is too long is cut
    assert_array_equal(
        encoded(encoder, new, "title"),
        [[1, code["toy"], code["a"], code["toy"]], [code["heat"], 0, 0, 0], [0, 0, 0, 0]],
    )
    # Comedy 2, Crime 3, Drama 4, Western 5; the longest set of fit has three
    assert_array_equal(encoded(encoder, new, "genres"), [[5, 1, 3], [3, 0, 0], [0, 0, 0]])
    assert_array_equal(encoded(encoder, new, "gender"), [[3], [1], [1]])


def test_the_order_of_a_set_is_by_name():
    """Hashes of strings differ between interpreters, and the order of sets with them."""
    frame = pd.DataFrame({"x": [{"d", "b", "c", "a", "e"}, {"e", "a"}]})
    encoder = FeatureEncoder().fit(frame)
    assert_array_equal(encoder.encode(frame), [[2, 3, 4, 5, 6], [2, 6, 0, 0, 0]])


def test_texts_and_sets_may_all_be_empty():
    frame = pd.DataFrame({"text": ["", None, ""], "tags": [[], None, []], "c": [None, "", None]})
    encoder = FeatureEncoder({"text": "text"}).fit(frame)
    assert encoder.kinds_ == {"text": "text", "tags": "tags", "c": "category"}
    codes = encoder.encode(pd.DataFrame({"text": ["new word"], "tags": [["t"]], "c": ["c"]}))
    assert_array_equal(codes[0, slot(encoder, "text")][:3], [1, 1, 0])
    assert_array_equal(codes[0, slot(encoder, "tags")], [1])
    assert_array_equal(codes[0, slot(encoder, "c")], [1])


@pytest.mark.parametrize("values", [[5, 3, 5], [True, False, True], [2.5, np.nan, 0.5]], ids=str)
def test_categories_may_be_numbers_or_booleans(values):
    frame = pd.DataFrame({"x": values})
    encoder = FeatureEncoder({"x": "category"}).fit(frame)
    present = [value for value in values if value == value]
    expected = [sorted(set(present)).index(v) + 2 if v == v else 1 for v in values]
    assert_array_equal(encoder.encode(frame)[:, 0], expected)
    # a missing value makes floats of integers, which are the same categories
    if values == [5, 3, 5]:
        assert_array_equal(encoder.encode(pd.DataFrame({"x": [3, None]}))[:, 0], [2, 1])


def test_codes_beyond_what_float32_counts_are_refused():
    vocabulary = FeatureEncoder().fit(pd.DataFrame({"x": list("abcdef")})).vocabularies_["x"]
    assert count_codes(vocabulary, "x", max_codes=8) == 8
    with pytest.raises(ValueError, match="'x' has 8 codes.*Raise min_count"):
        count_codes(vocabulary, "x", max_codes=7)
    assert np.float32(MAX_CODES - 1) != np.float32(MAX_CODES)
    assert np.float32(MAX_CODES + 1) == np.float32(MAX_CODES)


def test_unknown_columns_are_those_named_so():
    frame = pd.DataFrame({"x": ["a", "b", "a"], "y": [1, 2, 3], "z": ["a|b", "c", "|"]})
    encoder = FeatureEncoder().fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert [names[i] for i in encoder.unknown_columns_] == ["x=<unknown>", "z=<unknown>"]
    assert not hasattr(FeatureEncoder(), "unknown_columns_")


# ---------------------------------------------------------------------------- frames, arrays


def test_columns_are_matched_by_name():
    encoder = FeatureEncoder({"year": "drop"}).fit(movies())
    other = movies()[["gender", "title", "genres"]].assign(further=object())
    assert_array_equal(encoder.encode(other), encoder.encode(movies()))
    assert_array_equal(encoder.transform(other).toarray(), encoder.transform(movies()).toarray())
    assert encoder.feature_names_in_.tolist() == ["title", "genres", "gender", "year"]
    assert encoder.n_features_in_ == 4


def test_rows_stand_for_themselves():
    """A row is encoded alike alone, in any order, and in a frame without rows."""
    encoder = FeatureEncoder().fit(movies())
    codes, answer = encoder.encode(movies()), encoder.transform(movies()).toarray()
    for i in range(4):
        assert_array_equal(encoder.encode(movies().iloc[[i]]), codes[[i]])
        assert_array_equal(encoder.transform(movies().iloc[[i]]).toarray(), answer[[i]])
    assert encoder.encode(movies()[:0]).shape == (0, codes.shape[1])
    assert encoder.transform(movies()[:0]).shape == (0, answer.shape[1])


def test_arrays_hold_numbers_unless_named():
    X = np.array([[1.0, 4.0], [3.0, 2.0], [5.0, 4.0]])
    encoder = FeatureEncoder({"x1": "category"}).fit(X)
    names = ["x0", "x1=<unknown>", "x1=2.0", "x1=4.0"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.get_feature_names_out(["a", "b"])[:2].tolist() == ["a", "b=<unknown>"]
    assert_array_equal(encoder.encode(X)[:, 1], [3, 2, 3])
    assert not hasattr(encoder, "feature_names_in_")


def test_numbers_of_a_sparse_matrix_are_not_centered():
    dense = np.array([[0, 2.0, 0], [3.0, 0, 0], [0, 0, 0], [1.0, np.nan, 0]])
    for container in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        encoder = FeatureEncoder().fit(container(dense))
        answer = encoder.transform(container(dense))
        expected = np.nan_to_num(dense / np.array([dense[:, 0].std(), np.nanstd(dense[:, 1]), 1]))
        assert_allclose(answer.toarray(), expected, rtol=1e-6)
        assert_allclose(encoder.encode(container(dense)), expected, rtol=1e-6)
        assert_allclose(encoder.transform(dense).toarray(), expected, rtol=1e-6)
    # fitted to a dense array, sparse rows are what they would be as a dense one
    encoder = FeatureEncoder().fit(dense)
    assert_array_equal(
        encoder.transform(sp.csr_array(dense)).toarray(), encoder.transform(dense).toarray()
    )


def test_input_is_left_alone():
    before = movies().assign(tags=[["b", "a"], ["c"], {"d"}, None])
    X = before.copy()
    FeatureEncoder().fit(X).encode(X)
    pd.testing.assert_frame_equal(X, before)
    array = np.array([[1.0, np.nan], [2.0, np.nan]])
    copy = array.copy()
    FeatureEncoder().fit_transform(array)
    assert_array_equal(array, copy)


def test_pickle_save_and_load(tmp_path):
    frame = movies().assign(tags=[["b", "a"], ["c"], {"d"}, None], n=[3, 1, 3, 1], b=[True] * 4)
    encoder = FeatureEncoder({"n": "category"}).fit(frame)
    save(encoder, tmp_path / "encoder")
    for copy in (pickle.loads(pickle.dumps(encoder)), load(tmp_path / "encoder")):
        assert copy.slots_ == encoder.slots_
        assert copy.kinds_ == encoder.kinds_
        assert_array_equal(copy.encode(frame), encoder.encode(frame))
        assert_array_equal(copy.transform(frame).toarray(), encoder.transform(frame).toarray())
        assert_array_equal(copy.get_feature_names_out(), encoder.get_feature_names_out())


def test_a_second_fit_forgets_the_first():
    encoder = FeatureEncoder().fit(movies())
    X = np.array([[1.0], [3.0]])
    assert_array_equal(encoder.fit(X).encode(X), [[-1], [1]])
    assert encoder.slots_ == clone(encoder).fit(X).slots_


def test_many_items_take_a_second_or_two():
    items = make_movies(100, 200, random_state=0).items
    items = pd.concat([items] * 300, ignore_index=True)
    items["title"] += items.index.astype(str)  # 60,000 words
    start = time.process_time()
    encoder = FeatureEncoder().fit(items)
    encoder.transform(items)
    encoder.encode(items)
    assert len(items) == 60_000
    assert time.process_time() - start < 10  # 1.6 s, on a busy machine longer


# ----------------------------------------------------------------------------------- errors


def with_column(values):
    return pd.DataFrame({"x": pd.Series(values, dtype=object), "year": range(len(values))})


@pytest.mark.parametrize(
    ("X", "params", "error", "match"),
    [
        (movies(), {"kinds": {"title": "words"}}, ValueError, r"Unknown kind.*words.*'category'"),
        (movies(), {"kinds": {"title": []}}, ValueError, "Unknown kind"),
        (movies(), {"kinds": {"name": "text"}}, ValueError, r"\['name'\], which X lacks.*'title'"),
        (movies(), {"kinds": ["text"]}, ValueError, "'kinds' parameter"),
        (movies(), {"min_count": 0}, ValueError, "'min_count' parameter"),
        (movies(), {"max_length": 0}, ValueError, "'max_length' parameter"),
        (movies(), {"separator": ""}, ValueError, "separator must not be empty"),
        (movies(), {"kinds": {"title": "number"}}, ValueError, "'title'.*numbers.*holds strings"),
        (movies(), {"kinds": {"year": "text"}}, ValueError, "'year'.*strings.*holds numbers"),
        (movies(), {"kinds": {"year": "tags"}}, ValueError, "collections or strings"),
        (movies()[["year"]], {"kinds": {"year": "drop"}}, ValueError, "drops every column"),
        (movies()[[]], {}, ValueError, "0 column"),
        (movies()[:0], {}, ValueError, "0 row"),
        (with_column(["a", 1]), {}, ValueError, r"'x'.*type\(s\) int, str.*'drop'"),
        (with_column(["a", ["b"]]), {}, ValueError, r"type\(s\) list, str"),
        (with_column([["a"], [1, "b"]]), {}, ValueError, r"type\(s\) int, str"),
        (with_column([["a"], [["b"]]]), {}, ValueError, "list, str"),
        (with_column([[["a"]], [["b"]]]), {}, ValueError, "collections of collections"),
        (with_column([{"a": 1}, {"b": 1}]), {}, ValueError, r"type\(s\) dict"),
        (with_column([1j, 2j]), {}, ValueError, r"type\(s\) complex"),
        (with_column(pd.to_datetime(["2001-01-01"])), {}, ValueError, r"type\(s\) Timestamp"),
        (with_column([np.inf, 1.0]), {}, ValueError, "'x' holds infinite"),
        (with_column([1e200, -1e200]), {}, ValueError, "too large"),
        (pd.DataFrame({0: [1], "a": [2]}), {}, TypeError, r"names .* must be strings; got \[0\]"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, ValueError, r"one name: \['a'\]"),
        (np.array([["F", "M"]]), {}, ValueError, "onvert"),
        (np.array([[np.inf, 1]]), {}, ValueError, "infinity"),
        (np.array([1.0, 2.0]), {}, ValueError, "2D"),
        (sp.csr_array(np.eye(2)), {"kinds": {"x0": "category"}}, ValueError, "X is sparse"),
    ],
)
def test_fit_says_what_is_wrong(X, params, error, match):
    encoder = FeatureEncoder(**params)
    with pytest.raises(error, match=match):
        encoder.fit(X)
    assert not encoder.__sklearn_is_fitted__()


@pytest.mark.parametrize("method", ["transform", "encode"])
def test_new_rows_must_be_of_the_fitted_kinds(method):
    encode = getattr(FeatureEncoder().fit(movies()), method)
    for wrong, match in [
        (movies().drop(columns=["genres", "year"]), r"lacks the column.*\['genres', 'year'\].*'ti"),
        (movies().to_numpy(), "fitted on a frame with the columns.*got ndarray"),
        (movies().assign(year=np.inf), "'year' holds infinite"),
        (movies().assign(year="1995"), "'year'.*needs.*numbers"),
        (movies().assign(gender=1), "'gender' holds numbers, but it held strings in fit"),
        (movies().assign(gender=pd.Series([1, "F", "M", "F"], index=[7, 3, 9, 1])), "int, str"),
        (movies().assign(title=3), "'title'.*needs strings"),
        (movies().assign(year=[1e300, 1, 2, 3]), "too large for float32"),
        (pd.concat([movies(), movies()[["title"]]], axis=1), r"one name: \['title'\]"),
    ]:
        with pytest.raises(ValueError, match=match):
            encode(wrong)
    with pytest.raises(ValueError, match="3 features"):
        getattr(FeatureEncoder().fit(np.eye(2)), method)(np.eye(3))
