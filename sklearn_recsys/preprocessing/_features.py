"""FeatureEncoder: a frame of features of items or users as numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_recsys.preprocessing._feature_columns import (
    KINDS,
    MAX_CODES,
    count_codes,
    learn_vocabulary,
    look_up,
    read_numbers,
    read_rows,
)
from sklearn_recsys.preprocessing._feature_frames import (
    find_kinds,
    frame_to_encode,
    frame_to_fit,
)
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._html import HTMLMixin
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._sklearn import Interval, check_feature_names_in, fit_context
from sklearn_recsys.utils._state import Check, Instance, Labels, Maybe, Number, Optional, Size

_UNKNOWN = "<unknown>"
_WORDS = r"(?u)\b\w+\b"  # scikit-learn's own pattern would drop words of one letter


class FeatureEncoder(HTMLMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Encode a frame of features of items or users as numbers.

    A column is of one of these kinds:

    - ``"number"``: a measurement; it is standardized, and missing values become 0, the mean;
    - ``"category"``: one of several values; a missing or empty value counts as unknown;
    - ``"tags"``: a set of values, as a list, tuple, set or array, or as a string with separators;
    - ``"text"``: words of letters, digits and underscores, converted to lowercase;
    - ``"drop"``: the column is ignored.

    The encoder has two outputs. `transform` returns a sparse matrix for models that weight columns:
    numbers, and one column per category, tag and word. `encode` returns integer codes for models
    with embeddings. Both reserve a column or code for unknown categories, tags and words.

    Parameters
    ----------
    kinds : dict of str to str, default=None
        The kinds of some columns, by name. The others are inferred by the first rule that applies:

        1. booleans, ``pandas.Categorical`` and objects or strings without any value are categories;
        2. numbers are numbers, and so are integers: declare an id as a category, or drop it;
        3. lists, tuples, sets and arrays are tags;
        4. strings are tags if at least a tenth of them contain the separator;
        5. strings are text if at least half of them have two or more words, separated by
           whitespace, and at least half as many of them are distinct as there are strings;
        6. other strings are categories.

        Missing values and empty strings are ignored. Any other type, or a mix of types, is an
        error.
    separator : str, default="|"
        The separator of tags in a string. Whitespace around tags is stripped.
    min_count : int, default=1
        Categories, tags and words that are in fewer rows in `fit` are treated as unknown.
    max_words : int, default=20_000
        Maximum size of the vocabulary of a text column: the words in the most rows, ties in
        alphabetical order.
    max_length : int, default=16
        Maximum number of words of a text that `encode` returns, from its beginning. `transform`
        counts all words.

    Attributes
    ----------
    kinds_ : dict of str to str
        The kind of each column seen in `fit`, in their order.
    vocabularies_ : dict of str to ndarray
        The sorted categories, tags or words of each column that is not a number.
    scaler_ : StandardScaler or None
        Standardizes the numbers; None if no column is a number.
    slots_ : list of tuple
        The layout of the columns of `encode`: ``(name, kind, start, stop, n_codes)``, the name and
        the kind of a column of the frame, its output columns ``start`` to ``stop`` (exclusive), and
        its number of codes including 0 and 1, which is the number of rows of an embedding table; 0
        for numbers. Numbers come first, then all other columns in the order of the frame.
    unknown_columns_ : ndarray of int64
        The columns of `transform` that stand for unknown values: one for each column of the frame
        that is not a number.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str of shape (n_columns,)
        Names of the columns seen in `fit`, if it was given a DataFrame.

    See Also
    --------
    InteractionEncoder : Encodes the interactions.
    sklearn.compose.ColumnTransformer : Applies any transformer to chosen columns.

    Notes
    -----
    Columns of a frame are matched by name: their order in later frames does not matter, and extra
    columns are ignored, as by scikit-learn's ColumnTransformer. The columns of an array or a sparse
    matrix are called x0, x1, … and are numbers unless `kinds` says otherwise. Numbers of a sparse
    matrix are scaled but not centered, so that zeros stay zeros.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_recsys.preprocessing import FeatureEncoder
    >>> items = pd.DataFrame({
    ...     "title": ["Toy Story", "The Story of Us", "Heat"],
    ...     "genres": ["Animation|Comedy", "Comedy", "Crime"],
    ...     "year": [1995, 1999, 1995],
    ... })
    >>> encoder = FeatureEncoder(max_length=4).fit(items)
    >>> encoder.kinds_
    {'title': 'text', 'genres': 'tags', 'year': 'number'}
    >>> encoder.get_feature_names_out()[:6].tolist()
    ['year', 'title:<unknown>', 'title:heat', 'title:of', 'title:story', 'title:the']
    >>> print(encoder.transform(items).toarray()[:, 0].round(2))  # years, standardized
    [-0.71  1.41 -0.71]
    >>> encoder.slots_
    [('year', 'number', 0, 1, 0), ('title', 'text', 1, 5, 8), ('genres', 'tags', 5, 7, 5)]
    >>> encoder.encode(pd.DataFrame({"title": ["A Toy"], "genres": ["Drama"], "year": [1999]}))
    array([[1.4142135, 1.       , 6.       , 0.       , 0.       , 1.       ,
            0.       ]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "kinds": [dict, None],
        "separator": [str],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "max_words": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, kinds=None, *, separator="|", min_count=1, max_words=20_000, max_length=16):
        self.kinds = kinds
        self.separator = separator
        self.min_count = min_count
        self.max_words = max_words
        self.max_length = max_length

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "slots_")

    def _fitted_state(self):
        return {
            "n_features_in_": Size("n_columns"),
            "feature_names_in_": Optional(Labels("n_columns", strings=True)),
            "kinds_": Check(self._check_kinds),
            "vocabularies_": Check(self._check_vocabularies),
            "scaler_": Maybe(Instance(StandardScaler)),
            "slots_": Check(self._check_slots),
        }

    def _check_kinds(self, kinds):
        if not isinstance(kinds, dict) or len(kinds) != self.n_features_in_:
            raise ValueError("does not name the kind of each column")
        if not all(isinstance(name, str) and kind in KINDS for name, kind in kinds.items()):
            raise ValueError("has a column whose kind is unknown")

    def _check_vocabularies(self, vocabularies):
        coded = [name for name, kind in self.kinds_.items() if kind not in ("number", "drop")]
        if not isinstance(vocabularies, dict) or list(vocabularies) != coded:
            raise ValueError("does not match the columns in kinds_")
        for vocabulary in vocabularies.values():
            Labels("n_values").check(vocabulary, {})

    def _check_slots(self, slots):
        numbers = [name for name, kind in self.kinds_.items() if kind == "number"]
        if numbers and getattr(self.scaler_, "n_features_in_", None) != len(numbers):
            raise ValueError("does not agree with scaler_")
        expected = [(name, "number", start, start + 1, 0) for start, name in enumerate(numbers)]
        start = len(numbers)
        for (name, vocabulary), slot in zip(self.vocabularies_.items(), slots[start:], strict=True):
            stop = slot[3]
            Number(start + 1, start + MAX_CODES, type=Integral).check(stop, {})
            expected.append((name, self.kinds_[name], start, stop, len(vocabulary) + 2))
            start = stop
        if slots != expected:
            raise ValueError("does not agree with kinds_ and vocabularies_")

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Learn the kinds of the columns, their vocabularies, and the scaling of numbers.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            The features.
        y : None
            Ignored.

        Returns
        -------
        self : FeatureEncoder
            The fitted encoder.
        """
        if is_frame(X):
            X = as_pandas_frame(X, "X")
        frame = frame_to_fit(self, X)
        kinds = find_kinds(frame, self.kinds, self.separator)
        numbers = [column for column, kind in kinds.items() if kind == "number"]
        scaler = _fit_scaler(_stack(frame, numbers)) if numbers else None
        slots = [(column, "number", start, start + 1, 0) for start, column in enumerate(numbers)]
        vocabularies = {}
        start = len(slots)
        for column, kind in kinds.items():
            if kind in {"number", "drop"}:
                continue
            rows = self._rows(frame[column], kind)
            max_size = self.max_words if kind == "text" else None
            vocabularies[column] = learn_vocabulary(rows, self.min_count, max_size)
            n_codes = count_codes(vocabularies[column], column)
            longest = max(1, *map(len, rows)) if rows else 1
            stop = start + {"category": 1, "tags": longest, "text": self.max_length}[kind]
            slots.append((column, kind, start, stop, n_codes))
            start = stop
        validate_data(self, X, reset=True, skip_check_array=True)
        self.kinds_, self.vocabularies_, self.scaler_ = kinds, vocabularies, scaler
        self.slots_ = slots
        return self

    def transform(self, X) -> sp.csr_array:
        """Encode features as a sparse matrix.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            Features with the columns seen in `fit`.

        Returns
        -------
        encoded : csr_array of float32 of shape (n_rows, n_features_out)
            Standardized numbers; then, for each other column, one column for unknown values and one
            for each value of the vocabulary: 1 if a row has the category or tag, or the number of
            times it has the word.
        """
        check_is_fitted(self)
        frame = frame_to_encode(self, X)
        blocks = [sp.csr_array(self._standardized(frame))]
        for column, kind, _, _, n_codes in self.slots_:
            if kind == "number":
                continue
            codes, lengths = self._codes(frame[column], kind)
            indptr = np.append(0, np.cumsum(lengths))
            ones = np.ones(len(codes), dtype=np.float32)
            counts = sp.csr_array((ones, codes - 1, indptr), shape=(len(lengths), n_codes - 1))
            counts.sum_duplicates()
            if kind != "text":
                counts.data[:] = 1
            blocks.append(counts)
        return sp.hstack(blocks, format="csr", dtype=np.float32)

    def encode(self, X) -> NDArray[np.float32]:
        """Encode features as integer codes, for models with embeddings.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            Features with the columns seen in `fit`.

        Returns
        -------
        codes : ndarray of float32 of shape (n_rows, n_slots)
            The columns that `slots_` lists: one standardized number; one code of a category; the
            codes of tags, in their order (those of a set by name), in as many columns as the
            longest set in `fit` had tags; the codes of the first `max_length` words. Longer lists
            are truncated. Code 0 is padding, 1 is unknown, and 2, 3, … are the values of
            `vocabularies_`.
        """
        check_is_fitted(self)
        frame = frame_to_encode(self, X)
        n_rows, n_slots = frame.shape[0], self.slots_[-1][3]
        check_memory(4 * n_rows * n_slots, "The codes", "Use transform, which is sparse.")
        encoded = np.zeros((n_rows, n_slots), dtype=np.float32)
        numbers = self._standardized(frame)
        encoded[:, : numbers.shape[1]] = numbers.toarray() if sp.issparse(numbers) else numbers
        for column, kind, start, stop, _ in self.slots_:
            if kind == "number":
                continue
            codes, lengths = self._codes(frame[column], kind)
            rows = np.repeat(np.arange(n_rows), lengths)
            first = np.repeat(np.cumsum(lengths) - lengths, lengths)
            columns = start + np.arange(len(codes)) - first
            fits = columns < stop
            encoded[rows[fits], columns[fits]] = codes[fits]
        return encoded

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of an array; a frame keeps its own.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            For example ``"year"``, ``"gender=F"``, ``"genres=Comedy"``, ``"title:toy"``, and
            ``"gender=<unknown>"`` for unknown values.
        """
        check_is_fitted(self)
        input_names = check_feature_names_in(self, input_features)
        input_names = dict(zip(self.kinds_, input_names, strict=True))
        names = []
        for column, kind, *_ in self.slots_:
            if kind == "number":
                names.append(input_names[column])
                continue
            prefix = input_names[column] + (":" if kind == "text" else "=")
            vocabulary = self.vocabularies_[column].tolist()
            names.extend(f"{prefix}{value}" for value in [_UNKNOWN, *vocabulary])
        return np.array(names, dtype=object)

    @property
    def unknown_columns_(self):
        """The indices of the columns of `transform` that stand for unknown values."""
        columns, start = [], 0
        for _, kind, _, _, n_codes in self.slots_:
            if kind != "number":
                columns.append(start)
            start += 1 if kind == "number" else n_codes - 1
        return np.array(columns, dtype=np.int64)

    def _rows(self, series, kind):
        analyzer = CountVectorizer(token_pattern=_WORDS).build_analyzer()
        return read_rows(series, kind, self.separator, analyzer)

    def _codes(self, series, kind):
        """Return the codes of all values of a column, row by row, and how many each row has."""
        vocabulary = self.vocabularies_[series.name]
        return look_up(self._rows(series, kind), vocabulary, series.name)

    def _standardized(self, frame):
        """Return the standardized numbers, sparse if `frame` is sparse, else dense."""
        numbers = [column for column, kind, *_ in self.slots_ if kind == "number"]
        if not numbers:
            return np.empty((frame.shape[0], 0), dtype=np.float32)
        if not frame.shape[0]:
            return np.empty((0, len(numbers)), dtype=np.float32)
        scaled = self.scaler_.transform(_stack(frame, numbers))
        values = scaled.data if sp.issparse(scaled) else scaled
        values[np.isnan(values)] = 0
        if values.size and np.abs(values).max() > np.finfo(np.float32).max:
            raise ValueError("X holds numbers that are too large for float32 when standardized.")
        return scaled.astype(np.float32)


def fit_encoder(encoder, features):
    """Return a fitted clone of `encoder`; None stands for a FeatureEncoder with default parameters.

    Parameters
    ----------
    encoder : transformer or None
        A constructor parameter, which is not changed.
    features : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
        What to fit it to.

    Returns
    -------
    fitted : transformer
    """
    return (FeatureEncoder() if encoder is None else clone(encoder)).fit(features)


def _stack(frame, columns):
    """Return columns of numbers as one float64 matrix, a copy unless it is sparse."""
    if sp.issparse(frame):
        return frame
    return np.column_stack([read_numbers(frame[column]) for column in columns])


def _fit_scaler(numbers):
    """Return a fitted StandardScaler; columns without any number have mean 0."""
    sparse = sp.issparse(numbers)
    if not sparse:
        numbers[:, np.isnan(numbers).all(axis=0)] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        scaler = StandardScaler(with_mean=not sparse).fit(numbers)
    if not np.isfinite(scaler.var_).all():
        raise ValueError("X holds numbers that are too large to be standardized.")
    return scaler
