"""DaskEASE on two workers of 4 GiB against EASE in memory, from Parquet; needs .venv-dask.

The interactions and the items are numbers of the environment: ``INTERACTIONS=200_000_000``,
``ITEMS=20_000`` (of 20,000,000 and 5,000 by default).
"""

import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from sklearn_recsys import EASE, InteractionEncoder

INTERACTIONS = int(os.environ.get("INTERACTIONS", 20_000_000))
ITEMS = int(os.environ.get("ITEMS", 5_000))
PER_USER = 200
PER_FILE = 4_000_000
MODEL = {"l2": 500.0}


def events(number, n_events):
    """Return made-up events of users of their own, whose items fall off by a power of the rank."""
    rng = np.random.default_rng(number)
    users = rng.integers(0, n_events // PER_USER, n_events, dtype=np.int32)
    items = (ITEMS * rng.random(n_events) ** 3).astype(np.int32)
    return pd.DataFrame({"user": users + np.int32(number * (n_events // PER_USER)), "item": items})


def write(folder):
    n_files = max(1, INTERACTIONS // PER_FILE)
    for number in range(n_files):
        events(number, INTERACTIONS // n_files).to_parquet(folder / f"{number:04}.parquet")


def encoder_options():
    return {"values": "one", "items": np.arange(ITEMS)}


def of_cluster(folder, kill=False):
    """Return the fitted local model and a row of the table."""
    import dask.dataframe as dd
    from distributed import Client

    from sklearn_recsys.dask import DaskEASE, DaskInteractionEncoder

    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": "4GiB"}
    with Client(processes=True, dashboard_address=":0", **options) as client:
        client.wait_for_workers(2)
        before = time.perf_counter(), time.process_time()
        victim = next(iter(client.run(os.getpid).values()))
        if kill:
            threading.Thread(target=_kill_in_the_middle, args=(client, victim), daemon=True).start()
        X = DaskInteractionEncoder(**encoder_options()).fit_transform(dd.read_parquet(folder))
        encoded = time.perf_counter()
        model = DaskEASE(**MODEL).fit(X).to_local()
        after = time.perf_counter(), time.process_time()
        workers = client.run(_usage)
        if kill and victim in client.run(os.getpid).values():
            raise RuntimeError("The fit ended before a worker was killed.")
    row = {
        "seconds": after[0] - before[0],
        "of them ids": encoded - before[0],
        "CPU s of the caller": after[1] - before[1],
        "CPU s of the workers": sum(used for used, _ in workers.values()),
        "peak of a worker, GiB": max(peak for _, peak in workers.values()),
    }
    return model, row


def _kill_in_the_middle(client, victim):
    """Kill a worker as soon as a first sum over blocks is there."""
    while not any(str(key).startswith("lower_panel") for key in client.who_has()):
        time.sleep(0.02)
    os.kill(victim, signal.SIGKILL)


def _usage():
    with open("/proc/self/status") as lines:
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    return time.process_time(), peak


def of_one_machine(folder):
    """Return the same of EASE, from the same files, on two threads."""
    before = time.perf_counter(), time.process_time()
    with threadpool_limits(2):
        frame = pd.read_parquet(folder)
        X = InteractionEncoder(**encoder_options()).fit_transform(frame)
        del frame
        encoded = time.perf_counter()
        model = EASE(**MODEL).fit(X)
    row = {
        "seconds": time.perf_counter() - before[0],
        "of them ids": encoded - before[0],
        "CPU s of the caller": time.process_time() - before[1],
    }
    return model, row


def dask_ease():
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write(folder)
        expected, rows["EASE, 2 threads"] = of_one_machine(folder)
        model, rows["DaskEASE, 2 workers"] = of_cluster(folder)
        survivor, rows["a worker killed"] = of_cluster(folder, kill=True)
    rows["EASE, 2 threads"]["largest difference"] = 0.0
    for name, other in (("DaskEASE, 2 workers", model), ("a worker killed", survivor)):
        rows[name]["largest difference"] = np.abs(other.coef_ - expected.coef_).max()
    table = pd.DataFrame(rows).T
    reference = table.iloc[0]
    table["time ratio"] = table["seconds"] / reference["seconds"]
    cpu = table["CPU s of the caller"] + table["CPU s of the workers"].fillna(0)
    table["CPU ratio"] = cpu / cpu.iloc[0]
    table["load of the machine"] = os.getloadavg()[0]
    return table.round(7).map(lambda value: f"{value:.3g}")
