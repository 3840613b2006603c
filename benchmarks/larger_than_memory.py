"""Events in Parquet files to a memory-mapped matrix, and fits to it; needs pyarrow (.venv-dask).

The events, the items and the models are set in the environment: ``EVENTS=200_000_000``,
``ITEMS=20_000`` and ``MODELS=EASE,ALS`` (20,000,000, 5,000 and those of `MODELS` by default). The
temporary files are in the folder that ``TMPDIR`` names.
"""

import hashlib
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks._measure import _status, in_child
from sklearn_recsys import ALS, EASE, InteractionEncoder, ItemKNN, RP3beta, load_csr

EVENTS = int(os.environ.get("EVENTS", 20_000_000))
ITEMS = int(os.environ.get("ITEMS", 5_000))
PER_USER = 200
PER_FILE = 4_000_000
MODELS = {
    "EASE": EASE(),
    "ItemKNN": ItemKNN(),
    "RP3beta": RP3beta(),
    "ALS": ALS(32, max_iter=2, random_state=0),
}


def write_events(folder):
    """Write files of made-up events in the order of time; the users are in all files."""
    n_files = -(-EVENTS // PER_FILE)
    for number in range(n_files):
        n_events = min(PER_FILE, EVENTS - number * PER_FILE)
        rng = np.random.default_rng(number)
        frame = {
            "user": rng.integers(0, EVENTS // PER_USER, n_events),
            "item": (ITEMS * rng.random(n_events) ** 3).astype(np.int64),
            "rating": rng.integers(1, 11, n_events) / np.float32(2),
            "timestamp": number * PER_FILE + np.arange(n_events),
        }
        pd.DataFrame(frame).to_parquet(folder / f"{number:04}.parquet")


def measured(run):
    """Return the result of a function, CPU seconds, and peak GiB of memory that is of no file.

    Pages of mapped files count as memory of the process, too, but the system drops them when others
    need memory.
    """
    peak, stop = [_status("RssAnon")], threading.Event()

    def watch():
        while not stop.wait(0.02):
            peak.append(max(peak.pop(), _status("RssAnon")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    used = time.process_time()
    try:
        return run(), time.process_time() - used, peak
    finally:
        stop.set()
        watcher.join()


def row_of(prepare, run):
    (result, used, (anonymous,)), before, above, elapsed = in_child(prepare, run)
    row = {"seconds": elapsed, "CPU seconds": used}
    return result, {**row, "peak, GiB": before + above, "without files, GiB": anonymous}


def encode(values, events, folder):
    X = InteractionEncoder(values=values).fit_transform(events, folder=folder)
    return X.nnz


def fit(model, X):
    with threadpool_limits(2):
        model = model.fit(X)
    results = (
        getattr(model, name, None)
        for name in ("coef_", "similarity_", "item_factors_", "_fallback_")
    )
    result = next(value for value in results if value is not None)
    return hashlib.sha256(np.ascontiguousarray(getattr(result, "data", result))).hexdigest()


def _nothing():
    return None


def _encode(_, **params):
    return measured(partial(encode, **params))


def _fit(X, model):
    return measured(partial(fit, model, X))


def larger_than_memory():
    rows = {}
    names = os.environ.get("MODELS", ",".join(MODELS)).split(",")
    with tempfile.TemporaryDirectory() as folder:
        events, folder = Path(folder, "events"), Path(folder, "matrix")
        events.mkdir()
        start = time.perf_counter()
        write_events(events)
        print(f"{EVENTS:,} events written in {time.perf_counter() - start:.0f} s", flush=True)
        for values in ("rating", "one"):
            run = partial(_encode, values=values, events=events, folder=folder)
            n_cells, row = row_of(_nothing, run)
            print(f"{n_cells:,} cells of values={values!r}", row, flush=True)
            rows[f'encoder, values="{values}"'] = row
        for name in filter(None, names):
            digests = set()
            for place, mmap_mode in (("mapped", "r"), ("in memory", None)):
                prepare = partial(load_csr, folder, mmap_mode=mmap_mode)
                digest, row = row_of(prepare, partial(_fit, model=MODELS[name]))
                digests.add(digest)
                print(name, place, row, flush=True)
                rows[f"{name}, {place}"] = row
            rows[f"{name}, in memory"]["equal"] = len(digests) == 1
    table = pd.DataFrame(rows).T
    table["load of the machine"] = os.getloadavg()[0]
    return table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
