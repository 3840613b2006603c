"""Run the property tests on many random cases, and count violations by kind.

``make fuzz N=10000 SEED=0``. Where the test run stops at the first failure and shrinks it, this
goes on, and prints for each kind of violation how often it came up and its shortest case.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisException, StopTest, UnsatisfiedAssumption

sys.path.insert(0, str(Path(__file__).parent))

import cases  # noqa: E402

_ADDRESS_SPACE = 12 * 2**30


def kind_of(error):
    """Return where in the package an error arose, or in which property, and what it is."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "sklearn_recsys/" in frame.filename]
    frame = (inside or frames)[-1]
    place = f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}"
    return f"{type(error).__name__} at {place}"


def describe(value):
    """Return a text of a case from which it can be typed in again."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={describe(part)}" for name, part in value.items())
    if isinstance(value, tuple):
        return f"({', '.join(describe(part) for part in value)})"
    if sp.issparse(value):
        return f"csr_array({value.toarray().tolist()})"
    if isinstance(value, pd.DataFrame):
        return f"DataFrame({value.to_dict('list')})"
    return repr(value)


def run(name, n_cases, start):
    """Run one property; return the number of cases and a list of (kind, message, case)."""
    function, strategies, _ = cases.PROPERTIES[name]
    violations = []
    count = 0

    @seed(start)
    @settings(
        max_examples=n_cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(**strategies)
    def each(**case):
        nonlocal count
        count += 1
        try:
            function(**case)
        except (UnsatisfiedAssumption, StopTest, HypothesisException):
            raise
        except (Exception, pytest.fail.Exception) as error:
            violations.append((kind_of(error), str(error)[:400], describe(case)))

    try:
        each()
    except Exception as error:  # drawing a case failed: a model could not be fitted, say
        violations.append((f"while drawing: {kind_of(error)}", str(error)[:400], ""))
    return count, violations


def main():
    """Run every property; exit with 1 if any was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="properties, by name")
    options = parser.parse_args()
    # an allocation that cannot be meant fails here, whatever memory the machine has
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, resource.RLIM_INFINITY))
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(path.stem)
    names = options.only or list(cases.PROPERTIES)
    total = sum(cases.PROPERTIES[name][2] for name in names)
    n_cases, n_violations = 0, 0
    for name in names:
        share = cases.PROPERTIES[name][2] / total
        began = time.perf_counter()
        count, violations = run(name, max(1, round(options.cases * share)), options.seed)
        n_cases += count
        n_violations += len(violations)
        seconds = time.perf_counter() - began
        print(f"{name}: {count} cases, {len(violations)} violations, {seconds:.0f} s", flush=True)
        for kind, number in Counter(kind for kind, *_ in violations).most_common():
            found = [violation for violation in violations if violation[0] == kind]
            _, message, case = min(found, key=lambda violation: len(violation[2]))
            print(f"    {number} × {kind}\n        {message}\n        {case[:1500]}", flush=True)
    print(f"{n_cases} cases, {n_violations} violations")
    return 1 if n_violations else 0


if __name__ == "__main__":
    sys.exit(main())
