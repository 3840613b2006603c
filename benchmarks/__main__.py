"""Print tables: accuracy on real data, speed relative to references, memory.

Run ``make bench``, or ``python -m benchmarks [section ...]``. Real data is read from
``$SKLEARN_RECSYS_DATA``. Sections that take minutes and gigabytes run only when named.
"""

import argparse
import platform
from functools import partial

import numpy as np
import scipy
import sklearn
import torch

from benchmarks import (
    accuracy,
    als,
    autoencoders,
    autorec,
    batch,
    clusters,
    cold_start,
    compare,
    compose,
    contrastive,
    deep_autoencoder,
    defaults,
    ease_large,
    elsa,
    explain,
    graphs,
    kills,
    larger_than_memory,
    latency,
    linear,
    memory,
    pairs,
    precision,
    processes,
    rating_units,
    ratings,
    rerank,
    scale,
    sequences,
    service,
    slim,
    speed,
    svae,
    threads,
    two_tower,
    yelp2018,
)

SECTIONS = {
    "figures": (accuracy.reproduced_figures, "EASE and popularity against figures of others"),
    "new-users": (accuracy.new_users, "new users on ml-1m: 5-fold over users, likes"),
    "ease": (speed.ease_fit, "EASE fit on ml-1m against LAPACK"),
    "top": (speed.top_items, "top-10 of all ml-1m users against a bare product and top-k"),
    "latency": (latency.one_user, "milliseconds of recommend for one user of ml-1m, one thread"),
    "service": (service.service, f"{service.REQUESTS:,} requests to examples/serve.py, a swap"),
    "als": (als.accuracy, "ALS on the NCF split of ml-1m"),
    "als-new-users": (als.new_users, "ALS for 500 users held out of ml-1m"),
    "als-speed": (als.speed, "ALS on ml-1m against implicit, IMPLICIT_PYTHON=path/to/its/python"),
    "autorec": (autorec.accuracy, "AutoRec with default parameters, RMSE"),
    "autorec-ml-100k": (autorec.tuned_on_ml_100k, "AutoRec tuned inside each fold of ml-100k"),
    "autorec-new-users": (autorec.new_users, "AutoRec for 500 users held out of ml-1m"),
    "autorec-activations": (autorec.activations, "activations of AutoRec on ml-100k"),
    "autorec-hidden-units": (autorec.hidden_units, "hidden units of AutoRec on ml-100k"),
    "autorec-memory": (autorec.memory, "memory of fitting AutoRec, 50 hidden units, one epoch"),
    "autorec-recommend": (
        autorec.recommend,
        "AutoRec's recommend for all of ml-1m against bare ridge regressions",
    ),
    "autorec-speed": (autorec.speed, "an epoch of item-based AutoRec against a bare dense loop"),
    "deep-autoencoder": (deep_autoencoder.accuracy, "DeepAutoencoder and AutoRec, RMSE"),
    "deep-autoencoder-ablation": (deep_autoencoder.ablation, "variants of DeepAutoencoder, RMSE"),
    "deep-autoencoder-features": (
        deep_autoencoder.user_features,
        "DeepAutoencoder with gender, age and occupation on ml-1m, RMSE",
    ),
    "autoencoders": (autoencoders.new_users, "new users on ml-1m: autoencoders and EASE"),
    "autoencoders-training-users": (
        autoencoders.training_users,
        "training users on ml-100k, full ranking",
    ),
    "autoencoders-speed": (autoencoders.speed, "an epoch of MultVAE against a bare dense loop"),
    "autoencoders-memory": (autoencoders.memory, "memory of fitting MultVAE, one epoch"),
    "svae": (svae.accuracy, "SVAE and MultVAE in the protocol of SVAE's authors"),
    "svae-steps": (svae.steps, "SVAE with a loss at every step, and at one in next_k"),
    "svae-speed": (svae.speed, "an epoch of SVAE against one user at a time"),
    "sequences": (
        sequences.accuracy,
        "the last item of each user, Beauty and ml-1m",
    ),
    "pairs": (pairs.ranking, "models with user embeddings on the NCF split of ml-1m"),
    "pairs-ratings": (pairs.on_ratings, "the same on ratings, and Surprise's SVD"),
    "pairs-new-users": (pairs.new_users, "the same for 500 users held out of ml-1m, NDCG@10"),
    "pairs-memory": (pairs.memory, "memory of fitting them, one epoch, and ALS, one iteration"),
    "pairs-speed": (pairs.speed, "an epoch of NCF against a bare loop; against Surprise's SVD"),
    "precision": (precision.speed, "training in bf16 against float32 on ml-1m, one thread"),
    "processes": (processes.speed, "training on two processes against one, a thread each"),
    "rating-units": (rating_units.equivariance, "rating models on ml-100k in other units"),
    "rating-units-half-stars": (
        rating_units.accuracy,
        "rating models on ml-latest-small, RMSE",
    ),
    "ratings": (ratings.accuracy, "rating models on five folds of ml-100k, RMSE"),
    "ratings-ml-1m": (ratings.accuracy_ml_1m, "the same on ml-1m"),
    "rerank": (
        rerank.trade_offs,
        "reranked lists of EASE on ml-1m: accuracy against diversity, calibration and caps",
    ),
    "two-tower": (two_tower.ablation, "TwoTower on ml-1m, ablation of its inputs"),
    "two-tower-cold-users": (two_tower.cold_users, "user cold start: features alone"),
    "two-tower-cold-items": (two_tower.cold_items, "item cold start: features alone"),
    "two-tower-new-users": (two_tower.new_users, "new users with histories, and EASE"),
    "two-tower-neighbors": (
        two_tower.neighbors,
        "genres that an item shares with its nearest neighbors",
    ),
    "cold-users": (cold_start.users, "a tenth of ml-1m's users without a history: a switch"),
    "cold-items": (cold_start.items, "a tenth of ml-1m's items without interactions: a blend"),
    "two-tower-speed": (two_tower.speed, "an epoch against a bare loop, top-10 against a product"),
    "defaults": (defaults.default_fits, "every model's default fit on ml-1m: seconds, accuracy"),
    "defaults-ml-100k": (partial(defaults.default_fits, "100k"), "the same on ml-100k"),
    "threads": (threads.seeds, "neural models fitted by six threads at once, three seeds each"),
    "ease-20k": (speed.ease_fit_20k, "EASE fit on 20,000 items against LAPACK"),
    "ease-large": (ease_large.fit, "EASE fit on 41,000 items, on 21,000 in float64"),
    "ease-ml20m": (speed.ease_fit_ml20m, "EASE fit at ml-20m's shape against scipy and torch"),
    "ease-relatives": (linear.ease_relatives, "EASE, EDLAE, RDLAE, ridge and normalization, tuned"),
    "contrastive": (contrastive.yelp2018_test, "SimpleX and LightGCN on Yelp2018"),
    "contrastive-new-users": (contrastive.new_users, "SimpleX for 500 users held out of ml-1m"),
    "warp": (contrastive.warp, "WARP against BPR on ml-1m after equal times"),
    "compare": (compare.speed, "compare: ten models on all users of ml-1m, against evaluate"),
    "compare-coverage": (
        compare.coverage,
        f"how often intervals of {compare.N_USERS} users hold the mean of all, ml-1m",
    ),
    "compare-coverage-2000": (
        partial(compare.coverage, 500, 2_000),
        "the same for studies of 2,000 users",
    ),
    "compare-splits": (compare.repeated_splits, "the same for the mean of 10 random splits"),
    "compare-errors": (compare.errors, "how often tests find a difference by mistake, ml-1m"),
    "compose": (compose.movielens, "stacks and two stages on ml-1m, against their members"),
    "compose-new-users": (compose.new_users, "the same for new users alone"),
    "compose-ncf": (compose.ncf, "the same in NCF's split alone"),
    "compose-yelp2018": (compose.yelp2018_blend, "a stack on Yelp2018, against its members"),
    "elsa": (elsa.accuracy, "ELSA in NCF's split of ml-1m"),
    "explain": (explain.additive, "explanations that sum to the scores: ml-1m, 1,000 users"),
    "explain-leave-one-out": (
        explain.leave_one_out,
        "explanations by leaving out items: what is lost without the top reason, ml-1m",
    ),
    "slim": (slim.accuracy, "SLIM on ml-100k and in NCF's split of ml-1m"),
    "slim-speed": (slim.speed, "SLIM on ml-1m against skrecsys, SKRECSYS_PYTHON=its python"),
    "graphs": (graphs.movielens, "RP3beta and GraphFilter on ml-100k and in NCF's split of ml-1m"),
    "graphs-new-users": (graphs.new_users, "new users on ml-1m: linear models, compared with EASE"),
    "yelp2018": (yelp2018.linear_models, "linear models on Yelp2018, full ranking"),
    "ease-density": (linear.ease_density, "EASE with a share of its weights on Yelp2018"),
    "ease-new-users": (linear.ease_new_users, "EASE's partial_fit against fit on all rows"),
    "kills": (kills.kills, "100 kills of fits with a checkpoint: lost and different must be 0"),
    "dask-ease": (
        clusters.dask_ease,
        f"DaskEASE and EASE from Parquet, {clusters.INTERACTIONS:,} interactions, "
        f"{clusters.ITEMS:,} items",
    ),
    "batch": (
        batch.batch_scoring,
        f"BatchRecommender on Dask, Spark and Ray against a loop, {batch.USERS:,} users",
    ),
    "larger-than-memory": (
        larger_than_memory.larger_than_memory,
        f"{larger_than_memory.EVENTS:,} events from Parquet to a mapped matrix, and fits to it",
    ),
    "memory": (memory.recommend_and_score, "memory of recommend and score at ml-20m's shape"),
}
SECTIONS |= {
    f"scale-{name}": (
        partial(scale.large_catalog, name),
        f"a fit to {scale.SHAPES[name.rpartition('-')[2]][1]:,} items, and new users",
    )
    for name in scale.MODELS
}
NEURAL = (
    "autorec",
    "deep-autoencoder",
    "autoencoders",
    "sequences",
    "svae",
    "pairs",
    "rating-units",
    "two-tower",
)
LONG = {name for name in SECTIONS if name.startswith(NEURAL)}
LONG |= {name for name in SECTIONS if name.startswith("als")}
LONG |= {"ease-relatives", "ease-density", "ease-new-users", "elsa"}
LONG |= {"cold-users", "cold-items"}
LONG |= {name for name in SECTIONS if name.startswith("compare")}
LONG |= {"contrastive", "contrastive-new-users", "warp"}
LONG |= {"explain", "explain-leave-one-out"}
LONG |= {name for name in SECTIONS if name.startswith("compose")}
LONG |= {"slim", "slim-speed", "ratings", "ratings-ml-1m"}
LONG |= {"graphs", "graphs-new-users", "yelp2018"}
LONG |= {name for name in SECTIONS if name.startswith("scale-")}
LONG |= {
    "larger-than-memory",
    "batch",
    "dask-ease",
    "ease-20k",
    "ease-large",
    "ease-ml20m",
    "kills",
    "memory",
    "service",
    "threads",
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections",
        nargs="*",
        choices=[[], *SECTIONS],
        metavar="section",
        help=f"of {', '.join(SECTIONS)}; default: all but {', '.join(sorted(LONG))}",
    )
    sections = parser.parse_args().sections or [name for name in SECTIONS if name not in LONG]
    versions = ", ".join(f"{lib.__name__} {lib.__version__}" for lib in (np, scipy, sklearn, torch))
    print(f"Python {platform.python_version()}, {versions}, {torch.get_num_threads()} threads")
    for name in sections:
        section, title = SECTIONS[name]
        print(f"\n## {title}\n", flush=True)
        print(section().to_string(), flush=True)
