"""The service of `examples/serve.py` under load: requests per second, latency, a swap of models.

It needs fastapi, uvicorn and aiohttp.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sklearn_recsys import (
    EASE,
    InteractionEncoder,
    ItemKNN,
    RecommenderPipeline,
    TwoStageRecommender,
)
from sklearn_recsys.datasets import fetch_movielens

REQUESTS = int(os.environ.get("REQUESTS", 100_000))
_AT_ONCE = 8  # requests in flight
_EXAMPLES = Path(__file__).parents[1] / "examples"
_TWO_STAGES = TwoStageRecommender([("ease", EASE()), ("knn", ItemKNN())])  # a gradient boosting


def service():
    """Ask for known users on the loopback: one worker, one core, a reload half way."""
    events = fetch_movielens("1m").interactions.astype({"user": str, "item": str})
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(events)
    rows = {}
    for name, first, second in (
        ("EASE", EASE(), EASE(l2=1000)),
        ("two stages: EASE and ItemKNN, 100 trees", _TWO_STAGES, _TWO_STAGES),
    ):
        models = [
            RecommenderPipeline([("model", model)], encoder=encoder).fit(X)
            for model in (first, second)
        ]
        rows[f"ml-1m, {name}"] = _load_tested(models, encoder.user_ids_)
    return pd.DataFrame(rows).T


def _load_tested(models, users):
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        path = Path(folder) / "model.skr"
        models[0].save(path)
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "serve:app", "--port", str(port)]
            + ["--log-level", "warning"],
            env={**os.environ, "MODEL": str(path), "OMP_NUM_THREADS": "1"},
            cwd=_EXAMPLES,
        )
        try:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(server.pid, {0})
            return asyncio.run(_requests(port, users, lambda: models[1].save(path)))
        finally:
            server.terminate()
            server.wait()


async def _requests(port, users, swap):
    import aiohttp

    rng = np.random.default_rng(0)
    asked = iter(users[rng.integers(0, len(users), REQUESTS)].tolist())
    seconds, errors = [], 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for _ in range(300):  # until the server is up
            try:
                async with session.get(f"/users/{users[0]}"):
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.2)

        async def client():
            nonlocal errors
            for user in asked:
                start = time.perf_counter()
                async with session.get(f"/users/{user}") as response:
                    items = await response.json()
                errors += response.status != 200 or len(items) != 10
                seconds.append(time.perf_counter() - start)

        async def reload():
            while len(seconds) < REQUESTS // 2:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(swap)
            start = time.perf_counter()
            async with session.post("/reload") as response:
                return await response.json(), time.perf_counter() - start

        start = time.perf_counter()
        *_, (answer, reload_seconds) = await asyncio.gather(
            *(client() for _ in range(_AT_ONCE)), reload()
        )
        elapsed = time.perf_counter() - start
    assert answer == "reloaded"
    return {
        "requests": len(seconds),
        "errors": errors,
        "requests/s": round(len(seconds) / elapsed),
        "median, ms": round(1e3 * np.median(seconds), 2),
        "p99, ms": round(1e3 * np.quantile(seconds, 0.99), 2),
        "largest, ms": round(1e3 * max(seconds), 1),
        "reload, s": round(reload_seconds, 2),
    }
