"""Scores of several models with intervals, and paired tests against a baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.inspection._resampling import bootstrap_sums, holm, sign_flip_test
from sklearn_recsys.metrics._outcome import as_score

COLUMNS = [
    "score",
    "low",
    "high",
    "standard_error",
    "repeat_sd",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "p_holm",
    "effect_size",
]


def score_table(sums, baseline, confidence_level, n_resamples, rng):
    """Return the frame of scores of `Comparison`, for the metrics that have a value of each user.

    Parameters
    ----------
    sums : dict of str to dict of str to RowSums
        By metric and model; the rows are users, the same for all, at least two with held-out cells.
    baseline : str
        The model that the others are tested against.
    confidence_level : float
        The confidence level of the intervals.
    n_resamples : int
        The number of bootstrap samples, and of random sign flips.
    rng : numpy.random.Generator
        What draws them.

    Returns
    -------
    table : DataFrame
        Indexed by metric and model, with all `COLUMNS` but ``"repeat_sd"``.
    """
    columns = [of_model for of_models in sums.values() for of_model in of_models.values()]
    counts = [next(iter(of_models.values())).counts for of_models in sums.values()]
    users = np.any(np.column_stack(counts) > 0, axis=1)
    values = np.column_stack([*(column.totals for column in columns), *counts])[users]
    resampled = bootstrap_sums(values, n_resamples, rng)
    differences = [
        of_models[model].totals - of_models[baseline].totals
        for of_models in sums.values()
        for model in of_models
    ]
    p_values = sign_flip_test(np.column_stack(differences)[users], n_resamples, rng)
    tails = (1 - confidence_level) / 2
    tables = {}
    for i, (label, of_models) in enumerate(sums.items()):
        own = slice(i * len(of_models), (i + 1) * len(of_models))
        with np.errstate(invalid="ignore"):  # a sample without any value
            means = resampled[:, own] / resampled[:, [len(columns) + i]]
        name = next(iter(of_models.values())).name
        scores = pd.DataFrame(as_score(name, means), columns=list(of_models))
        others = np.array([model != baseline for model in of_models])
        gains = scores.sub(scores[baseline], axis=0)
        tested = np.where(others, p_values[own], np.nan)
        table = pd.DataFrame(
            {
                "score": [of_model.score for of_model in of_models.values()],
                "low": scores.quantile(tails),
                "high": scores.quantile(1 - tails),
                "standard_error": [of_model.standard_error for of_model in of_models.values()],
                "difference_low": gains.quantile(tails).where(others),
                "difference_high": gains.quantile(1 - tails).where(others),
                "p_value": tested,
                "p_holm": holm(tested),
                "effect_size": [
                    _effect_size(of_models[model], of_models[baseline]) for model in of_models
                ],
            },
            index=list(of_models),
        )
        table["difference"] = (table["score"] - table.loc[baseline, "score"]).where(others)
        table["effect_size"] = table["effect_size"].where(others)
        tables[label] = table
    return pd.concat(tables, names=["metric", "model"])


def _effect_size(sums, of_baseline):
    """Return the difference of two scores by the standard deviation of the users' differences."""
    spread = (sums.influence - of_baseline.influence).std(ddof=1)
    difference = sums.score - of_baseline.score
    return difference / spread if spread else 0.0 * difference
