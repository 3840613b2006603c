"""What `import sklearn_recsys` costs and offers, and the example of CONTRIBUTING.md."""

import ast
import doctest
import json
import re
import subprocess
import sys
from configparser import ConfigParser
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
from sklearn_recsys.datasets import make_interactions, make_movies
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils.discovery import all_recommenders
from sklearn_recsys.utils.estimator_checks import (
    check_checkerboard,
    check_recommender,
    expected_failed_checks,
    recommender_checks,
)

ROOT = Path(__file__).parents[1]


# In one interpreter, as each takes seconds to start: what is loaded after each step. Nothing that
# an earlier step loads may hide what a later one must not.
STEPS = """
import json, sys
from pathlib import Path
steps = {}

def note(step):
    steps[step] = sorted(sys.modules)

import sklearn_recsys
sklearn_recsys.__version__, dir(sklearn_recsys)
note("import")

folder = Path(sys.argv[1])
sklearn_recsys.load(folder / "EASE")
note("load")

import sklearn_recsys.metrics, sklearn_recsys.model_selection
import sklearn_recsys.preprocessing, sklearn_recsys.datasets
import sklearn_recsys.utils.estimator_checks
note("sub-packages")

import numpy as np, scipy.sparse as sp
from sklearn_recsys import EASE, ItemKNN, PopularityRecommender, RecommenderPipeline, UserKNN
for model in (EASE(), ItemKNN(), UserKNN(), PopularityRecommender()):
    model.fit(np.eye(3) + np.eye(3, k=1)).recommend()
note("fit")

for path in folder.iterdir():
    model = sklearn_recsys.load(path)
    new = sp.csr_array(np.eye(1, 20))
    assert len(model.recommend(new, n=3)), path
    model.predict(new), model.recommend(n=2), model.score(model.interactions_)
note("answer")

assert not hasattr(PopularityRecommender(), "similar_items")
note("ask for a method")

names = {}
exec("from sklearn_recsys import *", names)
steps["star"] = sorted(names)
print(json.dumps(steps))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Return what `STEPS` notes, each a set of names."""
    folder = tmp_path_factory.mktemp("models")
    encoder = InteractionEncoder()
    movies = make_movies(n_users=30, n_items=20, random_state=0)
    R = encoder.fit_transform(movies.interactions)
    pipe = RecommenderPipeline([("binary", Binarizer()), ("als", ALS(4, max_iter=1))], encoder)
    for model in (EASE(), ALS(4, max_iter=1), ItemKNN(), PopularityRecommender(), pipe):
        model.fit(R).save(folder / type(model).__name__)
    command = [sys.executable, "-c", STEPS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {step: set(names) for step, names in json.loads(done.stdout).items()}


def test_import_is_lazy(loaded):
    assert not {"numpy", "pandas", "scipy", "sklearn"} & loaded["import"]
    own = {name for name in loaded["import"] if name.partition(".")[0] == "sklearn_recsys"}
    assert own == {"sklearn_recsys"}


def test_loading_a_model_imports_no_other(loaded):
    assert "sklearn_recsys.linear_model._ease" in loaded["load"]
    assert not {"sklearn_recsys.neighbors", "sklearn_recsys.dummy"} & loaded["load"]


@pytest.mark.parametrize(
    "step", ["import", "load", "sub-packages", "fit", "answer", "ask for a method"]
)
def test_torch_is_loaded_by_the_models_that_train_with_it_only(loaded, step):
    """It takes a second to import. ALS is fitted with it, and answers without."""
    assert not {"torch", "skorch"} & loaded[step]
    assert loaded["fit"] <= loaded["answer"]  # the steps were taken
    assert "sklearn_recsys.decomposition._als" in loaded["answer"]


def test_import_star_offers_the_public_names(loaded):
    assert set(sklearn_recsys.__all__) <= loaded["star"]


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


def required():
    """Return the oldest version of each requirement that setup.cfg names."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return dict(line.split(">=") for line in config["options"]["install_requires"].split())


def test_versions_are_the_same_everywhere():
    version = sklearn_recsys.__version__
    recipe = (ROOT / "conda-recipe" / "recipe.yaml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version: "{version}"' in recipe
    assert f"\nversion: {version}\n" in citation
    runtime = recipe.partition("\n  run:\n")[2].partition("\ntests:")[0]
    needs = dict(re.findall(r"- ([a-z-]+) >=([0-9.]+)", runtime))
    assert {name.replace("pytorch", "torch"): needs[name] for name in needs} == required()
    oldest = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([a-z-]+)==([0-9.]+)$", oldest, flags=re.M))
    for name in required().keys() - {"torch"}:  # see there
        assert re.sub(r"(\.0)+$", "", pinned[name]) == required()[name]


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_readme_runs_as_it_is(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, *others = blocks(text, "python")
    (printed,) = blocks(text, "text")
    names = {}
    exec(first, names)
    assert capsys.readouterr().out == printed
    monkeypatch.chdir(tmp_path)
    for code in others:
        exec(code, names)
    assert (tmp_path / "movies.recsys").exists()


def test_readme_lists_every_model():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    models = {name for name, _ in all_recommenders()}
    assert f"{len(models)} models" in text
    table = text.partition("## Models")[2].partition("## More")[0]
    assert set(re.findall(r"`(\w+)`", table)) == models


def contributed(name, tmp_path, monkeypatch):
    """Return the module that the code of a model in CONTRIBUTING.md makes."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = (block for block in blocks(text, "python") if f"class {name}(" in block)
    (tmp_path / f"contributed_{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return import_module(f"contributed_{name}")


# a check of scikit-learn scores on the data that it fitted
@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_example_in_contributing(tmp_path, monkeypatch):
    module = contributed("P3alpha", tmp_path, monkeypatch)
    model = module.P3alpha()
    assert doctest.testmod(module) == (0, 3)
    check_estimator(model, expected_failed_checks=expected_failed_checks(model), on_skip=None)
    check_recommender(model)


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_neural_example_in_contributing(tmp_path, monkeypatch):
    recommender = contributed("LinearAutoencoder", tmp_path, monkeypatch).LinearAutoencoder
    quick = recommender(max_epochs=2)
    check_estimator(quick, expected_failed_checks=expected_failed_checks(quick), on_skip=None)
    for check in recommender_checks(quick):
        if check.func is not check_checkerboard:
            check()
    check_checkerboard(recommender(random_state=0))

    R = make_interactions(random_state=0)
    model = recommender(random_state=0, n_iter_no_change=2).fit(R[:800])
    assert "valid_ndcg" in model.history_
    assert len(model.history_) < model.max_epochs, "it stops early"
    popular = PopularityRecommender().fit(R[:800])
    assert model.score(R[800:]) > popular.score(R[800:])  # new users
