"""Features of items or users, from a frame to numbers."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_recsys.preprocessing._feature_columns import (
    KINDS,
    learn_vocabulary,
    look_up,
    read_numbers,
    read_rows,
    recognise,
)
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._sklearn import Interval, check_feature_names_in, fit_context
from sklearn_recsys.utils._sparse import as_csr, canonical_csr
from sklearn_recsys.utils._state import Check, Instance, Labels, Maybe, Number, Optional, Size
from sklearn_recsys.utils.validation import check_memory

_UNKNOWN = "<unknown>"
_MAX_CODES = 2**24  # float32 holds the integers up to here exactly
_WORDS = r"(?u)\b\w+\b"  # scikit-learn's own pattern would drop words of one letter


class FeatureEncoder(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Encode a frame of features of items or users as numbers.

    A column is of one of these kinds:

    - ``"number"``: a measure; it is standardised, and a missing one becomes 0, the mean;
    - ``"category"``: one of some values; a missing or empty one counts as unknown;
    - ``"tags"``: a set of values, as a list, tuple, set or array, or as a string with separators;
    - ``"text"``: words, lower-case, of letters, digits and underscores;
    - ``"drop"``: left out.

    The encoder has two answers. `transform` returns a sparse matrix for models that weigh columns:
    numbers, one column per category, tag and word. `encode` returns codes for models that have
    embeddings. Both have a place for categories, tags and words that are unknown.

    Parameters
    ----------
    kinds : dict of str to str, default=None
        The kinds of some columns, by name. The others are recognised, by the first rule that holds:

        1. booleans, ``pandas.Categorical`` and objects or strings without any value are categories;
        2. numbers are numbers, integers too: an id has to be named a category, or dropped;
        3. lists, tuples, sets and arrays are tags;
        4. strings are tags if at least a tenth of them contain the separator;
        5. strings are text if at least half of them have two words or more, by white space, and
           there are at least half as many distinct ones as there are strings;
        6. other strings are categories.

        Missing values and empty strings don't count. Anything else, and values of mixed types, are
        errors.
    separator : str, default="|"
        What stands between the tags of a string. White space around tags is dropped.
    min_count : int, default=1
        Categories, tags and words of fewer rows in `fit` are unknown.
    max_words : int, default=20_000
        The most words that a column of text knows: those of most rows, ties in alphabetical order.
    max_length : int, default=16
        Words of a text that `encode` keeps, the first ones. `transform` counts all.

    Attributes
    ----------
    kinds_ : dict of str to str
        The kind of each column seen in `fit`, in their order.
    vocabularies_ : dict of str to ndarray
        The known categories, tags or words of each column that has some, sorted.
    scaler_ : StandardScaler or None
        Standardises the numbers; None if there are none.
    slots_ : list of tuple
        What the columns of `encode` are: ``(name, kind, start, stop, n_codes)``, the name and the
        kind of a column of the frame, its columns ``start`` to ``stop`` (exclusive), and how many
        codes it has, 0 and 1 included, which is the size of an embedding; 0 for numbers. Numbers
        come first, then all others in the frame's order.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of str of shape (n_columns,)
        Their names, if there were any.

    See Also
    --------
    InteractionEncoder : The interactions themselves.
    sklearn.compose.ColumnTransformer : For other transformers, column by column.

    Notes
    -----
    Columns of a frame are matched by name: their order in later frames is free, and further columns
    are ignored, as by scikit-learn's ColumnTransformer. An array or a sparse matrix has numbers in
    its columns, which are called x0, x1, …, unless `kinds` names another kind. Numbers of a sparse
    matrix are scaled but not centred, so that zeros stay zeros.

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
    >>> encoder.transform(items).shape
    (3, 12)
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
            raise ValueError("does not say the kind of each column")
        if not all(isinstance(name, str) and kind in KINDS for name, kind in kinds.items()):
            raise ValueError("has a column whose kind is unknown")

    def _check_vocabularies(self, vocabularies):
        coded = [name for name, kind in self.kinds_.items() if kind not in ("number", "drop")]
        if not isinstance(vocabularies, dict) or list(vocabularies) != coded:
            raise ValueError("is not that of the columns")
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
            Number(start + 1, start + _MAX_CODES, type=Integral).check(stop, {})
            expected.append((name, self.kinds_[name], start, stop, len(vocabulary) + 2))
            start = stop
        if slots != expected:
            raise ValueError("does not agree with kinds_ and vocabularies_")

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the kinds of the columns, their vocabularies, and the scale of numbers.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            The features.
        y : None
            Ignored.

        Returns
        -------
        self : FeatureEncoder
        """
        if is_frame(X):
            X = as_pandas_frame(X, "X")
        frame = self._new_frame(X)
        kinds = self._find_kinds(frame)
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
            n_codes = len(vocabularies[column]) + 2
            if n_codes > _MAX_CODES:
                raise ValueError(
                    f"Column {column!r} has {n_codes:,} codes, but float32 tells no more than "
                    f"{_MAX_CODES:,} apart. Raise min_count, or drop the column."
                )
            longest = max(1, *map(len, rows)) if rows else 1
            stop = start + {"category": 1, "tags": longest, "text": self.max_length}[kind]
            slots.append((column, kind, start, stop, n_codes))
            start = stop
        validate_data(self, X, reset=True, skip_check_array=True)
        self.kinds_, self.vocabularies_, self.scaler_ = kinds, vocabularies, scaler
        self.slots_ = slots
        return self

    def transform(self, X):
        """Encode features as a sparse matrix.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            Features with the columns that `fit` has seen.

        Returns
        -------
        encoded : csr_array of float32 of shape (n_rows, n_features_out)
            Numbers, standardised; then for each other column what is unknown and what is known:
            whether a row has the category or tag, how often it has the word.
        """
        check_is_fitted(self)
        frame = self._frame(X)
        parts = [sp.csr_array(self._standardised(frame))]
        for column, kind, _, _, n_codes in self.slots_:
            if kind == "number":
                continue
            codes, lengths = self._codes(frame[column], kind)
            indptr = np.append(0, np.cumsum(lengths))
            ones = np.ones(len(codes), dtype=np.float32)
            part = sp.csr_array((ones, codes - 1, indptr), shape=(len(lengths), n_codes - 1))
            part.sum_duplicates()
            if kind != "text":
                part.data[:] = 1
            parts.append(part)
        return sp.hstack(parts, format="csr", dtype=np.float32)

    def encode(self, X):
        """Encode features as codes, for models that have embeddings.

        Parameters
        ----------
        X : {DataFrame, array-like, sparse matrix} of shape (n_rows, n_columns)
            Features with the columns that `fit` has seen.

        Returns
        -------
        codes : ndarray of float32 of shape (n_rows, n_slots)
            The columns that `slots_` lists: a number in one column, standardised; the code of a
            category in one; the codes of tags, in their order (a set's by name), in as many as the
            longest set in `fit` had; the codes of words in `max_length`. What is too long is cut.
            0 fills up, 1 is unknown, and 2, 3, … are the values of `vocabularies_`.
        """
        check_is_fitted(self)
        frame = self._frame(X)
        n_rows, n_slots = frame.shape[0], self.slots_[-1][3]
        check_memory(4 * n_rows * n_slots, "The codes", "Use transform, which is sparse.")
        encoded = np.zeros((n_rows, n_slots), dtype=np.float32)
        numbers = self._standardised(frame)
        encoded[:, : numbers.shape[1]] = numbers.toarray() if sp.issparse(numbers) else numbers
        for column, kind, start, stop, _ in self.slots_:
            if kind == "number":
                continue
            codes, lengths = self._codes(frame[column], kind)
            rows = np.repeat(np.arange(n_rows), lengths)
            place = start + np.arange(len(codes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            kept = place < stop
            encoded[rows[kept], place[kept]] = codes[kept]
        return encoded

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of an array; those of a frame are known.

        Returns
        -------
        names : ndarray of str of shape (n_features_out,)
            ``"year"``, ``"gender=F"``, ``"genres=Comedy"``, ``"title:toy"``, and for what is
            unknown ``"gender=<unknown>"``.
        """
        check_is_fitted(self)
        given = check_feature_names_in(self, input_features)
        given = dict(zip(self.kinds_, given, strict=True))
        names = []
        for column, kind, *_ in self.slots_:
            if kind == "number":
                names.append(given[column])
                continue
            sign = ":" if kind == "text" else "="
            known = self.vocabularies_[column].tolist()
            names.extend(f"{given[column]}{sign}{value}" for value in [_UNKNOWN, *known])
        return np.array(names, dtype=object)

    def _unknown_columns(self):
        """Return which columns of `transform` stand for what is unknown."""
        columns, start = [], 0
        for _, kind, _, _, n_codes in self.slots_:
            if kind != "number":
                columns.append(start)
            start += 1 if kind == "number" else n_codes - 1
        return np.array(columns, dtype=np.int64)

    def _new_frame(self, X):
        """Return what is fitted to: a frame of features, or a sparse matrix of numbers."""
        if not isinstance(X, pd.DataFrame):
            X = check_array(
                as_csr(X),
                accept_sparse="csr",
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                estimator=self,
                input_name="X",
            )
            return canonical_csr(X) if sp.issparse(X) else _named(X)
        if X.shape[0] == 0 or X.shape[1] == 0:
            raise ValueError(f"X has {X.shape[0]} row(s) and {X.shape[1]} column(s) to learn from.")
        odd = [column for column in X.columns if not isinstance(column, str)]
        if odd:
            raise TypeError(
                f"The columns of a frame of features need names that are strings; got {odd[:5]}. "
                "Rename them: X.columns = X.columns.astype(str)."
            )
        if not X.columns.is_unique:
            twice = X.columns[X.columns.duplicated()].unique()
            raise ValueError(f"X has several columns of one name: {list(twice)}.")
        return X

    def _frame(self, X):
        """Return what is encoded, in the form of `_new_frame`."""
        if is_frame(X):
            X = as_pandas_frame(X, "X")
        if hasattr(self, "feature_names_in_"):
            used = [column for column, kind in self.kinds_.items() if kind != "drop"]
            if not isinstance(X, pd.DataFrame):
                raise ValueError(
                    f"FeatureEncoder was fitted to a frame with the columns {used}; got "
                    f"{type(X).__name__} without names of columns."
                )
            missing = [column for column in used if column not in X.columns]
            if missing:
                raise ValueError(
                    f"X lacks the column(s) {missing} that FeatureEncoder was fitted to; its "
                    f"columns are {list(X.columns)}."
                )
            twice = [column for column in used if X[column].ndim != 1]
            if twice:
                raise ValueError(f"X has several columns of one name: {twice}.")
            return X
        X = validate_data(
            self,
            as_csr(X),
            accept_sparse="csr",
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            reset=False,
        )
        if not sp.issparse(X):
            return _named(X)
        if self.scaler_ is not None and not self.scaler_.with_mean:
            return canonical_csr(X)
        check_memory(8 * X.shape[0] * X.shape[1], "X, as a dense array,", "Use fewer rows.")
        return _named(X.toarray())

    def _find_kinds(self, frame):
        """Return the kind of each column: as named, or recognised."""
        if not self.separator:
            raise ValueError('separator must not be empty; the default is "|".')
        named = self.kinds or {}
        wrong = [kind for kind in named.values() if kind not in KINDS]
        if wrong:
            raise ValueError(f"Unknown kind(s) {wrong}; known are {list(KINDS)}.")
        if sp.issparse(frame):
            if named:
                raise ValueError("kinds need a frame or a dense array; X is sparse.")
            return {f"x{i}": "number" for i in range(frame.shape[1])}
        absent = [column for column in named if column not in frame.columns]
        if absent:
            raise ValueError(
                f"kinds names {absent}, which X lacks; its columns are {list(frame.columns)}."
            )
        kinds = {
            column: named[column] if column in named else recognise(frame[column], self.separator)
            for column in frame.columns
        }
        if set(kinds.values()) == {"drop"}:
            raise ValueError("kinds drops every column of X.")
        return kinds

    def _rows(self, series, kind):
        analyzer = CountVectorizer(token_pattern=_WORDS).build_analyzer()
        return read_rows(series, kind, self.separator, analyzer)

    def _codes(self, series, kind):
        """Return the codes of a column, row after row, and how many each row has."""
        vocabulary = self.vocabularies_[series.name]
        return look_up(self._rows(series, kind), vocabulary, series.name)

    def _standardised(self, frame):
        """Return the columns of numbers, dense or sparse as `frame` is."""
        numbers = [column for column, kind, *_ in self.slots_ if kind == "number"]
        if not numbers:
            return np.empty((frame.shape[0], 0), dtype=np.float32)
        if not frame.shape[0]:
            return np.empty((0, len(numbers)), dtype=np.float32)
        scaled = self.scaler_.transform(_stack(frame, numbers))
        values = scaled.data if sp.issparse(scaled) else scaled
        values[np.isnan(values)] = 0
        if values.size and np.abs(values).max() > np.finfo(np.float32).max:
            raise ValueError("X holds numbers that are too large for float32 when standardised.")
        return scaled.astype(np.float32)


def _named(X):
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])


def _stack(frame, columns):
    """Return columns of numbers as one float64 matrix, new unless it is sparse."""
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
        raise ValueError("X holds numbers that are too large to be standardised.")
    return scaler
