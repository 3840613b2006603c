"""`why_not`: what keeps an item out of a user's recommendations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sklearn_recsys.utils.validation import check_indices, check_length

if TYPE_CHECKING:
    import pandas as pd


class Stage(NamedTuple):
    """What a stage of a recommender, which may be its only one, makes of an item.

    Parameters
    ----------
    stage : str
        The name of the stage.
    reason : str
        What becomes of the item.
    rank : int
        Its place among the items of the stage, from 1; −1 if the stage does not rank it.
    score : float
        Its score, not clipped; −inf if it has none.
    last_score : float
        The score of the last item that the stage lets through; −inf if there is none.
    """

    stage: str
    reason: str
    rank: int
    score: float
    last_score: float


class WhyNotMixin:
    """The part of `RecommenderMixin` that explains why an item is not recommended."""

    def why_not(
        self, user, item, n=10, *, exclude_seen=True, candidates=None, exclude=None
    ) -> pd.DataFrame:
        """Explain why an item is not among the recommendations of a user.

        Parameters
        ----------
        user : int or matrix of shape (1, n_items)
            A training row, or the history of any user.
        item : int
            The item.
        n : int, default=10
            Length of the list, as in `recommend`.
        exclude_seen : bool, default=True
            As in `recommend`.
        candidates : array-like or sparse, default=None
            As in `recommend`.
        exclude : array-like or sparse, default=None
            As in `recommend`.

        Returns
        -------
        stages : DataFrame
            One row; for a recommender with several stages a row for each stage that the item
            reaches. The columns are

            - ``"user"`` and ``"item"``: the training row or the row of the matrix, and the item;
            - ``"stage"``: the name of the recommender, or of its stage;
            - ``"reason"``: ``"seen"``, ``"excluded"`` or ``"not a candidate"`` if the item is not
              eligible, else ``"ranked lower"``; or ``"recommended"``, if it is in the list;
            - ``"rank"``: its rank among the eligible items, from 1. For an item that is not
              eligible, the rank it would have;
            - ``"score"``: its score, as `recommend` returns it;
            - ``"last_score"``: the score of the last item in the list;
            - ``"gap"``: what the item's score lacks to that; negative for items that score higher,
              which are recommended or not eligible.

        See Also
        --------
        explain : What each item of the history contributes to a score.

        Examples
        --------
        >>> from scipy.sparse import csr_array
        >>> from sklearn_recsys import PopularityRecommender
        >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]])
        >>> model = PopularityRecommender().fit(R)
        >>> model.why_not(0, 3, n=1).drop(columns="stage")
           user  item        reason  rank  score  last_score  gap
        0     0     3  ranked lower     2    1.0         2.0  1.0
        >>> model.why_not(0, 1, n=1)["reason"].item()
        'seen'
        """
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        return self._why_not_frame(user, self._histories(user), item, n, **items)

    def _why_not_frame(self, user, histories, item, n, **items):
        item = check_indices(np.atleast_1d(item), histories.X.shape[1], name="item")
        (item,) = one_of(item, "item")
        eligible = self._eligible(user, one_of(histories, "user"), **items)
        stages = self._stages(histories, item, check_length(n), eligible)
        return stages_frame(stages, {"user": histories.labels[0], "item": item})

    def _stages(self, histories, item, n, eligible):
        """Return the stages that an item goes through; one that is not eligible fails the first."""
        first, *others = self._why_not(histories, item, n, eligible)
        reason = eligible.why_not(histories.X, item)
        return [first if reason is None else first._replace(reason=reason), *others]

    def _why_not(self, histories, item, n, eligible):
        """Return each `Stage` that an item of one user goes through, in their order.

        `eligible` may lack the item, which is then judged as if it were eligible. Recommenders with
        several stages override this.
        """
        name, n_items = type(self).__name__, histories.X.shape[1]
        ids, scores = self._rank(histories, n, eligible)
        last_score = scores[0, np.flatnonzero(ids[0] != -1)[-1:]].max(initial=-np.inf)
        reason = "recommended"
        if item not in ids:
            reason = "ranked lower"
            ids, scores = self._rank(histories, n_items, eligible.resolved(histories.X, item))
        (slots,) = np.nonzero(ids[0] == item)
        if not len(slots):
            return [Stage(name, "not ranked", -1, -np.inf, last_score)]
        return [Stage(name, reason, slots[0] + 1, scores[0, slots[0]], last_score)]


def one_of(values, name):
    """Return `values`; raise ValueError if there is not exactly one."""
    if len(values) != 1:
        raise ValueError(f"why_not explains one {name} at a time; got {len(values)}.")
    return values


def stages_frame(stages, labels):
    """Return stages as a frame, whose first columns are the labels of the user and the item."""
    import pandas as pd  # imported only here, because it is slow to import

    frame = pd.DataFrame(stages, columns=list(Stage._fields)).astype(
        {"rank": np.int64, "score": np.float32, "last_score": np.float32}
    )
    with np.errstate(invalid="ignore"):  # −inf − −inf, where there is neither a list nor a score
        frame["gap"] = frame["last_score"] - frame["score"]
    for position, (name, label) in enumerate(labels.items()):
        frame.insert(position, name, [label] * len(frame))
    return frame
