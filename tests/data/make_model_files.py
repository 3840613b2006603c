"""Write the saved models that later versions must go on loading.

    python tests/data/make_model_files.py FOLDER [NAME ...]

It writes one small file for each kind of model into FOLDER and what the models answer into
FOLDER/expected.npz, all of it from made-up data; with names, of these models only. A folder is
written once, by the version of the package that it is named after, and stays as it is:
``tests/test_saved_files.py`` loads all of them. Models that are new get a folder of their own.
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
    ELSA,
    NCF,
    SLIM,
    SVAE,
    AutoRec,
    BiasRecommender,
    ContentRecommender,
    DeepAutoencoder,
    EmbeddingNet,
    GraphFilter,
    ImplicitMatrixFactorization,
    ItemKNN,
    ItemKNNBaseline,
    LightGCN,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    RecVAE,
    RP3beta,
    SASRec,
    SimpleX,
    TwoTower,
    UserKNN,
    UserKNNBaseline,
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
TOWERS = {"n_factors": 3, "embedding_dim": 3, "hidden_layer_sizes": (4,)}
NUMBERS = (np.arange(N_ITEMS * 3).reshape(N_ITEMS, 3) % 4).astype(np.float32)


def ratings(seed=0):
    """Return a small matrix of ratings; another seed gives other users."""
    return make_ratings(N_USERS, N_ITEMS, density=0.4, random_state=seed)


def recommenders():
    """Yield the name and the unfitted model of each file."""
    yield "ALS", ALS(n_factors=3, max_iter=2, random_state=0)
    yield "AutoRec", AutoRec(n_factors=3, l2=1.0, **NEURAL)
    yield "AutoRec_user", AutoRec(n_factors=3, kind="user", l2=1.0, **NEURAL)
    yield "BiasRecommender", BiasRecommender()
    yield "CDAE", CDAE(n_factors=3, **NEURAL)
    yield "ContentRecommender", ContentRecommender(NUMBERS)
    yield (
        "DeepAutoencoder",
        DeepAutoencoder(hidden_layer_sizes=(4, 3), n_refeeds=2, l2=1.0, **NEURAL),
    )
    yield "EASE", EASE(l2=2.0)
    relative = {"dropout": 0.2, "max_diagonal": 0.1, "user_normalization": 0.5}
    yield "EASE_relative", EASE(l2=2.0, item_features=FEATURES, **relative)
    yield "ELSA", ELSA(n_factors=3, **NEURAL)
    yield "EmbeddingNet", EmbeddingNet(n_factors=3, hidden_layer_sizes=(4,), **NEURAL)
    yield "GraphFilter", GraphFilter(n_factors=3, random_state=0)
    yield "ItemKNN", ItemKNN(n_neighbors=3, metric="pearson")
    yield "ItemKNNBaseline", ItemKNNBaseline(n_neighbors=3, shrinkage=2)
    yield "LightGCN", LightGCN(n_factors=3, **NEURAL)
    yield "MatrixFactorization", MatrixFactorization(n_factors=3, **NEURAL)
    yield "MatrixFactorization_implicit", MatrixFactorization(n_factors=3, implicit=True, **NEURAL)
    yield "ImplicitMatrixFactorization", ImplicitMatrixFactorization(n_factors=3, **NEURAL)
    yield "MultDAE", MultDAE(n_factors=3, **NEURAL)
    yield "MultVAE", MultVAE(n_factors=3, hidden_layer_sizes=(4,), **NEURAL)
    yield "NCF", NCF(n_factors=2, hidden_layer_sizes=(4, 2), pretrain=False, **NEURAL)
    yield "PopularityRecommender", PopularityRecommender()
    yield "RandomRecommender", RandomRecommender(random_state=0)
    yield "RecVAE", RecVAE(n_factors=3, n_hidden=4, **NEURAL)
    yield "SASRec", SASRec(n_factors=3, n_negatives=4, **NEURAL)
    yield "RP3beta", RP3beta(n_neighbors=3)
    low_pass = {"low_pass": 0.3, "n_factors": 3, "random_state": 0}
    yield "RP3beta_low_pass", RP3beta(n_neighbors=3, **low_pass)
    yield "SimpleX", SimpleX(n_factors=3, **NEURAL)
    yield "SLIM", SLIM(alpha=0.1)
    yield (
        "SVAE",
        SVAE(n_factors=2, embedding_dim=3, n_recurrent=4, n_hidden=3, next_k=2, **NEURAL),
    )
    yield "TwoTower", TwoTower(**TOWERS, **NEURAL)
    yield "UserKNN", UserKNN(n_neighbors=3)
    yield "UserKNNBaseline", UserKNNBaseline(n_neighbors=3, shrinkage=2)


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


def main(folder, names):
    folder.mkdir(parents=True)
    users = vstack([ratings()[:4], ratings(seed=1)[:4]])  # known and new
    expected = {"users": users.toarray(), "ages": AGES[:8].to_numpy()}
    for name, model in recommenders():
        if not names or name in names:
            model.fit(ratings()).save(folder / f"{name}.recsys")
            expected[name] = model.predict(users)
    if not names:
        save_features_and_encoder(folder, users, expected)
    np.savez_compressed(folder / "expected.npz", **expected)


def save_features_and_encoder(folder, users, expected):
    """Save a model with features and a pipeline with an encoder; add their answers."""
    model = TwoTower(
        item_features=FEATURES,
        item_encoder=FeatureEncoder(),
        user_encoder=FeatureEncoder(),
        loss="softmax",
        feature_embedding_dim=2,
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
