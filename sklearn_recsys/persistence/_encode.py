"""Encoding of objects as a tree and arrays, see `_tree`."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from sklearn_recsys.persistence import _classes
from sklearn_recsys.persistence._checks import check_fitted, check_parameters, derived_attributes
from sklearn_recsys.persistence._container import MAX_ARRAYS, PLAIN_KINDS
from sklearn_recsys.persistence._frames import pandas_kind, portable, split
from sklearn_recsys.persistence._leaves import is_plain, leaf_text
from sklearn_recsys.persistence._tree import (
    MAX_DEPTH,
    ROUTING,
    SPARSE,
    SPARSE_KINDS,
    saved_parameters,
)


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
        if id(value) in self._open or len(self._open) >= MAX_DEPTH:
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
        if SPARSE.get(name) is not type(matrix) or matrix.ndim != 2:
            raise _unsaveable(matrix, where, "convert it with tocsr()")
        if matrix.dtype.kind not in SPARSE_KINDS:
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
        saved = saved_parameters(cls, names)
        params = {name: portable(_classes.parameter(value, name), name) for name in saved}
        not_state = {*names, ROUTING, *derived_attributes(cls)}
        attributes = getattr(value, "__dict__", {})
        state = {k: item for k, item in attributes.items() if k not in not_state}
        if _classes.is_splitter(cls):
            state = {}
        elif _classes.has_hooks(cls) and (state or not built):
            saved_state = _classes.saved_state(value)
            state = {k: item for k, item in saved_state.items() if k not in not_state}
        routing = getattr(value, ROUTING, None)
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
