"""What `import sklearn_recsys` costs and offers, and the example of CONTRIBUTING.md."""

import ast
import doctest
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from sklearn.preprocessing import Binarizer
from sklearn.utils.estimator_checks import check_estimator

import sklearn_recsys
from sklearn_recsys import (
    ALS,
    EASE,
    ItemKNN,
    PopularityRecommender,
    RecommenderPipeline,
)
from sklearn_recsys.datasets import make_movies
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils.estimator_checks import check_recommender, expected_failed_checks

ROOT = Path(__file__).parents[1]


def run(code):
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement",
    [
        "import sklearn_recsys",
        "from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, RecommenderPipeline",
        "import sklearn_recsys.metrics, sklearn_recsys.model_selection",
        "import sklearn_recsys.preprocessing, sklearn_recsys.datasets",
    ],
)
def test_import_loads_no_torch(statement):
    heavy = run(f"import sys\n{statement}\nprint(sorted({{'torch', 'skorch'}} & set(sys.modules)))")
    assert heavy == "[]"


def test_a_loaded_model_answers_without_torch(tmp_path):
    """Which takes a second to import; of the models that need none, ALS is fitted with it."""
    encoder = InteractionEncoder()
    movies = make_movies(n_users=30, n_items=20, random_state=0)
    R = encoder.fit_transform(movies.interactions)
    pipe = RecommenderPipeline([("binary", Binarizer()), ("als", ALS(4, max_iter=1))], encoder)
    for model in (EASE(), ALS(4, max_iter=1), ItemKNN(), PopularityRecommender(), pipe):
        model.fit(R).save(tmp_path / type(model).__name__)
    heavy = run(
        "import sys, numpy, scipy.sparse\n"
        "from pathlib import Path\n"
        "from sklearn_recsys import load\n"
        f"for path in Path({str(tmp_path)!r}).iterdir():\n"
        "    model = load(path)\n"
        "    new = scipy.sparse.csr_array(numpy.eye(1, 20))\n"
        "    assert len(model.recommend(new, n=3)), path\n"
        "    model.predict(new), model.recommend(n=2), model.score(model.interactions_)\n"
        "print(sorted({'torch', 'skorch'} & set(sys.modules)))"
    )
    assert heavy == "[]"


def test_import_is_lazy():
    loaded = run(
        "import sys\nimport sklearn_recsys\n"
        "print(sorted({'numpy', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)))"
    )
    assert loaded == "[]"


def test_import_star_and_dir_offer_the_public_names():
    namespace = {}
    exec("from sklearn_recsys import *", namespace)
    assert set(sklearn_recsys.__all__) <= set(namespace)
    assert set(sklearn_recsys.__all__) <= set(dir(sklearn_recsys))


@pytest.mark.parametrize("module", sorted(sklearn_recsys._PUBLIC))
def test_public_names_exist_and_are_documented(module):
    for name in sklearn_recsys._PUBLIC[module]:
        assert getattr(import_module(module), name).__doc__, name


def test_type_checkers_see_the_names_that_are_imported_lazily():
    """The imports under TYPE_CHECKING are those that `__getattr__` makes."""
    tree = ast.parse(Path(sklearn_recsys.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {}
    for statement in block.body:
        for name in statement.names:
            assert name.asname == name.name  # which makes it public to a type checker
            seen[name.name] = statement.module
    submodules = dict.fromkeys(sklearn_recsys._SUBMODULES, "sklearn_recsys")
    assert seen == {**sklearn_recsys._TOP_LEVEL, **submodules}


def test_the_package_says_that_it_has_types():
    assert Path(sklearn_recsys.__file__).with_name("py.typed").exists()


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'SVDpp'"):
        sklearn_recsys.SVDpp  # noqa: B018


# a check of scikit-learn scores on the data that it fitted
@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_example_in_contributing(tmp_path, monkeypatch):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL).group(1)
    (tmp_path / "contributed_model.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("contributed_model")
    model = module.P3alpha()

    assert doctest.testmod(module) == (0, 3)
    check_estimator(model, expected_failed_checks=expected_failed_checks(model), on_skip=None)
    check_recommender(model)
