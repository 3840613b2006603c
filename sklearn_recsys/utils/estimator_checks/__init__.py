"""Checks that a recommender follows the contract, for the models here and for your own.

Each check takes a freshly cloned estimator and raises AssertionError (or the model's own error) if
it violates the contract.
"""

from __future__ import annotations

from functools import partial

from sklearn_recsys.utils.estimator_checks._explanations import check_explain, check_why_not
from sklearn_recsys.utils.estimator_checks._fits import (
    check_partial_fit,
    check_persistence,
    check_reproducible,
)
from sklearn_recsys.utils.estimator_checks._input import (
    check_containers,
    check_corrupt_input,
    check_explicit_zeros,
    check_failing_fit,
    check_input_unmodified,
)
from sklearn_recsys.utils.estimator_checks._lists import (
    check_candidates_and_exclude,
    check_recommend_is_top_n,
    check_recommend_shape_and_order,
    check_unseen_and_empty_rows,
    check_users_argument,
)
from sklearn_recsys.utils.estimator_checks._predictions import (
    check_blocks,
    check_checkerboard,
    check_permutations,
    check_predict_pairs,
    check_rating_units,
)
from sklearn_recsys.utils.estimator_checks._scores import check_score
from sklearn_recsys.utils.estimator_checks._tools import seeded

__all__ = [
    "check_recommender",
    "expected_failed_checks",
    "parametrize_with_checks",
    "recommender_checks",
]

_CHECKS = [
    check_recommend_shape_and_order,
    check_recommend_is_top_n,
    check_predict_pairs,
    check_explain,
    check_why_not,
    check_users_argument,
    check_unseen_and_empty_rows,
    check_candidates_and_exclude,
    check_blocks,
    check_permutations,
    check_containers,
    check_explicit_zeros,
    check_persistence,
    check_reproducible,
    check_input_unmodified,
    check_failing_fit,
    check_corrupt_input,
    check_score,
    check_rating_units,
    check_partial_fit,
    check_checkerboard,
]


def expected_failed_checks(estimator):
    """Return the common checks of scikit-learn that a recommender must fail by its contract.

    Parameters
    ----------
    estimator : estimator
        A recommender.

    Returns
    -------
    checks : dict of str to str
        Names of checks and the reasons, for
        :func:`sklearn.utils.estimator_checks.parametrize_with_checks`.

    See Also
    --------
    check_recommender : The checks of the contract itself, all of which must pass.
    sklearn.utils.estimator_checks.check_estimator : Takes these names and reasons.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import expected_failed_checks
    >>> sorted(expected_failed_checks(EASE()))
    ['check_estimator_sparse_array', 'check_estimator_sparse_matrix']
    """
    reason = (
        "demands a 1-D predict on sparse input; a recommender predicts every item for every row"
    )
    return {"check_estimator_sparse_array": reason, "check_estimator_sparse_matrix": reason}


def recommender_checks(estimator):
    """Return the checks of `check_recommender`, to run them one by one.

    Parameters
    ----------
    estimator : estimator
        A recommender; it is cloned for each check.

    Returns
    -------
    checks : list of functools.partial
        Each runs one check when called without arguments; ``check.func.__name__`` is its name.

    See Also
    --------
    parametrize_with_checks : Make a pytest test of each check.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import recommender_checks
    >>> first, *others = recommender_checks(EASE())
    >>> first.func.__name__
    'check_recommend_shape_and_order'
    >>> first()
    """
    return [partial(check, seeded(estimator)) for check in _CHECKS]


def parametrize_with_checks(estimators):
    """Parametrize a pytest test with each check of each recommender.

    Parameters
    ----------
    estimators : list of estimator
        Recommenders; they are cloned for each check, and their `random_state` is set to 0.

    Returns
    -------
    decorator : pytest.MarkDecorator
        For a test with the arguments `estimator` and `check`, which calls ``check(estimator)``.

    See Also
    --------
    sklearn.utils.estimator_checks.parametrize_with_checks : The same for scikit-learn's checks;
        pass it :func:`expected_failed_checks`.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN
    >>> from sklearn_recsys.utils.estimator_checks import parametrize_with_checks
    >>> @parametrize_with_checks([EASE(l2=10), ItemKNN()])
    ... def test_contract(estimator, check):
    ...     check(estimator)
    """
    import pytest

    return pytest.mark.parametrize(
        ("estimator", "check"),
        [
            pytest.param(estimator, partial(_run, check), id=f"{estimator!r}-{check.__name__}")
            for estimator in estimators
            for check in _CHECKS
        ],
    )


def _run(check, estimator):
    check(seeded(estimator))


def check_recommender(estimator):
    """Check that a recommender follows the contract.

    Parameters
    ----------
    estimator : estimator
        A recommender, that is, a :class:`~sklearn_recsys.base.RecommenderMixin`; parameters called
        `random_state` are set to 0.

    Raises
    ------
    AssertionError
        At the first check that fails.

    See Also
    --------
    parametrize_with_checks : Make a pytest test of each check.
    sklearn.utils.estimator_checks.check_estimator : The checks of scikit-learn; see
        :func:`expected_failed_checks`.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import check_recommender
    >>> check_recommender(EASE())
    """
    for check in recommender_checks(estimator):
        check()
