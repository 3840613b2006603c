"""Saving fitted models to a file, and loading them, without pickle.

:func:`save` (or a model's ``save`` method) writes one file and :func:`load` reads it. A pickle is a
program: loading it runs whatever its author wrote. The files here hold data only: the parameters
and fitted attributes of classes on an allow-list, as JSON and arrays in an uncompressed zip archive
behind a header with a digest. Loading runs no code from the file, and imports nothing that it
names.

*What can be saved.* Every recommender of the package, :class:`~.RecommenderPipeline`, encoders and
transformers of the package, and of scikit-learn ``Binarizer``, ``FunctionTransformer`` (with a
function of numpy), ``MaxAbsScaler``, ``Normalizer``, ``Pipeline``, ``QuantileTransformer``,
``RobustScaler``, ``StandardScaler``, ``TfidfTransformer``, ``GridSearchCV`` and
``RandomizedSearchCV``, with their splitters and our scorers, fitted or not. Other estimators can be
saved, too; :func:`load` wants their classes in `trusted`.

*Classes of your own.* An estimator is saved by its parameters and its other attributes, as far as
they are None, bool, int, float, str, bytes, UUID, range, list, tuple, set, dict, numpy scalars,
dtypes and arrays, object arrays of such values, pandas Timestamps (naive or UTC), DataFrames,
Series and Indexes of one level, scipy CSR and CSC matrices, RandomState, and estimators. Columns of
Arrow types are saved as numpy's; a parameter that is a frame of another library as a pandas frame,
one that is an array or a column of another library as a numpy array. If the state of a class holds
anything else, give it two methods:

``_save_state(self)``
    returns a dict of attribute names (or other identifiers) to values as above: arrays in place of
    torch tensors, for example. Parameters among them are left out. It is called for fitted
    estimators only.
``_load_state(self, state)``
    takes that dict, called on an estimator newly made from its parameters. The values are data of
    the types above, but else unchecked: their shapes may be anything.

A class may declare its fitted attributes, too: ``_fitted_state(self)`` returns the rules of
`sklearn_recsys.utils._state` by name, and a file that breaks one is refused.

A class that is no estimator can be part of the state if it has both methods; ``_load_state`` is
then called on an object made without ``__init__``.
"""

from __future__ import annotations

import re
from typing import Any

import sklearn
from sklearn.base import BaseEstimator

from sklearn_recsys import __version__
from sklearn_recsys.exceptions import VersionWarning
from sklearn_recsys.persistence._container import ModelFileError, reading, write
from sklearn_recsys.persistence._tree import Decoder, Encoder
from sklearn_recsys.utils._warnings import warn

__all__ = ["ModelFileError", "load", "save"]

_PACKAGES = {"sklearn_recsys": __version__, "scikit-learn": sklearn.__version__}


def save(model, path):
    """Save a model, fitted or not, to one file.

    The file appears at once and complete: it is written in the same folder and then takes the place
    of `path`, so a save that fails leaves the old file as it was.

    Parameters
    ----------
    model : estimator
        A recommender, a pipeline, an encoder or another estimator.
    path : str or path-like
        The file; one that exists is replaced, and its mode stays. A link is followed. The name is
        free, ``.recsys`` is a good ending.

    Raises
    ------
    TypeError
        If the model holds something that cannot be saved, such as a function; it names where.
        Nothing is written then.
    ValueError
        If a fitted attribute or a parameter is not what the model's class needs, so that the file
        could not be loaded.
    OSError
        If `path` cannot be written to, or is a folder, a device or a pipe.

    See Also
    --------
    load : Load it again.

    Notes
    -----
    The cache of a pipeline (its parameter `memory`) belongs to the machine and is not saved.
    pickle and joblib work on every model, too, for files that nobody else can write.

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
    """Load a model that was saved.

    No code from the file is run, whoever wrote it: it can only choose among known classes and fill
    their attributes with plain data.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : iterable of type, default=()
        Classes that the file may hold beside those of the package: your own, or other estimators
        of scikit-learn.

    Returns
    -------
    model : estimator
        What was saved; it predicts the same, bit for bit.

    Raises
    ------
    ModelFileError
        If the file is damaged, no model file, written in a newer format, holds a class that is
        neither of the package nor trusted, or a model that could not work.
    FileNotFoundError
        If there is no file.

    Warns
    -----
    UserWarning
        If the file was written with another minor version of sklearn_recsys or scikit-learn.

    See Also
    --------
    save : Save it.

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
            raise ModelFileError("its model.json is not that of a model.")
        other = _other_versions(document["versions"])
        model = Decoder(reader, trusted).decode(document["model"])
        reader.finish()
        if not isinstance(model, BaseEstimator):
            raise ModelFileError(f"it holds no model but a {type(model).__name__}.")
    if other:
        warn(
            f"{path} was saved with {' and '.join(other)}. It may behave differently, or not at "
            "all: fit and save it again if in doubt.",
            VersionWarning,
        )
    return model


def _other_versions(versions):
    """Return a text for each package whose version differs beyond the patch level."""
    if type(versions) is not dict or set(versions) != set(_PACKAGES):
        raise ModelFileError("it does not say which versions it was saved with.")
    other = []
    for package, now in _PACKAGES.items():
        then = versions[package]
        if type(then) is not str or not re.fullmatch(r"\d{1,6}\.\d{1,6}[\w.+-]{0,50}", then):
            raise ModelFileError(f"it was saved with the version {str(then)[:50]!r} of {package}.")
        if then.split(".")[:2] != now.split(".")[:2]:
            other.append(f"{package} {then} (now {now})")
    return other
