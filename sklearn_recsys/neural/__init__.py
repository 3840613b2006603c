"""Neural models, trained by torch through skorch."""

from sklearn_recsys.neural._autorec import AutoRec
from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.transductive import TransductiveRecommender
from sklearn_recsys.neural._cdae import CDAE
from sklearn_recsys.neural._data.negatives import NegativeSampler
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.neural._deep_autoencoder import DeepAutoencoder
from sklearn_recsys.neural._elsa import ELSA
from sklearn_recsys.neural._embedding_net import EmbeddingNet
from sklearn_recsys.neural._implicit_matrix_factorization import ImplicitMatrixFactorization
from sklearn_recsys.neural._lightgcn import LightGCN
from sklearn_recsys.neural._matrix_factorization import MatrixFactorization
from sklearn_recsys.neural._mult_vae import MultDAE, MultVAE
from sklearn_recsys.neural._ncf import NCF
from sklearn_recsys.neural._nn.pair import PairModule
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.neural._rec_vae import RecVAE
from sklearn_recsys.neural._sasrec import SASRec
from sklearn_recsys.neural._simplex import SimpleX
from sklearn_recsys.neural._svae import SVAE
from sklearn_recsys.neural._two_tower import TwoTower

__all__ = [
    "AutoRec",
    "CDAE",
    "DeepAutoencoder",
    "ELSA",
    "EmbeddingNet",
    "ImplicitMatrixFactorization",
    "InductiveRanker",
    "LightGCN",
    "MatrixFactorization",
    "MultDAE",
    "MultVAE",
    "NCF",
    "NegativeSampler",
    "NeuralRecommender",
    "PairModule",
    "RankingModule",
    "RecVAE",
    "RowDataset",
    "SASRec",
    "SVAE",
    "SimpleX",
    "SparseRows",
    "TransductiveRecommender",
    "TwoTower",
]
