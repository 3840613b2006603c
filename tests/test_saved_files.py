"""Files saved by earlier versions still load, and answer what they answered then.

``tests/data/make_model_files.py`` made them. A file that no longer loads is a fault of the package:
the folders are never written again. ``0.1.0-matrix-factorization`` holds models of the time when
`MatrixFactorization` had a parameter `loss`, among them two whose parameters changed after `fit`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sklearn_recsys import load
from sklearn_recsys.utils.discovery import all_recommenders

FOLDERS = sorted((Path(__file__).parent / "data/model_files").iterdir())
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.recsys"))]

# of other versions of scikit-learn, on which the tests run, too
pytestmark = pytest.mark.filterwarnings("ignore:.* was saved with")


def test_every_model_has_a_file():
    renamed = {
        "TwoTowerRecommender": "TwoTower",
        "MatrixFactorization_bpr": "ImplicitMatrixFactorization",
    }
    names = {path.stem for path in FILES}
    names = {renamed.get(name, name) for name in names}
    assert {name for name, _ in all_recommenders()} <= names
    assert {"InteractionEncoder", "encoder", "features"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_saved_files(path):
    model = load(path)
    expected = np.load(path.parent / "expected.npz")
    users = csr_array(expected["users"])  # four that the models know, and four new ones
    if path.stem == "InteractionEncoder":
        cells = users.tocoo()
        events = pd.DataFrame({"user": "user 00", "item": cells.col, "rating": cells.data})
        events["item"] = [f"item {column}" for column in cells.col]
        first = model.transform(events[cells.row == 0]).toarray()
        assert_array_equal(first[0], expected["users"][0])
        assert not first[1:].any()
        return
    features = {}
    if path.stem == "features":
        features["user_features"] = pd.DataFrame(expected["ages"], columns=["age"])
    answer = model.predict(users, **features)
    assert_allclose(answer, expected[path.stem], rtol=1e-5, atol=1e-6)
    if path.stem == "encoder":
        items = model.recommend(["user 03", "user 00"], n=3)["item"]
        assert items.tolist() == expected["encoder_items"].tolist()
    elif hasattr(model, "partial_fit") and not features:
        model.partial_fit(model.interactions_)
        assert np.isfinite(model.predict(users)).all()


@pytest.mark.parametrize(
    ("file", "name", "params"),
    [
        ("", "MatrixFactorization", {"rating_range": (1, 5), "lr": 0.5, "l2": 0.3}),
        ("_bpr", "ImplicitMatrixFactorization", {"loss": "bpr", "lr": 0.01, "l2": 0.01}),
        ("_logistic", "ImplicitMatrixFactorization", {"negatives": "all", "n_negatives": 5}),
        ("_sampled", "ImplicitMatrixFactorization", {"negatives": "sampled", "lr": 0.05}),
    ],
)
def test_a_matrix_factorization_of_a_loss_loads_as_the_class_of_today(file, name, params):
    folder = "0.1.0-matrix-factorization"
    (path,) = (
        p for p in FILES if p.parent.name == folder and p.stem == f"MatrixFactorization{file}"
    )
    model = load(path)
    assert type(model).__name__ == name
    assert {key: getattr(model, key) for key in params} == params
    # the net is that of the parameters of fit
    expected = {"": 0.003, "_sampled": 0.05}.get(file, 0.01)
    assert model.net_.lr == expected
    ranker = name != "MatrixFactorization"
    assert not ranker or model.net_.module_.n_negatives == (2 if file == "_sampled" else 4)
