"""Measure interleaved time ratios, and peak resident memory in a separate process."""

import multiprocessing
import time
from functools import partial

import numpy as np
import pandas as pd


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(ours, references, repeats):
    """Time `ours` and the fastest of `references` in turn; return medians as a Series."""
    rounds = []
    for _ in range(repeats):
        rounds.append([seconds(ours), min(seconds(reference) for reference in references)])
    ours, reference = np.array(rounds).T
    return pd.Series(
        {
            "ours, s": np.median(ours),
            "reference, s": np.median(reference),
            "ratio": np.median(ours / reference),
            "repeats": repeats,
        }
    ).round(3)


def _status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


def _child(prepare, run, queue):
    prepared = prepare()
    before = _status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # reset the peak
    start = time.perf_counter()
    result = run(prepared)
    elapsed = time.perf_counter() - start
    queue.put((result, before, _status("VmHWM") - before, elapsed))


def peak(prepare, run):
    """Run ``run(prepare())`` in a child; return GiB before, peak GiB above that, seconds."""
    return in_child(prepare, partial(_drop_result, run=run))[1:]


def _drop_result(prepared, run):
    run(prepared)


def in_child(prepare, run):
    """Run ``run(prepare())`` in a child; return its result and what `peak` returns.

    Raise a RuntimeError if the interpreter crashes.
    """
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_child, args=(prepare, run, queue))
    child.start()
    while True:
        try:
            result = queue.get(timeout=5)
            break
        except Exception as error:
            if not child.is_alive():
                raise RuntimeError(f"the child died with exit code {child.exitcode}") from error
    child.join()
    return result
