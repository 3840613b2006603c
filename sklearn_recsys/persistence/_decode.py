"""Decoding of objects from a tree and arrays, see `_tree`."""

from __future__ import annotations

import math

import numpy as np

from sklearn_recsys.persistence import _classes
from sklearn_recsys.persistence._checks import (
    check_fitted,
    check_parameters,
    derive,
    derived_attributes,
)
from sklearn_recsys.persistence._container import ModelFileError
from sklearn_recsys.persistence._frames import join, n_bytes
from sklearn_recsys.persistence._leaves import LEAF_KINDS, is_plain, parse_leaf
from sklearn_recsys.persistence._tree import (
    MAX_DEPTH,
    ROUTING,
    SPARSE,
    SPARSE_KINDS,
    saved_parameters,
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
        if depth > 3 * MAX_DEPTH:
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
        if node["class"] not in SPARSE or len(shape) != 2 or type(node["parts"]) is not list:
            raise ModelFileError("it holds a sparse matrix of an unknown format.")
        arrays = [self._array(number) for number in node["parts"]]
        return _sparse(SPARSE[node["class"]], arrays, shape)

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
        unknown = sorted(set(params) - set(saved_parameters(cls, names)))
        if unknown:
            raise ModelFileError(f"{cls.__name__} has no parameter {unknown[0][:100]!r}.")
        not_saved = {ROUTING, *derived_attributes(cls)}
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
                _classes.load_state(value, state)
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
        and data.dtype.kind in SPARSE_KINDS
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
        if not hasattr(vars(requests).get(method), "add_request"):
            raise ModelFileError("it holds invalid metadata requests.")
        for param, alias in aliases.items():
            if type(alias) not in (bool, str, type(None)):
                raise ModelFileError("it holds invalid metadata requests.")
            vars(requests)[method].add_request(param=param, alias=alias)
    setattr(value, ROUTING, requests)
