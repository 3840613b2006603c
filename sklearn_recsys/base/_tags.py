"""The tags of recommenders: what they read, and that they are recommenders."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from sklearn.utils import Tags, get_tags


@dataclass
class RecommenderTags:
    """What a recommender reads in its input.

    Parameters
    ----------
    values : {"rating", "weight", "binary", "order"}, default="weight"
        The meaning of the stored values: ratings to be predicted; confidence or strength; only
        whether they are greater than zero; the position or time of the interaction.
    personalized : bool, default=True
        Whether the recommendations depend on what a user likes, not only on what they have seen.
    exact : bool, default=False
        Whether the fitted model is a function of the set of training rows, up to rounding, as
        closed forms are: their order and that of the items do not matter, and `partial_fit` with
        new rows equals a `fit` on all of them. `check_recommender` then checks that.
    additive : bool, default=False
        Whether a score is a sum over the items of the history, whose terms `explain` returns.
        Otherwise it returns what the score loses without each item.
    ranks_by_score : bool, default=True
        Whether lists are the items of the highest scores, best first; False if they are reranked.

    See Also
    --------
    RecommenderMixin : Reads these tags.
    sklearn.utils.Tags : The tags of every estimator, to which these are added.

    Examples
    --------
    >>> from sklearn.utils import get_tags
    >>> from sklearn_recsys import PopularityRecommender
    >>> get_tags(PopularityRecommender()).recommender_tags  # doctest: +NORMALIZE_WHITESPACE
    RecommenderTags(values='binary', personalized=False, exact=True, additive=False,
                    ranks_by_score=True)
    """

    values: str = "weight"
    personalized: bool = True
    exact: bool = False
    additive: bool = False
    ranks_by_score: bool = True


@dataclass
class _Tags(Tags):
    recommender_tags: RecommenderTags = field(default_factory=RecommenderTags)


_TAGS = [tag.name for tag in fields(Tags)]


def as_recommender_tags(tags):
    """Return scikit-learn's tags of an estimator with `recommender_tags` added."""
    tags = _Tags(**{name: getattr(tags, name) for name in _TAGS})
    tags.estimator_type = "recommender"
    return tags


def is_recommender(estimator) -> bool:
    """Return whether an estimator is a recommender, or a search or pipeline that ends in one.

    Parameters
    ----------
    estimator : estimator
        Any estimator of scikit-learn's kind.

    Returns
    -------
    is_recommender : bool
        Whether its tag `estimator_type` is ``"recommender"``.

    See Also
    --------
    sklearn.base.is_classifier : The same for classifiers.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.base import is_recommender
    >>> is_recommender(EASE()), is_recommender(GridSearchCV(EASE(), {"l2": [1, 10]}))
    (True, True)
    >>> is_recommender(Ridge())
    False
    """
    return get_tags(estimator).estimator_type == "recommender"
