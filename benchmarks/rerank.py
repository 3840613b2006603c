"""Reranked lists on ml-1m: what diversity, calibration and caps cost in accuracy."""

from time import process_time

import numpy as np
import pandas as pd
from scipy.stats import sem
from sklearn.model_selection import GridSearchCV

from sklearn_recsys import EASE, RerankedRecommender
from sklearn_recsys.compose import (
    Calibration,
    CategoryQuota,
    MaximalMarginalRelevance,
    cap_exposure,
)
from sklearn_recsys.datasets import fetch_movielens
from sklearn_recsys.metrics import (
    calibration_error_at_k,
    coverage_at_k,
    intra_list_diversity_at_k,
    ndcg_at_k,
    provider_share_at_k,
    relevance_loss_at_k,
)
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import FeatureEncoder, InteractionEncoder

_TRADE_OFFS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def trade_offs():
    """Curves of NDCG@10 against what is gained; a fifth of each user's likes is held out.

    EASE's penalty is chosen on likes held out of the training ones. MovieLens has no providers: the
    years of release stand in for them.
    """
    data = fetch_movielens("1m")
    likes = data.interactions[data.interactions["rating"] >= 4]
    encoder = InteractionEncoder(values="one")
    R = encoder.fit_transform(likes)
    movies = data.items.loc[encoder.item_ids_]
    genres = FeatureEncoder().fit_transform(movies[["genres"]])
    years = movies["year"].to_numpy(dtype=object)
    train, test = random_holdout(R, random_state=0)
    search = GridSearchCV(EASE(), {"l2": [300, 500, 1000, 2000]}, cv=HoldoutSplit())
    model = search.fit(*random_holdout(train, random_state=1)).best_estimator_
    base = RerankedRecommender(model, []).fit(train)
    own, best = base.recommend(return_scores=True)
    own_ndcg = ndcg_at_k(test, own, average=None)

    def row(lists, scores):
        ndcg = ndcg_at_k(test, lists, average=None)
        return {
            "NDCG@10": np.nanmean(ndcg),
            "s.e. of the difference": sem(ndcg - own_ndcg, nan_policy="omit"),
            "diversity": intra_list_diversity_at_k(lists, genres),
            "calibration error": calibration_error_at_k(lists, train, genres),
            "largest share of a year": provider_share_at_k(lists, years),
            "coverage": coverage_at_k(lists, R.shape[1]),
            "relevance loss": relevance_loss_at_k(scores, best),
        }

    rows = {}
    for name, rerankers in _variants(genres, years):
        reranked = base.set_params(rerankers=rerankers).fit(train)
        start = process_time()
        lists, scores = reranked.recommend(return_scores=True)
        rows[name] = {**row(lists, scores), "CPU s": process_time() - start}
    candidates = base.set_params(rerankers=[]).fit(train).recommend(n=200, return_scores=True)
    for share in (0.05, 0.03):
        start = process_time()
        lists = cap_exposure(*candidates, max_share=share, providers=years)
        rows[f"cap_exposure, years, {share}"] = {**row(*lists), "CPU s": process_time() - start}
    print(f"chosen: {model}")
    return pd.DataFrame(rows).T.round(4)


def _variants(genres, years):
    yield "the model alone", []
    for trade_off in _TRADE_OFFS:
        mmr = MaximalMarginalRelevance(genres, trade_off=trade_off)
        yield f"MMR, {trade_off}", [("mmr", mmr)]
    for trade_off in _TRADE_OFFS:
        calibration = Calibration(genres, trade_off=trade_off)
        yield f"calibration, {trade_off}", [("calibration", calibration)]
    for maximum in (4, 3, 2, 1):
        cap = CategoryQuota(years, maximum=maximum)
        yield f"at most {maximum} of a year", [("cap", cap)]
    mmr = MaximalMarginalRelevance(genres, trade_off=0.3)
    yield "MMR, 0.3, at most 2", [("mmr", mmr), ("cap", CategoryQuota(years, maximum=2))]
