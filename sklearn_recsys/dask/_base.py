"""What the estimators on a Dask cluster share: the convention of XGBoost's and LightGBM's."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.dask._blocks import is_distributed, read_blocks
from sklearn_recsys.utils._fit_progress import fit_progress
from sklearn_recsys.utils._sklearn import fit_context
from sklearn_recsys.utils.validation import check_length


class DaskMixin:
    """Mixin for the counterpart of a local model that is fitted on a cluster.

    A class inherits from it and then from the local model, whose parameters it has, with `client`
    at the end. It implements ``_fit_blocks(blocks, counts)``, which sets what the local model's
    `_fit` sets, and `_refuse`, if there are parameters that need the whole matrix.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        (cls._local,) = (base for base in cls.__bases__ if not issubclass(base, DaskMixin))

        @wraps(cls._local.__init__)
        def __init__(self, *args, client=None, **params):
            cls._local.__init__(self, *args, **params)
            self.client = client

        signature = inspect.signature(cls._local.__init__)
        client = inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None)
        parameters = [*signature.parameters.values(), client]
        __init__.__signature__ = signature.replace(parameters=parameters)
        cls.__init__ = __init__
        rules = cls._local._parameter_constraints
        cls._parameter_constraints = {**rules, "client": "no_validation"}

    def __sklearn_clone__(self):
        params = self.get_params(deep=False)
        client = params.pop("client")  # which cannot be copied
        params = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(**params, client=client)

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

    # ---------------------------------------------------------------- fitting

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Fit to a user × item matrix on the cluster.

        Parameters
        ----------
        X : dask.array.Array of shape (n_users, n_items), or list of dask.delayed.Delayed
            The interactions. Each block of the array, or part of the list, holds consecutive rows
            as a scipy CSR matrix; the numbers of rows may be unknown.
        y : Ignored
            As in the local model.

        Returns
        -------
        self : object
            The fitted estimator. A fit that raises leaves it unfitted.
        """
        self._refuse()
        client = self._client()
        self._forget()
        try:
            blocks, counts = read_blocks(X, client, self._local())
            self.n_features_in_ = blocks.shape[1]
            if getattr(self, "item_features", None) is not None:
                self._align_item_features(self.n_features_in_, None)
            self._fallback_ = counts.astype(np.float32)
            with fit_progress(self, X, y) as progress:
                progress.begin()
                self._fit_blocks(blocks, counts)
                # the training rows stay on the cluster
                self._set_interactions(sp.csr_array((0, self.n_features_in_), dtype=np.float32))
        except BaseException:
            self._forget()
            raise
        return self

    def _refuse(self):
        """Raise ValueError for parameters that the cluster cannot fit."""

    def _refuse_if(self, wrong, name):
        if wrong:
            raise ValueError(
                f"{type(self).__name__} cannot fit with {name}={getattr(self, name)!r}, which "
                f"needs the whole matrix at once: fit {self._local.__name__} instead."
            )

    def _refuse_checkpoint(self):
        if self.checkpoint is not None:
            raise ValueError(
                f"{type(self).__name__} writes no checkpoint: Dask computes again what is lost "
                "with a worker. Set checkpoint=None."
            )

    def _local_params(self):
        """Return the parameters of the local model."""
        return {name: getattr(self, name) for name in self._local._get_param_names()}

    def _client(self):
        from distributed import default_client

        if self.client is not None:
            return self.client
        try:
            return default_client()
        except ValueError:
            raise ValueError(
                f"{type(self).__name__} found no Dask client. Start one, as in `client = "
                "distributed.Client()`, or pass client=…."
            ) from None

    def partial_fit(self, X, y=None) -> Self:
        """Not available on a cluster: it would need the training rows.

        Parameters
        ----------
        X : object
            The interactions of new users.
        y : Ignored
            As in `fit`.

        Returns
        -------
        self : object
            Never: it raises.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no partial_fit, as its training rows stay on the cluster. "
            "Fit it to all rows again; new users need no fit at all."
        )

    # ---------------------------------------------------------------- the fitted model

    def to_local(self):
        """Return the fitted model as an estimator without Dask.

        Returns
        -------
        model : object
            The local model with the same parameters and fitted attributes. It has no training rows:
            its `interactions_` has shape (0, n_items). So users are always given by their
            histories, and `partial_fit` and ``recommend()`` without users raise.
        """
        check_is_fitted(self)
        model = object.__new__(self._local)
        vars(model).update(vars(self))
        del model.client
        model._set_derived()
        return model

    def save(self, path) -> None:
        """Save the local model, as `to_local` returns it, to one file.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced atomically.
        """
        self.to_local().save(path)

    def _on_cluster(self):
        """Return a future of the local model, which all workers hold."""
        client = self._client()
        former, future = self._cache_.get("scattered", (None, None))
        if former is not client:
            future = client.scatter(self.to_local(), broadcast=True, hash=False)
            self._cache_["scattered"] = client, future
        return future

    # ---------------------------------------------------------------- lazy predictions

    def predict(self, X) -> Any:
        """Predict every item's score for every row.

        Parameters
        ----------
        X : {dask.array.Array, array-like, sparse matrix} of shape (n_rows, n_items)
            The histories of any users.

        Returns
        -------
        scores : dask.array.Array or ndarray of float32 of shape (n_rows, n_items)
            As in the local model. Of a dask array a dask array, computed block by block when it is
            asked for.
        """
        if not is_distributed(X):
            return super().predict(X)
        return self._lazily(X, _predict, self.n_features_in_, np.float32)

    def recommend(
        self,
        users=None,
        n=10,
        *,
        exclude_seen=True,
        candidates=None,
        exclude=None,
        return_scores=False,
    ) -> Any:
        """Recommend items, best first.

        Parameters
        ----------
        users : {dask.array.Array, array-like, sparse matrix} of shape (n_rows, n_items)
            The histories of any users.
        n : int, default=10
            Items per row.
        exclude_seen : bool, default=True
            Whether to exclude the items of the row's own history.
        candidates : array-like or sparse, default=None
            Recommend nothing but these items. Of a dask array, 1-D: the same for all users.
        exclude : array-like or sparse, default=None
            Never recommend these items; forms as in `candidates`.
        return_scores : bool, default=False
            Whether to return the scores, too.

        Returns
        -------
        ids : dask.array.Array or ndarray of int64 of shape (n_rows, n)
            As in the local model. Of a dask array a dask array, computed block by block when it is
            asked for.
        scores : dask.array.Array or ndarray of float32 of shape (n_rows, n)
            Their scores. Only if `return_scores`.
        """
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        if not is_distributed(users):
            return super().recommend(users, n, **items, return_scores=return_scores)
        n = check_length(n)
        for name in ("candidates", "exclude"):
            if items[name] is not None and np.ndim(items[name]) != 1:
                raise ValueError(
                    f"For a dask array, {name} must be 1-D, the same items for all users. Rank "
                    "other sets with to_local() in dask.array.map_blocks."
                )
        lists = self._lazily(users, _recommend, n, np.int64, n=n, **items)
        if not return_scores:
            return lists
        pairs = self._lazily(users, _recommend, n, object, n=n, **items, return_scores=True)
        return tuple(
            pairs.map_blocks(_item, i, dtype=dtype, meta=np.empty((0, 0), dtype))
            for i, dtype in enumerate((np.int64, np.float32))
        )

    def _lazily(self, X, function, width, dtype, **options):
        """Return a dask array of ``function(model, block, **options)`` for the blocks of `X`."""
        import dask.array as da

        check_is_fitted(self)
        if not isinstance(X, da.Array):
            raise TypeError(
                "The histories must be a dask array whose blocks are CSR matrices of rows; got "
                f"{type(X).__name__}."
            )
        if X.ndim != 2 or X.numblocks[1] != 1:
            raise ValueError("The histories must be 2-D, in blocks of whole rows.")
        return X.map_blocks(
            function,
            self._on_cluster(),
            **options,
            chunks=(X.chunks[0], (width,)),
            dtype=dtype,
            meta=np.empty((0, 0), dtype),
        )

    def _checked(self, X, **options):
        if is_distributed(X):
            raise TypeError(
                f"Of a {type(self).__name__}, only fit, predict and recommend take dask "
                "collections. Call to_local() for the other methods, and pass a matrix in memory."
            )
        return super()._checked(X, **options)


def _predict(X, model):
    return model.predict(X)


def _recommend(X, model, **options):
    return model.recommend(X, **options)


def _item(pair, i):
    return pair[i]
