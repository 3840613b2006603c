"""BatchRecommender from Parquet to Parquet on Dask, Spark and Ray against a plain loop.

Needs .venv-dask, and Java. The users and the engines are set in the environment:
``USERS=1_000_000`` and ``ENGINES=dask,spark,ray`` (100,000 and these by default). The temporary
files are in the folder that ``TMPDIR`` names.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from sklearn_recsys import InteractionEncoder, ItemKNN, make_recommender_pipeline
from sklearn_recsys.batch import BatchRecommender

USERS = int(os.environ.get("USERS", 100_000))
ENGINES = os.environ.get("ENGINES", "dask,spark,ray").split(",")
ITEMS = 26_744
FITTED_USERS = 30_000
PER_FILE = 10_000
# Dask's workers return freed memory to the system at once, so the system maps and clears new pages
# for each block of scores; with these values a worker reuses its memory, like any other process.
# Their profiler looks at the running code a hundred times a second.
DASK = {
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
    "distributed.worker.profile.enabled": False,
}
SPARK_COLUMNS = "user long, rank long, item long, score float"


def histories(number):
    """Return made-up histories of 46 items on average, half of them of fewer than 24."""
    rng = np.random.default_rng(number)
    lengths = np.clip(rng.lognormal(np.log(24), 1.2, PER_FILE), 5, 3000).astype(np.int64)
    items = (ITEMS * rng.random(lengths.sum()) ** 3).astype(np.int64)
    lists = [np.unique(part) for part in np.split(items, np.cumsum(lengths)[:-1])]
    return pd.DataFrame({"user": number * PER_FILE + np.arange(PER_FILE), "item": lists})


def write(folder):
    """Write the files of the model and of the histories."""
    encoder = InteractionEncoder(values="one", items=np.arange(ITEMS))
    fitted = [histories(number) for number in range(FITTED_USERS // PER_FILE)]
    X = encoder.fit_transform(pd.concat(fitted).explode("item").infer_objects())
    make_recommender_pipeline(ItemKNN(20), encoder=encoder).fit(X).save(folder / "model")
    (folder / "histories").mkdir()
    for number in range(USERS // PER_FILE):
        histories(number).to_parquet(folder / "histories" / f"{number:04}.parquet")


def plain_loop(batch, source, target):
    target.mkdir()
    for path in sorted(source.iterdir()):
        batch(pd.read_parquet(path)).to_parquet(target / path.name)


def dask(batch, source, target):
    import dask
    import dask.dataframe as dd
    from distributed import Client

    dask.config.set(DASK)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        frame = dd.read_parquet(source)
        frame.map_partitions(batch, meta=batch(frame._meta)).to_parquet(target)


def spark(batch, source, target):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.getOrCreate()
    frame = session.read.parquet(str(source))
    frame.mapInPandas(batch.map, SPARK_COLUMNS).write.parquet(str(target))
    session.stop()


def ray(batch, source, target):
    os.environ["RAY_worker_niceness"] = "0"  # read by `import ray`; 15 otherwise
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**30)
    dataset = ray.data.read_parquet(str(source))
    dataset.map_batches(batch, batch_format="pandas", batch_size=None).write_parquet(str(target))
    ray.shutdown()


def run(name, folder):
    folder = Path(folder)
    batch = BatchRecommender(folder / "model")
    globals()[name](batch, folder / "histories", folder / name)


def measured(name, folder):
    """Return the seconds and the CPU seconds of a process and all its descendants, by program.

    They are read five times a second; what a process does after the last time is not counted.
    """
    import psutil

    code = f"from benchmarks import batch; batch.run({name!r}, {str(folder)!r})"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = psutil.Popen([sys.executable, "-c", code], env=environment)
    used = defaultdict(lambda: ("", 0.0))
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            for one in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    times = one.cpu_times()
                    program = Path(one.exe()).name or used[one][0]  # empty once it has ended
                    used[one] = program, times.user + times.system
        time.sleep(0.2)
    elapsed = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, name)
    python = sum(seconds for program, seconds in used.values() if program.startswith("python"))
    total = sum(seconds for _, seconds in used.values())
    return {"seconds": elapsed, "CPU s": total, "of them not of Python": total - python}


def batch_scoring():
    rows, expected = {}, None
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(folder)
        for name in ["plain_loop", *ENGINES]:
            rows[name] = measured(name, folder)
            frame = pd.read_parquet(folder / name)
            frame = frame.sort_values(["user", "rank"], ignore_index=True)
            expected = frame if expected is None else expected
            rows[name]["rows"] = len(frame)
            rows[name]["equal rows"] = frame.equals(expected)
            print(name, rows[name], f"load {os.getloadavg()[0]:.1f}", flush=True)
    table = pd.DataFrame(rows).T
    table.insert(2, "CPU ratio", table["CPU s"] / table["CPU s"].iloc[0])
    return table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
