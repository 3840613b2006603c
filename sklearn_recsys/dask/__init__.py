"""Fits on a Dask cluster, of matrices larger than one machine; needs ``sklearn_recsys[dask]``."""

from sklearn_recsys.dask._als import DaskALS
from sklearn_recsys.dask._ease import DaskEASE
from sklearn_recsys.dask._encoder import DaskInteractionEncoder
from sklearn_recsys.dask._knn import DaskItemKNN
from sklearn_recsys.dask._rp3beta import DaskRP3beta
from sklearn_recsys.dask._slim import DaskSLIM

__all__ = [
    "DaskALS",
    "DaskEASE",
    "DaskInteractionEncoder",
    "DaskItemKNN",
    "DaskRP3beta",
    "DaskSLIM",
]
