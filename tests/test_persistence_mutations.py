"""Saved models with one thing changed: refused in little memory, or still usable.

    python tests/test_persistence_mutations.py [FILES_PER_MODEL] [SEED]

tries many more than the tests do, in a process for each model, and prints what went wrong.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_recsys.persistence import ModelFileError, load

FOLDER = Path(__file__).parent / "data/model_files/0.1.0"
HEADER = 48
SLACK = 64 * 2**20
LINUX = sys.platform == "linux"

NUMBERS = [0, -1, 1, 7, 10**7, 10**8, 2**31, 2**63 - 1, -(2**63), 1e308, -1.5, 5e-324]
TEXTS = ["", "x" * 1000, "__class__", "cuda:99", "lbfgs", "é", "0x" + "f" * 100, "torch.compile"]
OTHERS = [None, True, [], {}, [0] * 1000, {"type": "float", "value": "nan"}, "text", 3]
OTHERS += [
    {"type": "tuple", "items": [10**6] * 50},
    {"type": "numpy.scalar", "value": "<f8:" + "00" * 8},
]
COMPILE = {"type": "dict", "items": [["compile", True]]}
LOAD = {"type": "dict", "items": [["torch_load_kwargs", COMPILE]]}


# ------------------------------------------------------------------------------- changing files


def unpack(data):
    with zipfile.ZipFile(io.BytesIO(data[HEADER:])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("model.json")), members


def build(document, members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.json", json.dumps(document))
        for name, data in members.items():
            archive.writestr(name, data)
    head = b"\x89skrecsys\r\n\x1a" + struct.pack("<I", 1)
    payload = buffer.getvalue()
    return head + hashlib.sha256(head + payload).digest() + payload


def leaves(node):
    """Return the container and the key of everything in a tree."""
    found = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key in ("id", "member", "type"):  # what points into the file is tried elsewhere
            continue
        found.append((node, key))
        if isinstance(value, (dict, list)):
            found.extend(leaves(value))
    return found


def change_tree(document, rng):
    """Change, or take away, one value of the tree; return what was done."""
    places = leaves(document["model"])
    node, key = places[rng.randint(len(places))]
    old = node[key]
    kind = rng.randint(10)
    if kind == 0 and isinstance(node, dict):
        del node[key]
        return f"without {key}"
    pool = OTHERS
    if kind > 2:
        pool = (
            TEXTS
            if isinstance(old, str)
            else NUMBERS
            if not isinstance(old, (dict, list))
            else OTHERS
        )
    if key == "net_params":
        pool = [COMPILE, LOAD]
    node[key] = copy.deepcopy(pool[rng.randint(len(pool))])
    return f"{key}: {str(old)[:40]} → {str(node[key])[:40]}"


def change_array(members, rng):
    """Change the values, the shape or the dtype of one array; return what was done."""
    name = sorted(members)[rng.randint(len(members))]
    array = np.load(io.BytesIO(members[name]))
    numeric = array.dtype.kind in "iuf" and array.size
    kind = rng.randint(7 if numeric else 4)
    if kind == 0:
        array = array[: len(array) // 2] if array.ndim else array.reshape(1)
    elif kind == 1:
        array = np.concatenate([array, array]) if array.ndim else array.reshape(1)
    elif kind == 2:
        array = array.astype(["f2", "f8", "i1", "c8", "?", "U3"][rng.randint(6)])
    elif kind == 3:
        array = array.T.copy() if array.ndim > 1 else array.reshape(-1, 1)
    else:
        info = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        values = [info.max, info.min, 0] + ([np.nan, np.inf] if array.dtype.kind == "f" else [-1])
        value = values[rng.randint(len(values))]
        with np.errstate(all="ignore"):
            array.flat[rng.randint(array.size)] = np.array(value).astype(array.dtype)
    buffer = io.BytesIO()
    np.save(buffer, array)
    members[name] = buffer.getvalue()
    return f"{name}: {array.dtype} {array.shape}"


def mutations(name, n, seed):
    """Yield files made from a sound one, each with what was changed in it."""
    data = (FOLDER / name).read_bytes()
    rng = np.random.RandomState(seed)
    for _ in range(n):
        document, members = unpack(data)
        if members and rng.randint(3) == 0:
            what = change_array(members, rng)
        else:
            what = change_tree(document, rng)
        yield what, build(document, members)


# ------------------------------------------------------------------------------- trying files


def reset_peak():
    """Forget the most memory that this process has had, and return what it has."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def use(model):
    """Ask a model what it can be asked; an error that says what is wrong is an answer."""
    if not hasattr(model, "recommend"):
        return
    X = sp.csr_array(np.eye(3, 9, dtype=np.float32) * 4)
    calls = [
        lambda: model.predict(X),
        lambda: model.recommend(n=3),
        lambda: model.recommend(X, n=2),
    ]
    calls += [lambda: model.recommend(n=3), lambda: repr(model)]
    calls += [lambda: model.similar_items([0, 1], n=2)]
    for call in calls:
        try:
            call()
        except (ValueError, MemoryError):
            pass
        except AttributeError as error:  # of a model that has no such method
            if "similar_items" not in str(error):
                raise


