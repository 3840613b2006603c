"""Mistakes that type checkers must find: where they find none, the comment is an error.

`make lint` checks the file; nothing runs it.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from scipy.sparse import csr_array

import sklearn_recsys
from sklearn_recsys import ALS, EASE, MultVAE, TwoTower, load
from sklearn_recsys.datasets import EASY  # type: ignore
from sklearn_recsys.metrics import ndcg_at_k

X = csr_array((3, 4))

sklearn_recsys.EASY()  # type: ignore
EASY()
load()  # type: ignore
EASE(l3=100)  # type: ignore
MultVAE(n_factor=16)  # pyright: ignore
MultVAE(max_epochs="10")  # type: ignore
TwoTower(loss=None)  # type: ignore
ndcg_at_k(X, [[0]], gain="linear")  # type: ignore

model = ALS().fit(X)
model.recommend(return_score=True)  # type: ignore
model.recommend(user_features=X)  # type: ignore
model.recommend(n=3).set_index("item")  # type: ignore
model.recommend(return_scores=True).tolist()  # type: ignore
model.predict(X).to_numpy()  # type: ignore
model.score(X).mean()  # type: ignore
ids, scores, ranks = model.recommend(return_scores=True)  # type: ignore
ids, scores, ranks = model.similar_items(0)  # type: ignore
