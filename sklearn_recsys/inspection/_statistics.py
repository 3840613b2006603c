"""Scores of several models with intervals, and paired tests against a baseline."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.inspection._resampling import (
    bca_interval,
    bootstrap_sums,
    holm,
    sign_flip_test,
)
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
    tables = {}
    for i, (label, of_models) in enumerate(sums.items()):
        own = slice(i * len(of_models), (i + 1) * len(of_models))
        with np.errstate(invalid="ignore"):  # a sample without any value
            means = resampled[:, own] / resampled[:, [len(columns) + i]]
        name = of_models[baseline].name
        scores = pd.DataFrame(as_score(name, means), columns=list(of_models))
        rows = {
            model: _row(of_model, scores[model], confidence_level)
            for model, of_model in of_models.items()
        }
        for model in rows.keys() - {baseline}:
            sums_of_two = of_models[model], of_models[baseline]
            gains = scores[model] - scores[baseline]
            rows[model].update(_difference_row(*sums_of_two, gains, confidence_level))
        tested = np.where([model != baseline for model in of_models], p_values[own], np.nan)
        table = pd.DataFrame.from_dict(rows, orient="index")
        tables[label] = table.assign(p_value=tested, p_holm=holm(tested))
    return pd.concat(tables, names=["metric", "model"])


def _row(sums, resampled, confidence_level):
    """Return the score of a model, with its interval."""
    score, influence = sums.score, sums.influence
    low, high = bca_interval(resampled.to_numpy(), score, influence, confidence_level)
    return {
        "score": score,
        "low": low,
        "high": high,
        "standard_error": sums.standard_error,
    }


def _difference_row(sums, of_baseline, resampled, confidence_level):
    """Return the difference of a model from the baseline, with its interval and effect size."""
    difference = sums.score - of_baseline.score
    influence = sums.influence - of_baseline.influence
    low, high = bca_interval(resampled.to_numpy(), difference, influence, confidence_level)
    spread = influence.std(ddof=1)
    return {
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "effect_size": difference / spread if spread else 0.0,
    }
