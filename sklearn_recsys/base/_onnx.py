"""Models whose scores are one pass over a dense history, as ONNX files."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.persistence._files import replacing
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._rating_scale import STEP

_LARGEST = 2**31 - 2**20  # bytes of weights: a file holds less than 2 GiB


class OnnxMixin:
    """Mixin of the models that can be exported to ONNX.

    A model implements ``_onnx_module()``, which returns a new :class:`torch.nn.Module` on the CPU,
    from the dense rows that the model reads to its scores.
    """

    def export_onnx(self, path) -> None:
        """Write the scores of all items to an ONNX file, to serve them without Python.

        Its input ``histories``, float32 of shape (n_rows, n_items), are raw rows as in `predict`,
        zero where nothing was observed, any number at once. Its output ``scores``, float32 of the
        same shape, is what `recommend` ranks by. All that the model does to a row is in the file:
        which values it reads, its normalization, the unit of ratings, and what a row without
        interactions gets. Not in the file are the exclusion of seen items, and, for ratings, the
        range that `predict` clips them to, `rating_range_`. NaN is not refused.

        It needs onnx and onnxscript: ``pip install "sklearn_recsys[onnx]"``.

        Parameters
        ----------
        path : str or path-like
            The file; an existing file is replaced atomically.

        Raises
        ------
        ValueError
            If the scores are not such a function, or the weights take 2 GiB or more.

        Examples
        --------
        >>> from sklearn_recsys import EASE
        >>> from sklearn_recsys.datasets import make_interactions
        >>> model = EASE(l2=10).fit(make_interactions(n_users=80, n_items=40, random_state=0))
        >>> model.export_onnx("ease.onnx")  # doctest: +SKIP
        >>> import onnxruntime  # doctest: +SKIP
        >>> session = onnxruntime.InferenceSession("ease.onnx")  # doctest: +SKIP
        >>> scores, = session.run(None, {"histories": X.toarray()})  # doctest: +SKIP
        """
        import torch

        check_is_fitted(self)
        try:
            import onnx  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(
                'export_onnx needs onnx and onnxscript: pip install "sklearn_recsys[onnx]".'
            ) from error
        module = _of_raw_rows(self, self._onnx_module()).eval()
        n_bytes = sum(array.nbytes for array in module.state_dict().values())
        if n_bytes > _LARGEST:
            raise ValueError(
                f"The weights of {type(self).__name__} take {n_bytes / 2**30:.1f} GiB, and an ONNX "
                "file holds less than 2."
            )
        with _quiet():
            program = torch.onnx.export(
                module,
                (torch.zeros(2, self.n_features_in_),),
                input_names=["histories"],
                output_names=["scores"],
                dynamic_shapes=({0: torch.export.Dim("n_rows")},),
                dynamo=True,
                verbose=False,
            )
        with replacing(path) as file:
            file.write(program.model_proto.SerializeToString())


class LinearOnnxMixin(OnnxMixin):
    """Mixin of the models that score a row x as x W, with a dense or sparse W."""

    def _onnx_module(self):
        import torch

        n_items = self.n_features_in_
        check_memory(
            24 * n_items**2,  # the exporter makes copies
            f"The dense weights of {n_items:,} items",
            "An ONNX file of this model holds all of them.",
        )
        identity = sp.eye_array(n_items, dtype=np.float32, format="csr")
        weights = np.ascontiguousarray(self._score_items(identity).T)
        module = torch.nn.Linear(n_items, n_items, bias=False, device="meta")
        module.weight = torch.nn.Parameter(torch.from_numpy(weights), requires_grad=False)
        return module


def _read(rows, scale):
    """Return ratings on their scale, as `RatingScale.read` does."""
    scaled = (((rows.double() - scale.low) / scale.unit + 1) / STEP).round() * STEP
    return scaled.where(scaled != 0, STEP).float()


def _of_raw_rows(model, scores):
    """Return a module from dense raw rows to scores, given one from the rows as the model reads."""
    import torch

    scale, values = getattr(model, "_rating_scale", None), model._values

    class OfRawRows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = scores
            self.register_buffer("fallback", torch.from_numpy(model._fallback_))

        def forward(self, histories):
            rows = histories
            if values == "binary":
                rows = (rows > 0).to(torch.float32)
            elif scale is not None:
                rows = torch.where(rows != 0, _read(rows, scale), 0.0)
            is_cold = (rows == 0).all(dim=1, keepdim=True)
            scores = torch.where(is_cold, self.fallback, self.scores(rows))
            return scores if scale is None else (scores - 1) * scale.unit + scale.low

    return OfRawRows()


@contextmanager
def _quiet():
    """Silence the exporter's deprecation warnings of its own code, and lines on torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
