"""The explanations of a pipeline, with raw ids if it has an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn_recsys.base import UserFeaturesMixin
from sklearn_recsys.base._why_not import one_of, stages_frame
from sklearn_recsys.pipeline._translation import RawIds
from sklearn_recsys.utils.validation import check_length

if TYPE_CHECKING:
    import pandas as pd


class RawExplanationsMixin(UserFeaturesMixin):
    """The part of `RawIdsMixin` that explains scores and lists."""

    def explain(self, users, items, *, user_features=None) -> pd.DataFrame:
        """Explain scores by the items of the histories.

        What a contribution is depends on the model; see its method. Contributions that sum to the
        score are those of the interactions that the steps pass to the model. Otherwise items are
        left out of the raw history.

        Parameters
        ----------
        users : None, raw ids, matrix or DataFrame
            As in `recommend`.
        items : int or raw item id, array-like, dict or DataFrame
            The items whose scores are to be explained. Without an encoder as in every recommender.
            With one: a raw item id or a collection of them, for all users; or items for each user,
            as a dict of users to collections of items, or as a frame with a column of each, such as
            the one that `recommend` returns. Unknown ids as in `recommend`.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            As in `recommend`.

        Returns
        -------
        contributions : DataFrame
            A row for each item of each history and each of `items`, the largest contribution
            first. The columns are the user (or the row of a matrix), the item, the item of the
            history and the contribution; with an encoder they have the encoder's names, as in
            ``"user"``, ``"item"``, ``"history_item"``, and hold raw ids.
        """
        if self.encoder is None:
            return super().explain(users, items, user_features=user_features)
        raw = RawIds(self)
        users = raw.users(users)
        histories = self._histories_of(raw, users, user_features)
        rows, columns = raw.pairs(items, users)
        item = self.encoder.item
        return self._explained(histories, rows, columns).frame(
            (users.name, item, f"history_{item}"),
            users.labels.take(rows),
            raw.item_ids.take(columns),
            raw.item_ids,
        )

    def why_not(
        self,
        user,
        item,
        n=10,
        *,
        user_features=None,
        exclude_seen=True,
        candidates=None,
        exclude=None,
    ) -> pd.DataFrame:
        """Explain why an item is not among the recommendations of a user.

        Parameters
        ----------
        user : int, raw id, or matrix or DataFrame of one history
            Without an encoder as in every recommender, with one as in `recommend`.
        item : int or raw item id
            The item.
        n : int, default=10
            Length of the list, as in `recommend`.
        user_features : array-like of shape (1, n_user_features), default=None
            As in `recommend`.
        exclude_seen : bool, default=True
            As in `recommend`.
        candidates : array-like, set, dict, DataFrame or sparse, default=None
            As in `recommend`.
        exclude : array-like, set, dict, DataFrame or sparse, default=None
            As in `recommend`.

        Returns
        -------
        stages : DataFrame
            As in every recommender. With an encoder the columns of the user and the item have the
            encoder's names and hold raw ids, and there are no rows for unknown ids that it ignores.
        """
        items = {"exclude_seen": exclude_seen, "candidates": candidates, "exclude": exclude}
        if self.encoder is None:
            options = {"user_features": user_features, **items}
            return super().why_not(user, item, n, **options)
        raw = RawIds(self)
        users = raw.users(user)
        names = users.name, self.encoder.item
        columns = one_of(raw.columns([item] if raw.is_one(item) else item), "item")
        if users.n_listed == 1 and not len(users.labels) or columns[0] < 0:
            return stages_frame([], dict.fromkeys(names))
        histories = one_of(self._histories_of(raw, users, user_features), "user")
        for name in ("candidates", "exclude"):
            items[name] = raw.sets(items[name], users, name)
        eligible = self._eligible(users.argument, histories, **items)
        stages = self._stages(histories, columns[0], check_length(n), eligible)
        labels = users.labels[0], raw.item_ids[columns[0]]
        return stages_frame(stages, dict(zip(names, labels, strict=True)))

    def _histories_of(self, raw, users, user_features):
        """Return the histories of the users, with their features."""
        return self._histories(users.argument, raw.features(user_features, users))
