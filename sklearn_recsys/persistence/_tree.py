"""The JSON tree that stands for an object in a file; its arrays are numbered members.

JSON's null, booleans, integers, finite floats, strings and arrays stand for None, bool, int, float,
str and list. Everything else is a JSON object with its kind as "type". Arrays, sparse matrices,
frames and estimators have an "id"; repeated occurrences are a "ref" to the id, so that a shared
object is written once and still shared after loading.
"""

from __future__ import annotations

import scipy.sparse as sp
from sklearn.pipeline import Pipeline

MAX_DEPTH = 30  # of nested containers; a pipeline in a pipeline takes three levels
SPARSE = {cls.__name__: cls for cls in (sp.csr_array, sp.csc_array, sp.csr_matrix, sp.csc_matrix)}
SPARSE_KINDS = "biufc"
ROUTING = "_metadata_request"  # the attribute that methods such as `set_fit_request` write


def saved_parameters(cls, names):
    """Return the parameters that a file holds: all except folders of a machine.

    A file must not choose them: joblib's cache, the `memory` of a pipeline, holds pickles. A class
    names others in ``_unsaved_params``.
    """
    unsaved = ("memory",) if issubclass(cls, Pipeline) else getattr(cls, "_unsaved_params", ())
    return [name for name in names if name not in unsaved]
