"""Encoding of objects as a JSON tree and numbered arrays, and decoding.

JSON's null, booleans, integers, finite floats, strings and arrays stand for None, bool, int, float,
str and list. Everything else is a JSON object with its kind as "type". Arrays, sparse matrices,
frames and estimators have an "id"; repeated occurrences are a "ref" to the id, so that a shared
object is written once and still shared after loading.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline

from sklearn_recsys.persistence import _classes
from sklearn_recsys.persistence._checks import (
    check_fitted,
    check_parameters,
    derive,
    derived_attributes,
)
from sklearn_recsys.persistence._container import MAX_ARRAYS, PLAIN_KINDS, ModelFileError
from sklearn_recsys.persistence._frames import join, n_bytes, pandas_kind, portable, split
from sklearn_recsys.persistence._leaves import LEAF_KINDS, is_plain, leaf_text, parse_leaf

_MAX_DEPTH = 30  # of nested containers; a pipeline in a pipeline takes three levels
_SPARSE = {cls.__name__: cls for cls in (sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix)}
_SPARSE_KINDS = "biufc"
_ROUTING = "_metadata_request"  # the attribute that methods such as `set_fit_request` write


def _saved_parameters(cls, names):
    """Return the parameters that a file holds: all except the cache of a pipeline.

    joblib's cache holds pickles, so a file must not choose where they are read from.
    """
    return [name for name in names if not (name == "memory" and issubclass(cls, Pipeline))]


class Encoder:
    """Turn an object into a tree, and collect the arrays that it refers to."""

    def __init__(self):
        self.arrays = []
        # by id of an object: the object, to keep the id valid, and its number in the file
        self._encoded = {}
        self._open = set()  # ids of the containers around the current value

    def encode(self, value, where):
        """Return the node of a value; raise TypeError that names `where` it cannot be saved."""
        if is_plain(value):
            return value
        try:
            leaf = leaf_text(value)
        except TypeError as error:
            raise _unsaveable(value, where, str(error)) from None
        if leaf is not None:
            return {"type": leaf[0], "value": leaf[1]}
        if id(value) in self._open or len(self._open) >= _MAX_DEPTH:
            raise _unsaveable(value, where, "it contains itself, or is nested too deeply")
        self._open.add(id(value))
        try:
            return self._encode_container(value, where)
        finally:
            self._open.discard(id(value))

    def _encode_container(self, value, where):
        cls = type(value)
        if cls is list:
            return self._items(value, where)
        if cls is tuple:
            return {"type": "tuple", "items": self._items(value, where)}
        if cls in (set, frozenset):
            items = sorted(value, key=repr)  # the iteration order changes from run to run
            return {"type": cls.__name__, "items": self._items(items, where)}
        if cls is dict:
            return {
                "type": "dict",
                "items": [
                    [self.encode(key, f"a key of {where}"), self.encode(item, f"{where}[{key!r}]")]
                    for key, item in value.items()
                ],
            }
        if cls is np.random.RandomState:
            return self._random_state(value, where)
        if id(value) in self._encoded:
            return {"type": "ref", "id": self._encoded[id(value)][1]}
        if type(value) is np.ma.MaskedArray:
            node = self._masked(value, where)
        elif isinstance(value, np.ndarray):
            node = self._array(value, where)
        elif sp.issparse(value):
            node = self._sparse(value, where)
        elif pandas_kind(value) is not None:
            node = self._pandas(value, where)
        elif not isinstance(value, type) and _classes.may_save(cls):
            node = self._object(value, where)
        else:
            raise _unsaveable(value, where)
        number = len(self._encoded)
        self._encoded[id(value)] = value, number
        return {**node, "id": number}

    def _items(self, items, where):
        return [
            item if is_plain(item) else self.encode(item, f"{where}[{index}]")
            for index, item in enumerate(items)
        ]

    def _member(self, array):
        if len(self.arrays) == MAX_ARRAYS:
            raise ValueError(f"A model file can hold at most {MAX_ARRAYS:,} arrays.")
        self.arrays.append(array)
        return len(self.arrays) - 1

    def _array(self, array, where):
        if type(array) not in (np.ndarray, np.memmap):
            raise _unsaveable(array, where, "use a plain ndarray")
        dtype = array.dtype
        if dtype.kind == "O":
            items = self._items(array.ravel().tolist(), where)
            return {"type": "objects", "shape": list(array.shape), "items": items}
        if dtype.kind not in PLAIN_KINDS or not dtype.itemsize:
            raise _unsaveable(array, where, f"dtype {dtype}")
        return {"type": "array", "member": self._member(np.asarray(array))}

    def _masked(self, array, where):
        components = (array.data, np.ma.getmaskarray(array), array.fill_value)
        return {"type": "masked", "parts": [self.encode(item, where) for item in components]}

    def _sparse(self, matrix, where):
        name = type(matrix).__name__
        if _SPARSE.get(name) is not type(matrix) or matrix.ndim != 2:
            raise _unsaveable(matrix, where, "convert it with tocsr()")
        if matrix.dtype.kind not in _SPARSE_KINDS:
            raise _unsaveable(matrix, where, f"dtype {matrix.dtype}")
        nnz = matrix.indptr[-1]
        arrays = (matrix.data[:nnz], matrix.indices[:nnz], matrix.indptr)
        return {
            "type": "sparse",
            "class": name,
            "shape": [int(length) for length in matrix.shape],
            "parts": [self._member(array) for array in arrays],
        }

    def _pandas(self, value, where):
        try:
            components = split(value)
        except TypeError as error:
            raise _unsaveable(value, where, str(error)) from None
        return {"type": pandas_kind(value), "parts": self.encode(components, where)}

    def _random_state(self, random, where):
        state = random.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise _unsaveable(random, where, f"bit generator {state['bit_generator']}")
        return {
            "type": "random_state",
            "key": self._member(state["state"]["key"]),
            "pos": int(state["state"]["pos"]),
            "has_gauss": int(state["has_gauss"]),
            "gauss": float(state["gauss"]),
        }

    def _object(self, value, where):
        cls = type(value)
        built, names = _classes.is_built(cls), _classes.parameter_names(cls)
        try:  # refuse to write what `load` would refuse to read
            check_parameters(value)
        except ValueError as error:
            raise TypeError(f"Cannot save {where}: {error}.") from error
        try:
            check_fitted(value)
        except ValueError as error:
            raise ValueError(f"Cannot save {where}: {error}.") from error
        saved = _saved_parameters(cls, names)
        params = {name: portable(_classes.parameter(value, name), name) for name in saved}
        not_state = {*names, _ROUTING, *derived_attributes(cls)}
        attributes = getattr(value, "__dict__", {})
        state = {k: item for k, item in attributes.items() if k not in not_state}
        if _classes.is_splitter(cls):
            state = {}
        elif _classes.has_hooks(cls) and (state or not built):
            state = {k: item for k, item in value._save_state().items() if k not in not_state}
        routing = getattr(value, _ROUTING, None)
        for name in state:
            problem = _classes.attribute_problem(cls, name)
            if problem:
                raise _unsaveable(state[name], f"{where}.{name}", f"the name {problem}")
        return {
            "type": "object",
            "class": _classes.name_of(cls),
            "params": self._attributes(params, where),
            "state": self._attributes(state, where),
            "routing": routing._serialize() if routing else {},
        }

    def _attributes(self, attributes, where):
        return {name: self.encode(item, f"{where}.{name}") for name, item in attributes.items()}


def _unsaveable(value, where, reason=None):
    cls = type(value)
    return TypeError(
        f"Cannot save {where}: {cls.__module__}.{cls.__qualname__}"
        f"{f' ({reason})' if reason else ''}. Parameters and fitted state must be numbers, "
        "strings, None, lists, tuples, sets, dicts, arrays, csr_arrays, pandas objects and "
        "estimators; your own classes can convert other objects to these, see "
        "sklearn_recsys.persistence."
    )


class Decoder:
    """Turn a tree back into an object, checking every node."""

    def __init__(self, reader, trusted):
        self._array = reader.array
        self._size = reader.size
        self._trusted = trusted
        self._decoded = {}
        self._n_joined = 0  # bytes in pandas objects so far

    def decode(self, node, depth=0):
        """Return the value of a node."""
        if depth > 3 * _MAX_DEPTH:
            raise ModelFileError("its contents are nested too deeply.")
        if is_plain(node):
            return node
        if type(node) is list:  # decoded in place, because it may be most of the file
            for index, item in enumerate(node):
                if not is_plain(item):
                    node[index] = self.decode(item, depth + 1)
            return node
        if type(node) is not dict:
            raise ModelFileError(f"it holds the number {str(node)[:50]}, which is out of range.")
        kind = node.get("type")
        if type(kind) is not str or kind not in _KINDS:
            raise ModelFileError(f"it holds something of the unknown kind {str(kind)[:100]!r}.")
        if set(node) - {"type"} != _FIELDS.get(kind, {"value"}):
            raise ModelFileError(f"its description of a {kind} has the wrong fields.")
        if kind in LEAF_KINDS:
            return parse_leaf(kind, node["value"])
        value = getattr(self, f"_decode_{kind}")(node, depth + 1)
        if "id" in node and kind != "ref":
            if type(node["id"]) is not int or node["id"] in self._decoded:
                raise ModelFileError(f"it numbers a {kind} {str(node['id'])[:50]!r}.")
            self._decoded[node["id"]] = value
        return value

    def _decode_ref(self, node, depth):
        if type(node["id"]) is not int or node["id"] not in self._decoded:
            raise ModelFileError(f"it refers to {str(node['id'])[:50]!r}, which does not exist.")
        return self._decoded[node["id"]]

    def _list(self, node, depth):
        if type(node) is not list:
            raise ModelFileError(f"it holds a {type(node).__name__} instead of a list.")
        return self.decode(node, depth)

    def _decode_tuple(self, node, depth):
        return tuple(self._list(node["items"], depth))

    def _decode_set(self, node, depth):
        return set(self._list(node["items"], depth))

    def _decode_frozenset(self, node, depth):
        return frozenset(self._list(node["items"], depth))

    def _decode_dict(self, node, depth):
        items = self._list(node["items"], depth)
        if not all(type(pair) is list and len(pair) == 2 for pair in items):
            raise ModelFileError("it holds a dict whose items are not pairs.")
        result = dict(items)
        if len(result) != len(items):
            raise ModelFileError("it holds a dict with a duplicate key.")
        return result

    def _decode_array(self, node, depth):
        return self._array(node["member"])

    def _decode_objects(self, node, depth):
        items = self._list(node["items"], depth)
        shape = _shape(node["shape"])
        if math.prod(shape) != len(items):
            raise ModelFileError(f"it holds {len(items)} objects as an array of shape {shape}.")
        return np.fromiter(items, dtype=object, count=len(items)).reshape(shape)

    def _decode_masked(self, node, depth):
        items = self._list(node["parts"], depth)
        if len(items) != 3 or not all(type(item) is np.ndarray for item in items[:2]):
            raise ModelFileError("it holds an invalid masked array.")
        data, mask, fill_value = items
        if mask.dtype != bool or data.shape != mask.shape:
            raise ModelFileError("it holds an invalid masked array.")
        return np.ma.MaskedArray(data, mask, fill_value=fill_value)

    def _decode_sparse(self, node, depth):
        shape = _shape(node["shape"])
        if node["class"] not in _SPARSE or len(shape) != 2 or type(node["parts"]) is not list:
            raise ModelFileError("it holds a sparse matrix of an unknown format.")
        arrays = [self._array(number) for number in node["parts"]]
        return _sparse(_SPARSE[node["class"]], arrays, shape)

    def _decode_frame(self, node, depth):
        return self._join("frame", node, depth)

    def _decode_series(self, node, depth):
        return self._join("series", node, depth)

    def _decode_index(self, node, depth):
        return self._join("index", node, depth)

    def _join(self, kind, node, depth):
        components = self.decode(node["parts"], depth)
        self._n_joined += n_bytes(components)
        if self._n_joined > 4 * self._size + 2**20:  # many columns may refer to one array
            raise ModelFileError("it holds pandas objects that are larger than the file.")
        return join(kind, components)

    def _decode_random_state(self, node, depth):
        key = self._array(node["key"])
        pos, has_gauss, gauss = node["pos"], node["has_gauss"], node["gauss"]
        # numpy reads its state at `pos` without checking bounds
        types_match = type(pos) is int and type(has_gauss) is int and type(gauss) is float
        if key.dtype != np.uint32 or key.shape != (624,) or not types_match or not 0 <= pos <= 624:
            raise ModelFileError("it holds an invalid random state.")
        random = np.random.RandomState(0)
        random.set_state(("MT19937", key, pos, has_gauss, gauss))
        return random

    def _decode_object(self, node, depth):
        cls = _classes.class_of(node["class"], self._trusted)
        if not _classes.may_save(cls):
            raise ModelFileError(f"it holds a {cls.__name__}, which is not an estimator.")
        params, state = (self._attributes(node[key], depth) for key in ("params", "state"))
        cls, params, state = _classes.updated(cls, params, state)
        built, names = _classes.is_built(cls), _classes.parameter_names(cls)
        unknown = sorted(set(params) - set(_saved_parameters(cls, names)))
        if unknown:
            raise ModelFileError(f"{cls.__name__} has no parameter {unknown[0][:100]!r}.")
        not_saved = {_ROUTING, *derived_attributes(cls)}
        for name in state:
            problem = "is a parameter" if name in names else _classes.attribute_problem(cls, name)
            if name in not_saved:
                problem = "is not read from files"
            if problem:
                raise ModelFileError(f"the attribute {name[:100]!r} of a {cls.__name__} {problem}.")
        try:
            value = cls(**params) if built else cls.__new__(cls)
            check_parameters(value)
            if built and cls not in self._trusted:
                _classes.check_constants(value, state)
            if _classes.has_hooks(cls) and (state or not built):
                value._load_state(state)
            else:
                vars(value).update(state)
            check_fitted(value)
            derive(value)
        except ValueError as error:
            raise ModelFileError(f"its {cls.__name__} is unusable: {error!s:.300}.") from error
        _set_routing(value, node["routing"])
        return value

    def _attributes(self, node, depth):
        if type(node) is not dict:
            raise ModelFileError("it holds an object whose attributes are not a JSON object.")
        return {name: self.decode(item, depth) for name, item in node.items()}


_FIELDS = {
    "ref": {"id"},
    "tuple": {"items"},
    "set": {"items"},
    "frozenset": {"items"},
    "dict": {"items"},
    "array": {"member", "id"},
    "objects": {"shape", "items", "id"},
    "masked": {"parts", "id"},
    "sparse": {"class", "shape", "parts", "id"},
    "frame": {"parts", "id"},
    "series": {"parts", "id"},
    "index": {"parts", "id"},
    "random_state": {"key", "pos", "has_gauss", "gauss"},
    "object": {"class", "params", "state", "routing", "id"},
}


_KINDS = LEAF_KINDS | set(_FIELDS)


def _shape(node):
    if type(node) is not list or len(node) > 32:
        raise ModelFileError("it holds an array of an invalid shape.")
    if not all(type(length) is int and 0 <= length < 2**63 for length in node):
        raise ModelFileError(f"it holds an array of shape {str(node)[:100]}.")
    return tuple(node)


def _sparse(cls, arrays, shape):
    """Return a compressed sparse matrix after checks of its arrays that scipy does not make."""
    data, indices, indptr = arrays
    major, minor = shape if cls.__name__.startswith("csr") else shape[::-1]
    is_valid = (
        all(array.dtype in (np.int32, np.int64) for array in (indices, indptr))
        and data.dtype.kind in _SPARSE_KINDS
        and data.ndim == indices.ndim == indptr.ndim == 1
        and len(indptr) == major + 1
        and indptr[0] == 0
        and len(data) == len(indices) == indptr[-1]
        and bool(np.all(indptr[:-1] <= indptr[1:]))
        and (not len(indices) or (indices.min() >= 0 and indices.max() < minor))
    )
    if not is_valid:
        raise ModelFileError(f"it holds an invalid {cls.__name__}.")
    matrix = cls((data, indices, indptr), shape=shape)
    if matrix.dtype != data.dtype:
        raise ModelFileError(f"it holds a {cls.__name__} with values of dtype {data.dtype}.")
    matrix.indices, matrix.indptr = indices, indptr  # scipy may have changed their dtype
    return matrix


def _set_routing(value, routing):
    """Restore the metadata requests made by methods such as `set_fit_request`."""
    if type(routing) is not dict or not all(type(item) is dict for item in routing.values()):
        raise ModelFileError("it holds invalid metadata requests.")
    if not routing:
        return
    requests = value._get_metadata_request()
    for method, aliases in routing.items():
        for param, alias in aliases.items():
            if type(alias) not in (bool, str, type(None)):
                raise ModelFileError("it holds invalid metadata requests.")
            getattr(requests, method).add_request(param=param, alias=alias)
    setattr(value, _ROUTING, requests)
