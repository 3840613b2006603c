"""What pytest collects: examples that need Dask only where it is installed."""

from importlib.util import find_spec

collect_ignore = []
if find_spec("distributed") is None:  # `make test-dask` has it
    collect_ignore += ["docs/user_guide/clusters.rst", "sklearn_recsys/dask"]
