"""The trees of scikit-learn's histogram gradient boosting as plain arrays, validated when read.

scikit-learn follows the links of a tree without checking bounds, so a file must not choose them
freely: children come after their parent, which rules out loops, and features exist.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble._hist_gradient_boosting.binning import _BinMapper
from sklearn.ensemble._hist_gradient_boosting.common import (
    PREDICTOR_RECORD_DTYPE,
    X_BITSET_INNER_DTYPE,
)
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

_NO_BITSETS = (0, 8)  # shape of the sets of categories of a tree without any


def saved_state(model):
    """Return the fitted state that predictions need, as arrays.

    Raises
    ------
    TypeError
        If the model has categorical features or more than two classes.
    """
    if model.n_trees_per_iteration_ != 1 or model.is_categorical_ is not None:
        raise TypeError(
            f"Cannot save a {type(model).__name__} with categorical features or more than two "
            "classes: use joblib or pickle."
        )
    trees = [predictor.nodes for (predictor,) in model._predictors]
    nodes = np.concatenate([np.empty(0, PREDICTOR_RECORD_DTYPE), *trees])
    state = {
        "n_features_in_": model.n_features_in_,
        "baseline": model._baseline_prediction.astype(np.float64).ravel(),
        "n_nodes": np.array([len(tree) for tree in trees], dtype=np.int64),
        "nodes": {name: nodes[name].copy() for name in nodes.dtype.names},
    }
    for name in ("classes_", "feature_names_in_"):
        if hasattr(model, name):
            state[name] = getattr(model, name)
    return state


def load_state(model, state):
    """Set the fitted state of a new model; raise ValueError if it is not valid."""
    if not {"n_features_in_", "baseline", "n_nodes", "nodes"} <= set(state):
        raise ValueError("its trees are incomplete")
    n_features, n_nodes = state["n_features_in_"], state["n_nodes"]
    if type(n_features) is not int or n_features < 1:
        raise ValueError(f"it has {n_features!r:.50} features")
    nodes = _nodes(state["nodes"])
    _check(_is_array(n_nodes, "i") and n_nodes.min(initial=1) > 0)
    _check(n_nodes.max(initial=0) <= len(nodes) and n_nodes.sum() == len(nodes))
    _check_links(nodes, n_nodes, n_features)
    baseline = state["baseline"]
    _check(_is_array(baseline, "f") and baseline.shape == (1,) and np.isfinite(baseline).all())
    model.n_features_in_ = model._n_features = n_features
    model.n_trees_per_iteration_ = 1
    model.is_categorical_ = model._preprocessor = model._is_categorical_remapped = None
    model._baseline_prediction = baseline.astype(np.float64).reshape(1, 1)
    model._bin_mapper = _BinMapper()
    model._bin_mapper.is_categorical_ = np.zeros(n_features, dtype=np.uint8)
    model._bin_mapper.bin_thresholds_ = []  # of the categorical features
    bitsets = np.empty(_NO_BITSETS, dtype=X_BITSET_INNER_DTYPE)
    model._predictors = [
        [TreePredictor(tree, bitsets, bitsets)] for tree in np.split(nodes, np.cumsum(n_nodes)[:-1])
    ]
    if is_classifier(model):
        classes = state.get("classes_")
        _check(isinstance(classes, np.ndarray) and classes.shape == (2,))
        model.classes_ = classes
    if "feature_names_in_" in state:
        model.feature_names_in_ = state["feature_names_in_"]
    model._loss = model._get_loss(sample_weight=None)


def _nodes(fields):
    """Return the nodes of all trees as scikit-learn holds them."""
    names = PREDICTOR_RECORD_DTYPE.names
    _check(type(fields) is dict and set(fields) == set(names))
    lengths = set()
    for name in names:
        dtype = PREDICTOR_RECORD_DTYPE[name]
        _check(_is_array(fields[name], dtype.kind) and fields[name].dtype == dtype)
        lengths.add(len(fields[name]))
    _check(len(lengths) == 1)
    nodes = np.empty(lengths.pop(), dtype=PREDICTOR_RECORD_DTYPE)
    for name in names:
        nodes[name] = fields[name]
    return nodes


def _check_links(nodes, n_nodes, n_features):
    inner = nodes["is_leaf"] == 0
    own = np.arange(len(nodes)) - np.repeat(np.cumsum(n_nodes) - n_nodes, n_nodes)
    sizes = np.repeat(n_nodes, n_nodes)
    for side in ("left", "right"):
        child = nodes[side].astype(np.int64)
        _check(((child > own) & (child < sizes))[inner].all())
    features = nodes["feature_idx"]
    _check(((features >= 0) & (features < n_features))[inner].all())
    _check(not nodes["is_categorical"][inner].any())
    _check(np.isfinite(nodes["value"]).all())


def _is_array(value, kind):
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == kind


def _check(valid):
    if not valid:
        raise ValueError("its trees are not valid")
