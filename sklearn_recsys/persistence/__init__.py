"""Saving fitted models to a file, and loading them, without pickle.

:func:`save` (or a model's ``save`` method) writes one file and :func:`load` reads it. A pickle is a
program: loading it runs whatever its author wrote. The files here hold only data: the parameters
and fitted attributes of classes on an allow-list, as JSON and arrays in an uncompressed zip archive
after a header with a digest. Loading does not run code from the file, nor import anything that the
file names.

*What can be saved.* All recommenders, encoders and transformers of the package and
:class:`~.RecommenderPipeline`; of scikit-learn, ``Binarizer``, ``FunctionTransformer`` (with a
numpy function), ``MaxAbsScaler``, ``Normalizer``, ``Pipeline``, ``QuantileTransformer``,
``RobustScaler``, ``StandardScaler``, ``TfidfTransformer``, ``GridSearchCV`` and
``RandomizedSearchCV``, with scikit-learn's splitters and the scorers of this package; and, at the
end of a stack, ``LogisticRegression``, ``LinearRegression``, ``Ridge``, ``ElasticNet``,
``HistGradientBoostingClassifier`` and ``HistGradientBoostingRegressor``, with one target and at
most two classes, without categorical features (joblib and pickle save the others). They may be
fitted or unfitted. Other estimators can also be saved; to load them, pass their classes to
:func:`load` as `trusted`.

*Your own classes.* An estimator is saved by its parameters and its other attributes. They may be
None, bool, int, float, str, bytes, UUID, range, list, tuple, set, dict, numpy scalars, dtypes and
arrays, object arrays of such values, pandas Timestamps (naive or UTC), DataFrames, Series and
single-level Indexes, scipy CSR and CSC matrices, RandomState, and estimators. Arrow columns are
saved with numpy dtypes; parameters that are frames of another library are saved as pandas frames,
and arrays or columns of another library as numpy arrays. If the state of a class contains anything
else, give it two methods:

``_save_state(self)``
    returns a dict of attribute names (or other identifiers) to values as above, for example with
    arrays instead of torch tensors. Parameters in it are ignored. It is only called for fitted
    estimators.
``_load_state(self, state)``
    takes that dict; it is called on a new estimator with the saved parameters. The values have the
    types above but are otherwise unchecked: they may have any shape.

A class may also declare its fitted attributes: ``_fitted_state(self)`` returns the rules of
`sklearn_recsys.utils._state` by attribute name, and a file that violates one is refused.

A class that is not an estimator can be part of the state if it has both methods; ``_load_state`` is
then called on an object that was created without ``__init__``.

*Matrices.* :func:`save_csr` writes a matrix to a folder of ``.npy`` files, which :func:`load_csr`
maps into memory, so that a model can be fitted to a matrix larger than that.
"""

from __future__ import annotations

import re
from typing import Any

import sklearn
from sklearn.base import BaseEstimator

from sklearn_recsys import __version__
from sklearn_recsys.exceptions import VersionWarning
from sklearn_recsys.persistence._container import ModelFileError, reading, write
from sklearn_recsys.persistence._csr_folder import load_csr, save_csr
from sklearn_recsys.persistence._decode import Decoder
from sklearn_recsys.persistence._encode import Encoder
from sklearn_recsys.utils._warnings import warn

__all__ = ["ModelFileError", "load", "load_csr", "save", "save_csr"]

_PACKAGES = {"sklearn_recsys": __version__, "scikit-learn": sklearn.__version__}


def save(model, path) -> None:
    """Save a model, fitted or not, to one file.

    The file is written atomically: a temporary file in the same folder replaces `path` when it is
    complete, so a failing save leaves the old file unchanged.

    Parameters
    ----------
    model : estimator
        A recommender, a pipeline, an encoder or another estimator.
    path : str or path-like
        The file; an existing file is replaced and keeps its mode. Links are followed. Any name is
        allowed; ``.recsys`` is a good extension.

    Raises
    ------
    TypeError
        If the model contains something that cannot be saved, such as a function; the message says
        where. Nothing is written.
    ValueError
        If a fitted attribute or a parameter is invalid, so that the file could not be loaded.
    OSError
        If `path` cannot be written, or is a folder, a device or a pipe.

    See Also
    --------
    load : Loads a saved model.

    Notes
    -----
    The cache of a pipeline (its parameter `memory`) belongs to the machine and is not saved.
    pickle and joblib also work for every model; use them only for files that no one else can write.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from scipy.sparse import csr_array
    >>> import sklearn_recsys
    >>> from sklearn_recsys import ItemKNN
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.recsys")
    ...     sklearn_recsys.save(ItemKNN(n_neighbors=2).fit(R), path)
    ...     model = sklearn_recsys.load(path)
    >>> model
    ItemKNN(n_neighbors=2)
    """
    if isinstance(model, type) or not isinstance(model, BaseEstimator):
        raise TypeError(f"Only estimators can be saved; got {model!r:.100}.")
    encoder = Encoder()
    tree = encoder.encode(model, type(model).__name__)
    write(path, {"versions": _PACKAGES, "model": tree}, encoder.arrays)


def load(path, *, trusted=()) -> Any:
    """Load a saved model.

    This never runs code from the file: a file can only select allowed classes and fill their
    attributes with plain data.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : iterable of type, default=()
        Classes that the file may contain in addition to those of the package: your own, or other
        estimators of scikit-learn.

    Returns
    -------
    model : estimator
        The saved model; its predictions are the same, bit for bit.

    Raises
    ------
    ModelFileError
        If the file is damaged, is not a model file, has a newer format, contains a class that is
        neither allowed nor trusted, or contains an invalid model.
    FileNotFoundError
        If the file does not exist.

    Warns
    -----
    UserWarning
        If the file was written with another minor version of sklearn_recsys or scikit-learn.

    See Also
    --------
    save : Saves a model.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from scipy.sparse import csr_array
    >>> import sklearn_recsys
    >>> from sklearn_recsys import EASE
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.recsys")
    ...     EASE(l2=1.0).fit(R).save(path)
    ...     model = sklearn_recsys.load(path)
    >>> model.recommend(0, n=1)
    array([[2]])
    """
    trusted = tuple(trusted)
    if not all(isinstance(cls, type) for cls in trusted):
        raise TypeError(f"trusted must hold classes, such as [MyModel]; got {trusted!r:.100}.")
    with reading(path) as reader:
        document = reader.document()
        if type(document) is not dict or set(document) != {"versions", "model"}:
            raise ModelFileError("its model.json does not describe a model.")
        other = _other_versions(document["versions"])
        model = Decoder(reader, trusted).decode(document["model"])
        reader.finish()
        if not isinstance(model, BaseEstimator):
            raise ModelFileError(f"it holds a {type(model).__name__} instead of a model.")
    if other:
        warn(
            f"{path} was saved with {' and '.join(other)}. It may behave differently or fail: fit "
            "and save it again if in doubt.",
            VersionWarning,
        )
    return model


def _other_versions(versions):
    """Return a text for each package whose version differs beyond the patch level."""
    if type(versions) is not dict or set(versions) != set(_PACKAGES):
        raise ModelFileError("it does not name the versions it was saved with.")
    other = []
    for package, current in _PACKAGES.items():
        saved = versions[package]
        if type(saved) is not str or not re.fullmatch(r"\d{1,6}\.\d{1,6}[\w.+-]{0,50}", saved):
            raise ModelFileError(f"it was saved with the version {str(saved)[:50]!r} of {package}.")
        if saved.split(".")[:2] != current.split(".")[:2]:
            other.append(f"{package} {saved} (now {current})")
    return other
