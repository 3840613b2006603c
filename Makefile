# Each target builds the environment that it needs, once: .venv from constraints.txt, .venv-oldest
# from constraints-oldest.txt, .venv-dask from constraints.txt and constraints-dask.txt.
#
#   make demo                   the quickstart on synthetic data; its plot is build/demo.png
#   make demo DATA=ml-1m        the quickstart on MovieLens
#   make test                   all tests and doctests; PYTEST_ARGS="-x tests/metrics" narrows
#   make test-oldest            the common checks, and progress without callbacks, on the oldest
#                               versions that setup.cfg claims
#   make test-dask              the tests on local clusters (Dask, Spark, which needs Java, and Ray),
#                               with Optuna, and of Parquet files
#   make lint                   ruff; pyright and mypy on the gallery and on a user's script; nothing
#                               is changed
#   make dist                   wheel and source distribution in build/dist, and tests of the wheel
#   make release-check          those, and both installed and tested in environments of their own
#   make docs                   HTML in docs/_build/html, warnings are errors
#   make site-test              every page, and the search, in Chromium (apt-get install chromium)
#   make notebooks              runs the notebooks of the gallery
#   make environments           all environments; with -j2 two at a time
#   make fuzz N=10000 SEED=0    the property tests on N random cases; violations by kind
#   make bench                  a table: accuracy on real data, speed relative to references
#   make papers                 published figures next to ours; writes a page of the docs
#   make corrupt                corrupt sparse input to every method, each case in its own process
#
# On Linux, torch from PyPI comes with several GB of CUDA libraries. Without a GPU, use the CPU build:
#   make test PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
DATA ?=
PYTEST_ARGS ?=
JOBS ?= auto
SPHINXOPTS ?= -W --keep-going
BENCH_ARGS ?=
PAPERS_ARGS ?=
N ?= 10000
SEED ?= 0

VENV := .venv
OLDEST := .venv-oldest
DASK := .venv-dask
BUILD := docs/_build docs/api docs/auto_examples docs/sg_execution_times.rst build

# real data next to the checkout, unless another folder is named
ifneq ($(wildcard ../shared/data),)
SKLEARN_RECSYS_DATA ?= $(abspath ../shared/data)
export SKLEARN_RECSYS_DATA
endif

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: environments demo test test-oldest test-dask lint dist release-check docs site-test notebooks bench papers corrupt fuzz clean

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[test,docs,plot,data,lint,onnx,site]"
	touch $@

$(OLDEST)/.installed: setup.cfg pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet -c constraints-oldest.txt -e ".[test]"
	touch $@

$(DASK)/.installed: setup.cfg pyproject.toml constraints.txt constraints-dask.txt
	$(PYTHON) -m venv $(DASK)
	$(DASK)/bin/python -m pip install --quiet -c constraints.txt -c constraints-dask.txt -e ".[test,dask,ray,spark]" optuna optuna-integration
	touch $@

environments: $(VENV)/.installed $(OLDEST)/.installed $(DASK)/.installed

demo: $(VENV)/.installed
	mkdir -p build
	MOVIELENS=$(DATA:ml-%=%) MPLBACKEND=Agg $(VENV)/bin/python -c "import runpy; runpy.run_path('examples/plot_quickstart.py')['fig'].savefig('build/demo.png', dpi=120)"
	@echo saved build/demo.png

# A process for each core, and one thread in each: the tests' matrices are tiny. A process without
# work takes some from the other. scipy reads the variable when it is imported; test-oldest runs
# without it.
test: $(VENV)/.installed
	SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS) tests/test_common.py tests/test_progress.py

# one process: the tests share clusters
test-dask: $(DASK)/.installed
	SCIPY_ARRAY_API=1 OMP_NUM_THREADS=1 $(DASK)/bin/python -m pytest $(PYTEST_ARGS) tests/dask tests/clusters tests/preprocessing/test_event_frames.py sklearn_recsys/dask docs/user_guide/clusters.rst docs/user_guide/searches.rst

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/mypy

# The wheel is made from the source distribution, unpacked to build/dist/sdist: the tests there run on
# the wheel, with nothing of the checkout on the path.
DIST_TESTS := tests/test_package.py tests/test_saved_files.py tests/linear_model/test_ease.py tests/metrics

dist: $(VENV)/.installed
	rm -rf build/dist
	$(VENV)/bin/python -m build --outdir build/dist . > /dev/null
	$(VENV)/bin/python tests/release/check_archives.py build/dist
	mkdir build/dist/sdist && tar -xzf build/dist/*.tar.gz -C build/dist/sdist --strip-components=1
	$(VENV)/bin/python -m pip install --quiet --no-deps --target build/dist/wheel build/dist/*.whl
	cd build/dist/sdist && PYTHONPATH=$(abspath build/dist/wheel) OMP_NUM_THREADS=1 $(abspath $(VENV))/bin/pytest -q -n $(JOBS) -p no:cacheprovider $(DIST_TESTS)

# Before a release: the packages that the metadata name are enough, for a script and for the tests.
release-check: dist
	rm -rf build/release && mkdir -p build/release/empty
	cp tests/typing/user_script.py build/release/empty
	echo "{}" > build/release/empty/pyrightconfig.json  # not ours: pyright would check the checkout
	$(PYTHON) -m venv build/release/twine
	build/release/twine/bin/pip install --quiet -c constraints.txt twine "readme_renderer[md]"
	build/release/twine/bin/twine check --strict build/dist/*.whl build/dist/*.tar.gz
	set -e; for archive in build/dist/*.whl build/dist/*.tar.gz; do \
		venv=$(abspath build/release)/$${archive##*.}; \
		$(PYTHON) -m venv $$venv; \
		$$venv/bin/pip install --quiet -c constraints.txt $$archive; \
		(cd build/release/empty && $$venv/bin/python -W error user_script.py); \
		$$venv/bin/pip install --quiet -c constraints.txt "$$archive[test]"; \
		(cd build/dist/sdist && OMP_NUM_THREADS=1 $$venv/bin/pytest -q -n $(JOBS) -p no:cacheprovider $(DIST_TESTS)); \
		(cd build/release/empty && $(abspath $(VENV))/bin/pyright --pythonpath $$venv/bin/python user_script.py); \
		(cd build/release/empty && $(abspath $(VENV))/bin/mypy --config-file= --python-executable $$venv/bin/python --ignore-missing-imports user_script.py); \
	done

# a process for each core, and one thread in each, as in test
docs: $(VENV)/.installed
	MPLBACKEND=Agg OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx -j $(JOBS) $(SPHINXOPTS) -b html docs docs/_build/html

site-test: docs
	SITE=docs/_build/html $(VENV)/bin/python -m pytest $(PYTEST_ARGS) tests/site/test_pages.py tests/site/test_search.py

notebooks: docs
	SITE=docs/_build/html OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) $(PYTEST_ARGS) tests/site/test_notebooks.py

# one thread: the matrices are tiny
fuzz: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -X faulthandler tests/properties/fuzz.py --cases $(N) --seed $(SEED)

bench: $(VENV)/.installed
	$(VENV)/bin/python -m benchmarks $(BENCH_ARGS)

# rows that take long: PAPERS_ARGS=--all, or PAPERS_ARGS=yelp2018 for one protocol
papers: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.papers $(PAPERS_ARGS)

corrupt: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.corrupt

clean:
	rm -rf $(BUILD)
