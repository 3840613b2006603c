"""scikit-learn for recommender systems.

A sparse user × item matrix goes in, an estimator comes out. Names are imported when they are first
used: ``import sklearn_recsys`` loads neither torch nor any model.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# every public name, by the module that documents it: the API reference is made from this table
_PUBLIC = {
    "sklearn_recsys.dummy": ["BiasRecommender", "PopularityRecommender", "RandomRecommender"],
    "sklearn_recsys.decomposition": ["ALS"],
    "sklearn_recsys.linear_model": ["EASE", "GraphFilter", "RP3beta", "SLIM"],
    "sklearn_recsys.neighbors": ["ItemKNN", "ItemKNNBaseline", "UserKNN", "UserKNNBaseline"],
    "sklearn_recsys.content": ["ContentRecommender"],
    "sklearn_recsys.neural": [
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
    ],
    "sklearn_recsys.pipeline": ["RecommenderPipeline", "make_recommender_pipeline"],
    "sklearn_recsys.compose": [
        "BackfillRecommender",
        "Calibration",
        "CategoryQuota",
        "ItemRules",
        "MaximalMarginalRelevance",
        "RerankedRecommender",
        "Reranker",
        "StackingRecommender",
        "SwitchRecommender",
        "TwoStageRecommender",
        "VotingRecommender",
        "cap_exposure",
    ],
    "sklearn_recsys.batch": ["BatchRecommender"],
    "sklearn_recsys.dask": [
        "DaskALS",
        "DaskEASE",
        "DaskInteractionEncoder",
        "DaskItemKNN",
        "DaskRP3beta",
        "DaskSLIM",
    ],
    "sklearn_recsys.model_selection": [
        "HoldoutSplit",
        "cell_kfold",
        "cross_validate",
        "evaluate",
        "leave_last_out",
        "random_holdout",
        "sample_negatives",
        "temporal_split",
        "user_split",
    ],
    "sklearn_recsys.inspection": [
        "Comparison",
        "ExplanationDisplay",
        "HistoryLengthDisplay",
        "ItemMapDisplay",
        "LeaderboardDisplay",
        "LongTailDisplay",
        "MetricAtKDisplay",
        "TradeOffDisplay",
        "TrainingHistoryDisplay",
        "compare",
    ],
    "sklearn_recsys.metrics": [
        "calibration_error_at_k",
        "coverage_at_k",
        "gini_at_k",
        "hr_at_k",
        "intra_list_diversity_at_k",
        "mae",
        "make_recommender_scorer",
        "map_at_k",
        "mrr_at_k",
        "ndcg_at_k",
        "novelty_at_k",
        "popularity_bias_at_k",
        "precision_at_k",
        "provider_share_at_k",
        "recall_at_k",
        "relevance_loss_at_k",
        "rmse",
    ],
    "sklearn_recsys.persistence": ["ModelFileError", "load", "load_csr", "save", "save_csr"],
    "sklearn_recsys.preprocessing": [
        "BM25Transformer",
        "FeatureEncoder",
        "InteractionEncoder",
        "LogTransformer",
        "filter_k_core",
    ],
    "sklearn_recsys.datasets": [
        "fetch_movielens",
        "fetch_ncf_split",
        "make_interactions",
        "make_movies",
        "make_ratings",
    ],
    "sklearn_recsys.base": [
        "ExplainMixin",
        "FactorsMixin",
        "RecommenderMixin",
        "RecommenderTags",
        "UserFeaturesMixin",
        "is_recommender",
    ],
    "sklearn_recsys.exceptions": [
        "ConvergenceWarning",
        "LeakWarning",
        "RecommenderWarning",
        "ValuesWarning",
        "VersionWarning",
    ],
    "sklearn_recsys.utils.discovery": ["all_recommenders"],
    "sklearn_recsys.utils.estimator_checks": [
        "check_recommender",
        "expected_failed_checks",
        "parametrize_with_checks",
        "recommender_checks",
    ],
    "sklearn_recsys.utils.progress": ["show_progress"],
}

# models, pipelines, save and load are names of the package itself, and so is what takes a first
# model from events to a score, or shows how far it is; everything else lives in its submodule, what
# models are made of, too
_FIRST_STEPS = {
    "HoldoutSplit",
    "InteractionEncoder",
    "evaluate",
    "fetch_movielens",
    "leave_last_out",
    "random_holdout",
    "show_progress",
}
_BLOCKS = {
    "Calibration",
    "CategoryQuota",
    "InductiveRanker",
    "ItemRules",
    "MaximalMarginalRelevance",
    "NegativeSampler",
    "NeuralRecommender",
    "PairModule",
    "RankingModule",
    "Reranker",
    "RowDataset",
    "SparseRows",
    "TransductiveRecommender",
    "cap_exposure",
}
_BELOW = (
    "base batch dask datasets exceptions inspection metrics model_selection preprocessing utils"
).split()
_TOP_LEVEL = {
    name: module
    for module, names in _PUBLIC.items()
    for name in names
    if name in _FIRST_STEPS or (name not in _BLOCKS and module.split(".")[1] not in _BELOW)
}
_SUBMODULES = sorted({module.split(".")[1] for module in _PUBLIC})

__all__ = [*_TOP_LEVEL, *_SUBMODULES]


if TYPE_CHECKING:  # what type checkers and editors see of the names that `__getattr__` imports
    from sklearn_recsys import (
        base as base,
        batch as batch,
        compose as compose,
        content as content,
        dask as dask,
        datasets as datasets,
        decomposition as decomposition,
        dummy as dummy,
        exceptions as exceptions,
        inspection as inspection,
        linear_model as linear_model,
        metrics as metrics,
        model_selection as model_selection,
        neighbors as neighbors,
        neural as neural,
        persistence as persistence,
        pipeline as pipeline,
        preprocessing as preprocessing,
        utils as utils,
    )
    from sklearn_recsys.compose import (
        BackfillRecommender as BackfillRecommender,
        RerankedRecommender as RerankedRecommender,
        StackingRecommender as StackingRecommender,
        SwitchRecommender as SwitchRecommender,
        TwoStageRecommender as TwoStageRecommender,
        VotingRecommender as VotingRecommender,
    )
    from sklearn_recsys.content import (
        ContentRecommender as ContentRecommender,
    )
    from sklearn_recsys.datasets import (
        fetch_movielens as fetch_movielens,
    )
    from sklearn_recsys.decomposition import (
        ALS as ALS,
    )
    from sklearn_recsys.dummy import (
        BiasRecommender as BiasRecommender,
        PopularityRecommender as PopularityRecommender,
        RandomRecommender as RandomRecommender,
    )
    from sklearn_recsys.linear_model import (
        EASE as EASE,
        SLIM as SLIM,
        GraphFilter as GraphFilter,
        RP3beta as RP3beta,
    )
    from sklearn_recsys.model_selection import (
        HoldoutSplit as HoldoutSplit,
        evaluate as evaluate,
        leave_last_out as leave_last_out,
        random_holdout as random_holdout,
    )
    from sklearn_recsys.neighbors import (
        ItemKNN as ItemKNN,
        ItemKNNBaseline as ItemKNNBaseline,
        UserKNN as UserKNN,
        UserKNNBaseline as UserKNNBaseline,
    )
    from sklearn_recsys.neural import (
        CDAE as CDAE,
        ELSA as ELSA,
        NCF as NCF,
        SVAE as SVAE,
        AutoRec as AutoRec,
        DeepAutoencoder as DeepAutoencoder,
        EmbeddingNet as EmbeddingNet,
        ImplicitMatrixFactorization as ImplicitMatrixFactorization,
        LightGCN as LightGCN,
        MatrixFactorization as MatrixFactorization,
        MultDAE as MultDAE,
        MultVAE as MultVAE,
        RecVAE as RecVAE,
        SASRec as SASRec,
        SimpleX as SimpleX,
        TwoTower as TwoTower,
    )
    from sklearn_recsys.persistence import (
        ModelFileError as ModelFileError,
        load as load,
        load_csr as load_csr,
        save as save,
        save_csr as save_csr,
    )
    from sklearn_recsys.pipeline import (
        RecommenderPipeline as RecommenderPipeline,
        make_recommender_pipeline as make_recommender_pipeline,
    )
    from sklearn_recsys.preprocessing import (
        InteractionEncoder as InteractionEncoder,
    )
    from sklearn_recsys.utils.progress import (
        show_progress as show_progress,
    )
else:  # type checkers would accept any name

    def __getattr__(name):
        if name in _TOP_LEVEL:
            return getattr(import_module(_TOP_LEVEL[name]), name)
        if name in _SUBMODULES:
            return import_module(f"sklearn_recsys.{name}")
        text = f"module 'sklearn_recsys' has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__])  # Python names near ones


def __dir__():
    return [*globals(), *__all__]
