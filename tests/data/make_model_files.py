"""Write the saved models that later versions must go on loading.

    python tests/data/make_model_files.py FOLDER

It writes one small file for each kind of model into FOLDER and what the models answer into
FOLDER/expected.npz, all of it from made-up data. A folder is written once, by the version of the
package that it is named after, and stays as it is: ``tests/test_saved_files.py`` loads all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    Normalizer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from sklearn_recsys import (
    ALS,
    CDAE,
    EASE,
    NCF,
    SVAE,
    AutoRec,
    ContentRecommender,
    DeepAutoencoder,
    EmbeddingNet,
    ItemKNN,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    RecVAE,
    TwoTowerRecommender,
    UserKNN,
    load,
)
from sklearn_recsys.datasets import make_ratings
from sklearn_recsys.preprocessing import BM25Transformer, FeatureEncoder, InteractionEncoder

N_USERS, N_ITEMS = 14, 9
NEURAL = {"max_epochs": 2, "early_stopping": False, "random_state": 0}
FEATURES = pd.DataFrame(
    {
        "year": 1990 + np.arange(N_ITEMS) % 4,
        "kind": [["drama", "comedy", "war"][i % 3] for i in range(N_ITEMS)],
    }
)
AGES = pd.DataFrame({"age": [20 + 3 * user for user in range(N_USERS)]})
TOWERS = {"n_factors": 3, "n_embedding": 3, "hidden_layer_sizes": (4,)}
NUMBERS = (np.arange(N_ITEMS * 3).reshape(N_ITEMS, 3) % 4).astype(np.float32)


def ratings(seed=0):
    """Return a small matrix of ratings; another seed gives other users."""
    return make_ratings(N_USERS, N_ITEMS, density=0.4, random_state=seed)


def recommenders():
    """Yield the name and the unfitted model of each file."""
    yield "ALS", ALS(n_factors=3, max_iter=2, random_state=0)
    yield "AutoRec", AutoRec(n_factors=3, l2=1.0, **NEURAL)
    yield "AutoRec_user", AutoRec(n_factors=3, kind="user", l2=1.0, **NEURAL)
    yield "CDAE", CDAE(n_factors=3, **NEURAL)
    yield "ContentRecommender", ContentRecommender(NUMBERS)
    yield (
        "DeepAutoencoder",
        DeepAutoencoder(hidden_layer_sizes=(4, 3), n_refeeds=2, l2=1.0, **NEURAL),
    )
    yield "EASE", EASE(l2=2.0)
    yield "EmbeddingNet", EmbeddingNet(n_factors=3, hidden_layer_sizes=(4,), **NEURAL)
    yield "ItemKNN", ItemKNN(n_neighbors=3, metric="pearson")
    yield "MatrixFactorization", MatrixFactorization(n_factors=3, **NEURAL)
    yield "MatrixFactorization_bpr", MatrixFactorization(n_factors=3, loss="bpr", **NEURAL)
    yield "MultDAE", MultDAE(n_factors=3, **NEURAL)
    yield "MultVAE", MultVAE(n_factors=3, hidden_layer_sizes=(4,), **NEURAL)
    yield "NCF", NCF(n_factors=2, hidden_layer_sizes=(4, 2), pretrain=False, **NEURAL)
    yield "PopularityRecommender", PopularityRecommender()
    yield "RandomRecommender", RandomRecommender(random_state=0)
    yield "RecVAE", RecVAE(n_factors=3, n_hidden=4, **NEURAL)
    yield (
        "SVAE",
        SVAE(n_factors=2, n_embedding=3, n_recurrent=4, n_hidden=3, next_k=2, **NEURAL),
    )
    yield "TwoTowerRecommender", TwoTowerRecommender(**TOWERS, **NEURAL)
    yield "UserKNN", UserKNN(n_neighbors=3)


def events():
    """Return the ratings as a frame of events with text as ids."""
    cells = ratings().tocoo()
    return pd.DataFrame(
        {
            "user": [f"user {row:02}" for row in cells.row],
            "item": [f"item {column}" for column in cells.col],
            "rating": cells.data,
        }
    )


def main(folder):
    folder.mkdir(parents=True)
    users = vstack([ratings()[:4], ratings(seed=1)[:4]])  # known and new
    expected = {"users": users.toarray(), "ages": AGES[:8].to_numpy()}
    for name, model in recommenders():
        model.fit(ratings()).save(folder / f"{name}.recsys")
        expected[name] = model.predict(users)

    model = TwoTowerRecommender(
        item_features=FEATURES,
        item_encoder=FeatureEncoder(),
        user_encoder=FeatureEncoder(),
        loss="softmax",
        n_feature_embedding=2,
        **TOWERS,
        **NEURAL,
    )
    model.fit(ratings(), user_features=AGES).save(folder / "features.recsys")
    expected["features"] = model.predict(users, user_features=AGES[:8])

    encoder = InteractionEncoder()
    X = encoder.fit_transform(events())
    encoder.save(folder / "InteractionEncoder.recsys")
    steps = [
        ("robust", RobustScaler(with_centering=False)),
        ("quantile", QuantileTransformer(n_quantiles=5, ignore_implicit_zeros=True)),
        ("inner", make_pipeline(MaxAbsScaler(), StandardScaler(with_mean=False), Binarizer())),
        ("bm25", BM25Transformer()),
        ("normalizer", Normalizer("l1")),
        ("tfidf", TfidfTransformer(sublinear_tf=True)),
        ("ease", EASE(l2=2.0)),
    ]
    RecommenderPipeline(steps, encoder=encoder).fit(X).save(folder / "encoder.recsys")
    model = load(folder / "encoder.recsys")
    expected["encoder"] = model.predict(users)
    expected["encoder_items"] = model.recommend(["user 03", "user 00"], n=3)["item"].to_numpy("U")
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