def try_file(data, path):
    """Return what is wrong with how a file is treated, None where it is right, and memory taken."""
    import torch

    path.write_bytes(data)
    problem = None
    compiled = []
    compile_, torch.compile = torch.compile, lambda *args, **kwargs: compiled.append(args)
    before = reset_peak() if LINUX else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = load(path)
        except ModelFileError:
            model = None
        except Exception as error:
            model, problem = None, f"load: {type(error).__name__}: {error}"
        grown = peak_memory() - before if LINUX else 0
        if grown > 2 * len(data) + SLACK:
            problem = f"{grown / 2**20:.0f} MiB while loading"
        if model is not None and problem is None:
            try:
                use(model)
            except Exception as error:
                problem = f"use: {type(error).__name__}: {error}"
    torch.compile = compile_
    return "compiled" if compiled else problem, grown


NAMES = sorted(path.name for path in FOLDER.glob("*.recsys"))


@pytest.mark.parametrize("name", NAMES)
def test_changed_files(name, tmp_path):
    load(FOLDER / name)  # what is imported is no cost of a file
    for what, data in mutations(name, 6, seed=len(name)):
        problem, _ = try_file(data, tmp_path / "changed.recsys")
        assert problem is None, f"{what}: {problem}"


NET_PARAMS = [
    [["compile", True]],
    [["torch_load_kwargs", {"type": "dict", "items": [["weights_only", False]]}]],
    [["module", "torch.nn.Linear"]],
    [["optimizer", "torch.optim.SGD"]],
    [["iterator_train__num_workers", 8]],
    [["iterator_train__collate_fn", "os.system"]],
    [["optimizer__param_groups", [1]]],
    [["callbacks__print_log", None]],
    [["lr", "0.1"]],
]


@pytest.mark.parametrize("items", NET_PARAMS, ids=lambda items: items[0][0])
def test_net_params_of_a_file(items, tmp_path):
    document, members = unpack((FOLDER / "MultVAE.recsys").read_bytes())
    document["model"]["params"]["net_params"] = {"type": "dict", "items": items}
    path = tmp_path / "changed.recsys"
    path.write_bytes(build(document, members))
    with pytest.raises(ModelFileError, match="net_params holds"):
        load(path)


@pytest.mark.parametrize(
    ("name", "attribute", "kind"),
    [
        ("NCF", "_fold_in_steps", "constant"),
        ("EASE", "_parameter_constraints", "constant"),
        ("MultVAE", "_metric", "method or property"),
    ],
)
def test_a_file_hides_no_constant_of_a_class(name, attribute, kind, tmp_path):
    document, members = unpack((FOLDER / f"{name}.recsys").read_bytes())
    document["model"]["state"][attribute] = "x"
    path = tmp_path / "changed.recsys"
    path.write_bytes(build(document, members))
    with pytest.raises(ModelFileError, match=f"would hide a {kind}"):
        load(path)


@pytest.mark.skipif(not LINUX, reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("AutoRec", lambda model: model["params"].update(n_factors=10**7)),
        ("AutoRec", lambda model: model["state"]["interactions_"].update(shape=[14, 10**8])),
        ("NCF", lambda model: model["params"].update(hidden_layer_sizes=[10**5] * 3)),
        ("NCF", lambda model: model["params"].update(hidden_layer_sizes=[1] * 10**5)),
        (
            "RandomRecommender",
            lambda model: model["state"]["interactions_"].update(shape=[14, 10**9]),
        ),
        ("SVAE", lambda model: model["params"].update(n_recurrent=10**5)),
        ("UserKNN", lambda model: model["state"].update(n_features_in_=10**8)),
        ("EASE", lambda model: model["state"].update(more=[[[]] * 10 for _ in range(10**5)])),
    ],
)
def test_memory_of_a_file_that_claims_much(name, change, tmp_path):
    document, members = unpack((FOLDER / f"{name}.recsys").read_bytes())
    change(document["model"])
    data = build(document, members)
    path = tmp_path / "changed.recsys"
    path.write_bytes(data)
    load(FOLDER / f"{name}.recsys")  # what is imported is no cost of the file
    before = reset_peak()
    with pytest.raises(ModelFileError):
        load(path)
    assert peak_memory() - before < 2 * len(data) + SLACK


# ------------------------------------------------------------------------------- many of them


def main_of_model(name, n, seed):
    """Try the changed files of one model, and print what went wrong and how many were refused."""
    load(FOLDER / name)
    with tempfile.TemporaryDirectory() as folder:
        for what, data in mutations(name, n, seed):
            problem, grown = try_file(data, Path(folder, "changed.recsys"))
            excess = (grown - 2 * len(data)) / 2**20
            problem = " ".join((problem or "").split())
            print(f"{name}\t{problem}\t{excess:.1f}\t{what}", flush=True)


def main(n=10, seed=0):
    counts, most = Counter(), 0.0
    for name in NAMES:
        command = [sys.executable, __file__, "--model", name, str(n), str(seed)]
        child = subprocess.run(command, capture_output=True, text=True)
        lines = child.stdout.splitlines()
        counts["files"] += len(lines)
        for line in lines:
            problem, excess = line.split("\t")[1:3]
            most = max(most, float(excess))
            if problem:
                counts["violations"] += 1
                print(line)
        if child.returncode:
            counts["crashes"] += 1
            print(f"{name}: the process ended with {child.returncode}: {child.stderr[-300:]}")
    print(
        f"{counts['files']} files, {counts['violations']} violations, {counts['crashes']} crashes; "
        f"at most {most:.1f} MiB beyond twice the file while loading"
    )
    return counts["violations"] + counts["crashes"]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["--model"]:
        main_of_model(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(bool(main(*map(int, sys.argv[1:]))))
