"""Files that are damaged, foreign or meant to do harm: refused, and no code of theirs is run."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import warnings
import zipfile
from time import process_time

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer

from sklearn_recsys import RandomRecommender, RecommenderPipeline, UserKNN
from sklearn_recsys.persistence import ModelFileError, load, save
from sklearn_recsys.preprocessing import InteractionEncoder

MAGIC = b"\x89skrecsys\r\n\x1a"
HEADER = 48


# ------------------------------------------------------------------------------- making files


def make_model():
    rng = np.random.RandomState(0)
    users = [("u", 1), "ann", 7, 2.5, True, None, b"x", 10**30]
    frame = pd.DataFrame({"item": rng.randint(9, size=90), "rating": rng.randint(1, 6, size=90)})
    frame["user"] = pd.Series([users[i % 5] for i in range(90)], dtype=object)
    encoder = InteractionEncoder()
    X = encoder.fit_transform(frame)
    steps = [("tfidf", TfidfTransformer()), ("knn", UserKNN(n_neighbors=3, shrinkage=2.0))]
    pipe = RecommenderPipeline(steps, encoder=encoder).fit(X)
    pipe.encoder.seen_ = {"random": np.random.RandomState(0), "dtype": np.dtype("f4"), 3: (1,)}
    pipe.encoder.limit_ = np.inf
    pipe.encoder.flags_ = np.array([True, False])
    pipe.encoder.text_ = np.array(["ab", "c"])
    pipe.encoder.frame_ = pd.DataFrame(
        {"n": [1, 2], "s": ["x", None], "k": pd.Categorical(["b", None], ["a", "b"])}
    )
    return pipe


def saved(model, folder):
    save(model, folder / "saved")
    data = (folder / "saved").read_bytes()
    os.remove(folder / "saved")
    return data


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A file that loads, as bytes."""
    return saved(make_model(), tmp_path_factory.mktemp("sound"))


def seal(payload, version=1, magic=MAGIC):
    """Put a header with the right digest before a payload."""
    head = magic + struct.pack("<I", version)
    return head + hashlib.sha256(head + payload).digest() + payload


def pack(members, compression=zipfile.ZIP_STORED):
    """Make an archive of (name, data) pairs, names that come twice included."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # duplicate names
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def unpack(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("model.json")), members


def build(document, members):
    if not isinstance(document, bytes):
        document = json.dumps(document).encode()
    return seal(pack([("model.json", document), *members.items()]))


def npy(header, data=b"", version=(1, 0)):
    header = header.encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header + data


def array_bytes(array, **kwargs):
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


def nodes(tree):
    """Return all JSON objects and arrays of a tree."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (dict, list)):
            found.append(node)
            waiting.extend(node.values() if isinstance(node, dict) else node)
    return found


def find(document, **wanted):
    """Return the first object of the tree with these fields."""
    for node in nodes(document):
        if isinstance(node, dict) and all(node.get(k) == v for k, v in wanted.items()):
            return node
    raise LookupError(wanted)


def member_of(document, name):
    """Return the file name of the array that is an attribute."""
    for node in nodes(document):
        if isinstance(node, dict) and isinstance(node.get(name), dict):
            return f"{node[name]['member']}.npy"
    raise LookupError(name)


# ------------------------------------------------------------------------------- no code is run


class Trap:
    """Unpickling it makes a folder."""

    folder = None

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    folder = tmp_path / "sprung"
    monkeypatch.setattr(Trap, "folder", str(folder))
    with pytest.raises(FileExistsError):  # it works: the second time the folder is there
        for _ in range(2):
            pickle.loads(pickle.dumps(Trap()))
    folder.rmdir()
    yield Trap()
    assert not folder.exists(), "code was run"


def refuse(data, folder, match="."):
    """Assert that a file is refused: one error, a clear message, bounded time and memory."""
    path = folder / "hostile.recsys"
    path.write_bytes(data)
    modules = set(sys.modules)
    tracemalloc.start()
    start = process_time()
    try:
        with pytest.raises(ModelFileError, match=match) as caught:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is ModelFileError
    message = str(caught.value)
    assert message.startswith(f"Cannot load {path}: ")
    assert 20 < len(message) - len(str(path)) < 700
    assert process_time() - start < 5
    assert peak < 30 * len(data) + 2**23
    new = {module.partition(".")[0] for module in set(sys.modules) - modules}
    assert not new & {"this", "antigravity", "turtle"}, "a module was imported by name"
    path.unlink()


def test_the_sound_file_loads(sound, tmp_path):
    """Without this the refusals below would prove nothing: the tools here make files that load."""
    document, members = unpack(sound)
    for data in (sound, seal(sound[HEADER:]), build(document, members)):
        (tmp_path / "m").write_bytes(data)
        loaded = load(tmp_path / "m")
        np.testing.assert_array_equal(
            loaded.recommend(return_scores=True), make_model().recommend(return_scores=True)
        )


# ------------------------------------------------------------------------------- damage


def test_truncated_files(sound, tmp_path):
    rng = np.random.RandomState(0)
    lengths = {0, 1, 11, 12, 15, 16, 47, 48, 49, len(sound) - 1, len(sound) - 22}
    lengths |= set(rng.randint(len(sound), size=60).tolist())
    assert len(lengths) > 60
    for length in lengths:
        refuse(sound[:length], tmp_path, "damaged|not a model file|is empty")
    for tail in (b"\0", b"more", sound):
        refuse(sound + tail, tmp_path, "digest")


def test_flipped_bits(sound, tmp_path):
    rng = np.random.RandomState(1)
    places = [*range(HEADER), *rng.randint(HEADER, len(sound), size=100), len(sound) - 1]
    for place in places:
        data = bytearray(sound)
        data[place] ^= 1 << rng.randint(8)
        refuse(bytes(data), tmp_path, "digest|not a model file|format")


def test_swapped_blocks_and_zeroed_blocks(sound, tmp_path):
    for start in range(HEADER, len(sound) - 1024, 1024):
        block, following = sound[start : start + 512], sound[start + 512 : start + 1024]
        refuse(sound[:start] + following + block + sound[start + 1024 :], tmp_path, "digest")
        refuse(sound[:start] + bytes(512) + sound[start + 512 :], tmp_path, "digest")


@pytest.mark.parametrize("version", [0, 2, 3, 255, 2**32 - 1])
def test_other_formats(version, sound, tmp_path):
    refuse(seal(sound[HEADER:], version), tmp_path, f"it has format {version}, .* reads format")


# ------------------------------------------------------------------------------- foreign files


def foreign(trap):
    """Yield what could lie where a model was expected."""
    yield "empty", b""
    yield "text", b"a text file\n" * 100
    yield "magic only", MAGIC
    yield "json", b'{"model": {"type": "object", "class": "os.system"}}'
    yield "pickle", pickle.dumps(trap)
    yield "old pickle", pickle.dumps(trap, protocol=0)
    yield "pickled model", pickle.dumps(make_model())
    for compress in (0, 3):
        buffer = io.BytesIO()
        joblib.dump([make_model(), trap], buffer, compress=compress)
        yield f"joblib {compress}", buffer.getvalue()
    yield "npy", array_bytes(np.arange(3))
    yield "npy of objects", array_bytes(np.array([trap, 1]), allow_pickle=True)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(3), b=np.array([trap, None]), allow_pickle=True)
    yield "npz", buffer.getvalue()
    yield "zip", pack([("model.json", b"{}")])
    yield "python", b"import os; os.mkdir('sprung')"


def test_foreign_files(trap, tmp_path):
    cases = list(foreign(trap))
    assert len(cases) > 12
    for _, data in cases:
        refuse(data, tmp_path, "not a model file|is empty|ends within")
        # the same with a header that is right
        refuse(seal(data), tmp_path)


def test_a_folder_and_a_device_are_no_files(tmp_path):
    for path in (tmp_path, os.devnull):
        with pytest.raises(ModelFileError, match="a folder or a device"):
            load(path)


# ------------------------------------------------------------------------------- hostile archives


def patched(data, name, **fields):
    """Change fields of a member in the central directory, past what any tool would write."""
    data = bytearray(data)
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    offsets = {"flags": (8, "<H"), "method": (10, "<H"), "packed": (20, "<I"), "size": (24, "<I")}
    offsets["offset"] = (42, "<I")
    for field, value in fields.items():
        offset, form = offsets[field]
        struct.pack_into(form, data, place + offset, value)
    return bytes(data)


def archives(document, members, trap):
    text = json.dumps(document).encode()
    pairs = [("model.json", text), *members.items()]
    plain = pack(pairs)
    for name in ("DEFLATED", "BZIP2", "LZMA"):
        yield f"{name}", pack(pairs, getattr(zipfile, f"ZIP_{name}"))
        zeros = [*pairs, (f"{len(members)}.npy", bytes(2 * 10**7))]
        yield f"bomb by {name}", pack(zeros, getattr(zipfile, f"ZIP_{name}"))
    bomb = pack([("model.json", b" " * 10**7 * 5)], zipfile.ZIP_DEFLATED)
    yield "bomb in model.json", bomb
    yield "bomb in a bomb", pack([("model.json", bomb)], zipfile.ZIP_DEFLATED)
    for name in pairs:
        yield f"twice {name[0]}", pack([*pairs, name])
        yield f"missing {name[0]}", pack([pair for pair in pairs if pair != name])
    extra = array_bytes(np.arange(3))
    yield "an array that nothing refers to", pack([*pairs, (f"{len(members)}.npy", extra)])
    for name in (
        *("../x.npy", "../../../../etc/cron.d/x", "/etc/passwd", "a/0.npy", "..\\x.npy", "C:\\x"),
        *("model.json/", "MODEL.JSON", "00.npy", "0.NPY", "-1.npy", "x.py", "0.pkl", "é.npy", "."),
    ):
        yield f"named {name}", pack([*pairs, (name, extra)])
        renamed = [(name if old == "0.npy" else old, data) for old, data in pairs]
        yield f"0.npy as {name}", pack(renamed)
    last = f"{len(members) - 1}.npy"
    yield "claims to be large", patched(plain, last, size=2**31, packed=2**31)
    yield "claims to be small", patched(plain, last, size=1, packed=1)
    yield "claims to be empty", patched(plain, last, size=0, packed=0)
    yield "claims two sizes", patched(plain, last, size=2**30)
    yield "encrypted", patched(plain, last, flags=1)
    yield "strongly encrypted", patched(plain, last, flags=0x41)
    yield "patch data", patched(plain, last, flags=0x20)
    yield "method 99", patched(plain, last, method=99)
    yield "claims to be deflated", patched(plain, last, method=8)
    yield "overlap", patched(plain, last, offset=0)
    yield "outside", patched(plain, last, offset=2**31)
    yield "no archive", b"PK" + bytes(1000)
    yield "only an end", plain[-22:]
    yield "half", plain[: len(plain) // 2]
    yield "no end", plain[:-22]
    yield "other half", plain[len(plain) // 2 :]
    yield "checksum", plain.replace(b"NUMPY", b"NUMPX", 1)
    yield "many members", pack((f"{number}.npy", b"") for number in range(5000))
    yield "pickle as model.json", pack([("model.json", pickle.dumps(trap)), *members.items()])
    yield "pickle as 0.npy", pack([*pairs[:1], ("0.npy", pickle.dumps(trap)), *pairs[2:]])
    objects = array_bytes(np.array([trap, None], dtype=object), allow_pickle=True)
    yield "objects as 0.npy", pack([*pairs[:1], ("0.npy", objects), *pairs[2:]])


def test_hostile_archives(sound, trap, tmp_path):
    cases = list(archives(*unpack(sound), trap))
    assert len(cases) > 80
    for _, payload in cases:
        refuse(seal(payload), tmp_path)
    assert sorted(os.listdir(tmp_path)) == []
    assert not os.path.exists(tmp_path.parent / "x.npy")


# ------------------------------------------------------------------------------- hostile arrays


def headers(folder):
    """Yield arrays of 8 bytes of data with a header that says something else."""
    usual = "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}"
    for shape in (
        *("(10**18,)", "(1000000000000000000,)", "(1099511627776, 1099511627776)", "(-1,)", "(3,)"),
        *(
            "(2.0,)",
            "2",
            "[2]",
            "None",
            "(2, 'x')",
            "((2,),)",
            "()",
            "(0,)",
            "(" + "1, " * 70 + ")",
        ),
        *("(9223372036854775807, 9223372036854775807, 0)", "(18446744073709551618,)"),
        *("(" + "9" * 4000 + ",)", "(-1, -1)", "(1,) * 2"),
    ):
        yield npy(usual.format("'<f4'", shape), bytes(8))
    for descr in (
        *("'|O'", "'O8'", "object", "'<f4,<f4'", "[('a', '<f4'), ('b', '|O')]", "('<f4', (1,))"),
        *("'|V4'", "'<U0'", "'|S0'", "'x'", "''", "None", "7", "'<f3'", "{'names': ['a']}", "'T'"),
        *("'<f4' * 10**9", "[('a', '<f4')]", "'<U999999999999'", "(('<f4', 10**9), 10**9)"),
    ):
        yield npy(usual.format(descr, "(2,)"), bytes(8))
    for header in (
        *("", "{}", "[]", "None", "{'descr': '<f4'", "\0" * 64, "[" * 9000, "-" * 9000 + "1"),
        *("{" * 9000, "(" * 9000 + ")" * 9000, "'" * 3, "1" * 9000, "a." * 4000, "f" * 65000),
        f"__import__('os').mkdir({str(folder / 'sprung')!r})",
        f"[x for x in [__import__('os').mkdir({str(folder / 'sprung')!r})]]",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': (2,)}",
        "{'descr': '<f4', 'shape': (2,)}",
    ):
        yield npy(header, bytes(8))
    sound = usual.format("'<f4'", "(2,)")
    for version in ((0, 1), (2, 0), (3, 0), (9, 9)):
        yield npy(sound, bytes(8), version)
    for data in (b"", bytes(7), bytes(9), bytes(10**6)):
        yield npy(sound, data)
    yield b""
    yield b"\x93NUMPY"
    yield b"\x93NUMPX" + npy(sound, bytes(8))[6:]
    yield npy(sound, bytes(8))[:20]


def test_hostile_arrays(sound, tmp_path):
    document, members = unpack(sound)
    target = member_of(document, "idf_")
    cases = list(headers(tmp_path))
    assert len(cases) > 60
    for data in cases:
        refuse(build(document, {**members, target: data}), tmp_path, "its member .* (is|has|holds)")
    assert not os.listdir(tmp_path)
    (tmp_path / "m").write_bytes(
        build(document, {**members, target: array_bytes(np.zeros(9))})  # the tools make good ones
    )
    load(tmp_path / "m")


def test_bytes_that_are_no_elements(sound, tmp_path):
    document, members = unpack(sound)
    flags, text = member_of(document, "flags_"), member_of(document, "text_")
    wrong = array_bytes(np.array([1, 2], dtype=np.int8)).replace(b"|i1", b"|b1")
    refuse(
        build(document, {**members, flags: wrong}), tmp_path, "bytes that are not valid for bool"
    )
    for order in "<>":
        points = np.array([97, 0x110000], dtype=f"{order}u4")
        wrong = array_bytes(points).replace(f"{order}u4".encode(), f"{order}U1".encode())
        refuse(
            build(document, {**members, text: wrong}),
            tmp_path,
            "bytes that are not valid for [<>]U1",
        )


# ------------------------------------------------------------------------------- hostile JSON


TEXTS = [
    *(b"", b"{", b"null", b"7", b'"text"', b"[]", b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}", b"\0"),
    *(b"NaN", b"[NaN]", b"Infinity", b"-Infinity", b"1e999", b"1" * 5000, b"\x80\x04K\x01."),
    *(b"[" * 10**5, b"[" * 10**5 + b"]" * 10**5, b'{"a":' * 10**5, b"[" * 900 + b"]" * 900),
    *(b'{"model": 1, "model": 2, "versions": {}}', b"{}{}", b"[[],]", b"'a'", b"\xc3\xa9"),
    *(
        b'{"model": null}',
        b'{"versions": {}, "model": null, "more": 1}',
        b"[" + b"[]," * 10**5 + b"1]",
    ),
]


def test_texts_that_are_no_document(sound, tmp_path):
    _, members = unpack(sound)
    for text in TEXTS:
        refuse(build(text, members), tmp_path)
        refuse(build(text, {}), tmp_path)


CLASSES = [
    *("os.system", "builtins.eval", "builtins.exec", "subprocess.Popen", "pickle.Unpickler"),
    *("this.c", "antigravity.webbrowser", "turtle.Turtle", "", ".", "..", "EASE", "a" * 10**5),
    *("__main__.Evil", "numpy.ndarray", "pandas.DataFrame", "joblib.Memory", "sklearn.utils.Bunch"),
    *("sklearn.preprocessing.FunctionTransformer", "sklearn.preprocessing._data.Binarizer"),
    *("sklearn_recsys.linear_model._ease.EASE", "sklearn_recsys.EASE", "sklearn_recsys.load"),
    *("sklearn_recsys.persistence.load", "sklearn_recsys.datasets.fetch_movielens"),
    *("sklearn_recsys.base.RecommenderMixin", "sklearn_recsys.base.RecommenderTags"),
    *("sklearn_recsys.model_selection.HoldoutSplit", "sklearn_recsys.persistence.ModelFileError"),
    *("sklearn_recsys.linear_model.EASE.fit", "sklearn_recsys.linear_model.EASE ", "é", "\0"),
    *(None, 7, ["sklearn_recsys.linear_model.EASE"], {"type": "numpy.type", "value": "int8"}, True),
]


@pytest.mark.parametrize("name", CLASSES, ids=lambda name: str(name)[:30])
def test_wrong_class_names(name, sound, tmp_path):
    document, members = unpack(sound)
    for old in ("UserKNN", "RowSimilarity", "Pipeline", "Encoder"):
        changed = copy.deepcopy(document)
        node = next(
            node
            for node in nodes(changed)
            if isinstance(node, dict) and str(node.get("class")).endswith(old)
        )
        node["class"] = name
        refuse(build(changed, members), tmp_path, "holds|names a class|has no parameter|unusable")


KNN = "sklearn_recsys.neighbors.UserKNN"
ENCODER = "sklearn_recsys.preprocessing.InteractionEncoder"
PIPE = "sklearn_recsys.pipeline.RecommenderPipeline"
INDEX = "sklearn_recsys.utils._history_index.HistoryIndex"
SIMILARITY = "sklearn_recsys.neighbors._similarity.RowSimilarity"


def set_in(field, **changes):
    """Return a change of a field (params, state, …) of the object of a class."""

    def change(document, cls):
        find(document, **{"class": cls})[field].update(changes)

    return change


NULL_LEAF = {"type": "float", "value": "nan"}
ATTRIBUTES = [
    *("fit", "predict", "_fit", "recommend", "__class__", "__dict__", "__reduce__", "__init__", ""),
    *("a b", "a.b", "1", "_values", "save", "get_params", "__sklearn_tags__", "_score_items", "é-"),
    *("_metadata_request", "n_neighbors", "_get_metadata_request", "set_score_request"),
]
LEAVES = [
    *(
        ("float", "1.5"),
        ("float", "nanna"),
        ("float", ""),
        ("int", "7"),
        ("int", "0x"),
        ("int", ""),
    ),
    *(("int", "__import__('os')"), ("bytes", "0"), ("bytes", "zz"), ("uuid", "x"), ("uuid", "")),
    *(("timestamp", "ns:1"), ("timestamp", "ns:1:dateutil//etc/passwd"), ("timestamp", "D:1:")),
    *(("timestamp", "s:" + "9" * 19 + ":"), ("timestamp", "now"), ("numpy.dtype", "O")),
    *(("numpy.dtype", "|O"), ("numpy.dtype", "f4,O"), ("numpy.dtype", "<V8"), ("numpy.dtype", "")),
    *(("numpy.dtype", "<U0"), ("numpy.dtype", "<U9999999999"), ("numpy.dtype", "f4\n")),
    *(
        ("numpy.type", "object_"),
        ("numpy.type", "void"),
        ("numpy.type", "load"),
        ("numpy.type", ""),
    ),
    *(("numpy.scalar", "|O:00"), ("numpy.scalar", "<f4:00"), ("numpy.scalar", "<f4:" + "00" * 8)),
    *(("numpy.scalar", "<f4"), ("numpy.scalar", ":"), ("numpy.scalar", "<V4:00000000")),
]


def trees():
    """Yield a change of the tree and what the error says."""
    for name in ATTRIBUTES:
        yield (lambda d, n=name: set_in("state", **{n: 1})(d, KNN)), "the attribute"
        if name not in {"n_neighbors"}:
            yield (lambda d, n=name: set_in("params", **{n: 1})(d, KNN)), "has no parameter"
    for name in ("top", "_prepare", "__class__", "top "):
        yield (lambda d, n=name: set_in("state", **{n: 1})(d, SIMILARITY)), "the attribute"
        yield (lambda d, n=name: set_in("params", **{n: 1})(d, SIMILARITY)), "has no parameter"
    yield (lambda d: set_in("params", memory="/tmp/pickles")(d, PIPE)), "no parameter 'memory'"
    for kind, value in LEAVES:
        leaf = {"type": kind, "value": value}
        yield (lambda d, x=leaf: set_in("params", metric=x)(d, KNN)), "are broken"
    for value in (None, 7, [], {}, True):
        leaf = {"type": "int", "value": value}
        yield (lambda d, x=leaf: set_in("params", metric=x)(d, KNN)), "must be text"
    for kind in ("pickle", "function", "", None, 7, [], {}, "decode", "_sparse", "object\0"):
        leaf = {"type": kind, "value": "x"}
        yield (lambda d, x=leaf: set_in("params", metric=x)(d, KNN)), "of the unknown kind"
    for leaf in ({"type": "tuple"}, {"type": "ref"}, {"type": "int", "value": "0x1", "more": 1}):
        yield (lambda d, x=leaf: set_in("params", metric=x)(d, KNN)), "wrong fields"
    for leaf in ({}, {"a": 1}):
        yield (lambda d, x=leaf: set_in("params", metric=x)(d, KNN)), "of the unknown kind"
    yield (lambda d: set_in("params", metric=2**64)(d, KNN)), "out of range"
    for number in (-1, 10**6, 2**70, "0", None, [0], True, 1.0, "../0"):
        yield (lambda d, n=number: find(d, type="array").update(member=n)), "an array"
        parts = [number] * 3
        yield (lambda d, p=parts: find(d, type="sparse").update(parts=p)), "an array"
    for number in (-1, 10**6, "0", None, [0], True, {}):
        ref = {"type": "ref", "id": number}
        yield (lambda d, x=ref: set_in("params", metric=x)(d, KNN)), "refers to"
    for number in ("0", None, [], 1.5):
        yield (lambda d, n=number: find(d, type="array").update(id=n)), "numbers a"
    yield (lambda d: find(d, type="array").update(id=find(d, type="sparse")["id"])), "numbers a"
    yield (lambda d: set_in("state", a={"type": "ref", "id": d["model"]["id"]})(d, KNN)), "refers"
    for items in (7, None, {}, "ab", {"type": "tuple", "items": []}):
        node = {"type": "tuple", "items": items}
        yield (lambda d, x=node: set_in("params", metric=x)(d, KNN)), "instead of a list"
    for items in ([1], [[1]], [[1, 2, 3]], ["ab"], [[1, 2], [1, 3]], [[1, 2], [True, 3]]):
        node = {"type": "dict", "items": items}
        yield (lambda d, x=node: set_in("params", metric=x)(d, KNN)), "holds a dict"
    for key in ([], {"type": "dict", "items": []}):
        node = {"type": "dict", "items": [[key, 1]]}
        yield (lambda d, x=node: set_in("params", metric=x)(d, KNN)), "unhashable"
    for shape in (
        [],
        [2],
        [-1],
        [2**63],
        [1.5],
        "x",
        None,
        [[3]],
        [True],
        [10**9, 10**9],
        [0] * 40,
    ):
        yield (lambda d, s=shape: find(d, type="objects").update(shape=s)), "array|objects"
        yield (lambda d, s=shape: find(d, type="sparse").update(shape=s)), "array|sparse|parts"
    for name in ("coo_array", "dia_matrix", "", None, 7, [], "os"):
        yield (lambda d, n=name: find(d, type="sparse").update({"class": n})), "sparse|unhashable"
    for shape in ([10**12, 9], [5, 3], [4, 9], [6, 9], [0, 0], [9, 5]):
        yield (lambda d, s=shape: find(d, type="sparse").update(shape=s)), "invalid cs[rc]_"
    for key, value, match in hostile_frames():
        yield (lambda d, k=key, v=value: change_frame(d, k, v)), match
    for change in ({"pos": -1}, {"pos": 625}, {"pos": None}, {"pos": 1.0}, {"pos": 2**70}):
        yield (lambda d, c=change: find(d, type="random_state").update(c)), "random state"
    for change in ({"gauss": None}, {"has_gauss": "1"}, {"gauss": "1"}, {"key": 10**6}):
        yield (lambda d, c=change: find(d, type="random_state").update(c)), "random state|an array"
    for value in (None, 7, [], "x", {"score": None}, {"score": {"a": 7}}, {"score": {"a": []}}):
        yield (lambda d, v=value: find(d, **{"class": KNN}).update(routing=v)), "metadata requests"
    for value in ({"owner": {"a": True}}, {"__class__": {"a": True}}, {"x": {"a": True}}):
        yield (lambda d, v=value: find(d, **{"class": KNN}).update(routing=v)), "metadata requests"
    for field in ("params", "state"):
        for value in (None, [], 7, "x"):
            yield (
                (lambda d, f=field, v=value: find(d, **{"class": KNN}).update({f: v})),
                "not a JSON obj",
            )
    for model in (
        None,
        7,
        [],
        "x",
        {"type": "tuple", "items": []},
        {"type": "int", "value": "0x1"},
    ):
        yield (lambda d, m=model: d.update(model=m)), "are not used|instead of a model"
    for versions in (None, [], {}, {"sklearn_recsys": "0.1.0"}, "0.1.0"):
        yield (lambda d, v=versions: d.update(versions=v)), "name the versions"
    for version in (None, 1.0, "", "x", "1", "1.2 ", "1" * 9 + ".0", "0.1" + "x" * 99, [0, 1]):
        yield (lambda d, v=version: d["versions"].update({"scikit-learn": v})), "the version"
    for depth in (31 * 3 + 9, 300):
        yield (lambda d, n=depth: set_in("params", metric=nested(n))(d, KNN)), "too deeply"


def change_frame(document, key, value):
    """Put something in the place of a part of the frame; a number is a column's."""
    items = find(document, type="frame")["parts"]["items"]
    if isinstance(key, int):
        dict(items)["data"][key]["items"][:] = value
    else:
        next(pair for pair in items if pair[0] == key)[1] = value


def hostile_frames():
    short = {"type": "objects", "shape": [1], "items": ["x"], "id": 10**6}
    square = {"type": "objects", "shape": [2, 1], "items": ["x", "y"], "id": 10**6}
    letters = {"type": "objects", "shape": [2], "items": ["x", "y"], "id": 10**6}
    for value in (None, 7, [], {"type": "dict", "items": []}):
        yield "data", value, "wrong fields|different length|are broken"
        yield "columns", value, "invalid column"
        yield "index", value, "invalid column"
    yield "index_name", [], "are broken"
    for value in ([], ["numpy"], ["numpy", letters, 1], ["category", letters], [None, None, 1, 1]):
        yield 0, value, "invalid column"
    for value in (None, 7, "x", [1, 2], square):
        yield 0, ["numpy", value], "without values"
    yield 0, ["numpy", short], "different lengths"
    for dtype in ("object", "datetime64[ns, UTC]", "os", "", None, 7, "Sparse[int]", "period[D]"):
        yield 0, [dtype, letters], "of the dtype"
    for dtype in ("Int64", "boolean", "Float32"):
        yield 0, [dtype, letters], "are broken"
    again = {"type": "tuple", "items": ["numpy", {"type": "ref", "id": 10**6}]}
    yield 2, ["category", letters, again, False], "are broken"


def pandas_node(kind, parts):
    """Return the node of a pandas object that says what `split` returns."""

    def node(value):
        if isinstance(value, tuple):
            return {"type": "tuple", "items": [node(item) for item in value]}
        return value

    items = [[name, node(value)] for name, value in parts.items()]
    return {"type": kind, "parts": {"type": "dict", "items": items}, "id": 10**6}


def hostile_sequences():
    letters = {"type": "objects", "shape": [2], "items": ["x", "y"], "id": 10**6 + 1}
    values = ("numpy", letters)
    index = {"values": values, "name": None}
    series = {**index, "index": ("range", 0, 2, 1), "index_name": None}
    for parts in ({}, {"values": values}, series):
        yield pandas_node("index", parts), "wrong fields"
    for parts in ({}, index):
        yield pandas_node("series", parts), "wrong fields"
    for part in (("range",), ("range", 0, 2), ("range", 0, 2, 0), ("range", 0, 2, "1")):
        yield pandas_node("index", {**index, "values": part}), "invalid range index"
        yield pandas_node("series", {**series, "index": part}), "invalid range index"
    yield pandas_node("index", {**index, "name": []}), "are broken"
    yield pandas_node("series", {**series, "index": ("range", 0, 10**12, 1)}), "different lengths"
    yield pandas_node("series", {**series, "values": ("range", 0, 2, 1)}), "invalid column"
    for text in ("", "1", "1:2", "1:2:0", "1:2:x", "1:2:3:4", "0:" + "9" * 19 + ":1", None, 7):
        yield {"type": "range", "value": text}, "are broken"
    for kind in ("set", "frozenset"):
        yield {"type": kind, "items": [[]]}, "are broken"
        yield {"type": kind, "items": 7}, "instead of a list"


@pytest.mark.parametrize(("node", "match"), list(hostile_sequences()))
def test_hostile_sequences(node, match, sound, tmp_path):
    document, members = unpack(sound)
    find(document, **{"class": KNN})["params"]["metric"] = node
    refuse(build(document, members), tmp_path, match)


def test_pandas_objects_that_repeat_an_array_are_refused(sound, tmp_path):
    document, members = unpack(sound)
    text = np.array(["x" * 100] * 1000)
    members = {**members, f"{len(members)}.npy": array_bytes(text)}
    member = {"type": "array", "member": len(members) - 1, "id": 10**6 + 1}
    again = {"type": "ref", "id": 10**6 + 1}
    nodes = [
        {**pandas_node("index", {"values": ("numpy", item), "name": None}), "id": 10**6 + 2 + i}
        for i, item in enumerate([member] + [again] * 50)
    ]
    find(document, **{"class": KNN})["params"]["metric"] = nodes
    refuse(build(document, members), tmp_path, "larger than the file")


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


TREES = list(trees())
assert len(TREES) > 150


@pytest.mark.parametrize("number", range(len(TREES)))
def test_hostile_trees(number, sound, tmp_path):
    change, match = TREES[number]
    document, members = unpack(sound)
    change(document)
    refuse(build(document, members), tmp_path, match)


def test_only_a_helper_is_no_model(sound, tmp_path):
    document, members = unpack(sound)
    document["model"] = find(document, **{"class": SIMILARITY})
    kept = {str(number): f"{number}.npy" for node in nodes(document) for number in parts_of(node)}
    order = {old: f"{new}.npy" for new, old in enumerate(kept.values())}
    for node in nodes(document):
        if isinstance(node, dict) and node.get("type") == "sparse":
            node["parts"] = [int(order[f"{part}.npy"][:-4]) for part in node["parts"]]
        elif isinstance(node, dict) and node.get("type") == "array":
            node["member"] = int(order[f"{node['member']}.npy"][:-4])
    members = {order[old]: members[old] for old in kept.values()}
    refuse(build(document, members), tmp_path, "a RowSimilarity instead of a model")


def parts_of(node):
    if not isinstance(node, dict):
        return []
    return node.get("parts", []) + ([node["member"]] if "member" in node else [])


@pytest.mark.parametrize(
    ("part", "array"),
    [
        (0, np.ones(3, np.float32)),
        (0, np.ones((2, 2), np.float32)),
        (0, None),
        (1, -1),
        (1, 10**6),
        (1, np.float32),
        (1, np.uint32),
        (1, np.int8),
        (2, np.zeros(6, np.int32)),
        (2, np.array([0, 10**9, 0, 0, 0, 1], np.int32)),
        (2, "backwards"),
        (2, "from one"),
        (2, np.array([], np.int32)),
    ],
)
def test_sparse_matrices_whose_parts_do_not_fit(part, array, sound, tmp_path):
    document, members = unpack(sound)
    node = find(document, type="sparse", shape=[5, 9])
    name = f"{node['parts'][part]}.npy"
    old = np.load(io.BytesIO(members[name]))
    if array is None:
        array = old.astype("U1")
    elif isinstance(array, int):
        array = np.where(np.arange(len(old)) == 2, array, old).astype(old.dtype)
    elif isinstance(array, type):
        array = old.astype(array)
    elif isinstance(array, str):
        array = old[::-1].copy() if array == "backwards" else np.maximum(old, 1)
    members[name] = array_bytes(array)
    refuse(build(document, members), tmp_path, "holds an invalid csr_array")


# ------------------------------------------------------------------------------- at random


def mutate(node, rng, pool):
    """Change one thing anywhere in a tree: another value, key, order, or nothing left of it."""
    target = nodes(node)[rng.randint(len(nodes(node)))]
    keys = list(target) if isinstance(target, dict) else list(range(len(target)))
    if not keys:
        return
    key, other = keys[rng.randint(len(keys))], keys[rng.randint(len(keys))]
    kind = rng.randint(5)
    if kind == 0:
        del target[key]
    elif kind == 1:
        target[key] = copy.deepcopy(pool[rng.randint(len(pool))])
    elif kind == 2:
        target[key], target[other] = target[other], target[key]
    elif kind == 3 and isinstance(target, dict):
        target[f"{key}_"] = target.pop(key)
    else:
        target[key] = [None, 0, -1, 2**63 - 1, 1e308, "", "x", True, [], {}][rng.randint(10)]


def load_or_refuse(data, path):
    """Assert that a file is refused or makes a model of ours that can be asked without a crash."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = load(path)
        except ModelFileError:
            return False
        assert type(model).__module__.startswith(("sklearn_recsys.", "sklearn."))
        try:  # what it holds may be nonsense: an exception is an answer
            model.recommend(sp.csr_array(np.eye(9, dtype=np.float32)))
            model.partial_fit(sp.csr_array(np.eye(9, dtype=np.float32)))
        except Exception:
            pass
    return True


def test_random_trees(sound, tmp_path):
    rng = np.random.RandomState(0)
    original, members = unpack(sound)
    pool = nodes(original)
    outcomes = []
    for _ in range(300):
        document = copy.deepcopy(original)
        for _ in range(rng.randint(1, 4)):
            mutate(document, rng, pool)
        outcomes.append(load_or_refuse(build(document, members), tmp_path / "m"))
    assert 10 < sum(outcomes) < 290  # both happen


def test_random_bytes_behind_a_right_digest(sound, tmp_path):
    rng = np.random.RandomState(1)
    for _ in range(300):
        payload = bytearray(sound[HEADER:])
        for _ in range(rng.randint(1, 6)):
            payload[rng.randint(len(payload))] = rng.randint(256)
        load_or_refuse(seal(bytes(payload)), tmp_path / "m")


def test_random_arrays(sound, tmp_path):
    """Arrays of other values, shapes and dtypes: nothing crashes the interpreter."""
    rng = np.random.RandomState(2)
    document, members = unpack(sound)
    for _ in range(150):
        name = sorted(members)[rng.randint(len(members))]
        old = np.load(io.BytesIO(members[name]))
        new = [
            lambda old=old: rng.permutation(old.ravel()).reshape(old.shape),
            lambda old=old: np.zeros(
                old.shape, ["i1", "i8", "f2", "c8", "U3", "?"][rng.randint(6)]
            ),
            lambda old=old: old[: rng.randint(len(old) + 1)],
            lambda old=old: np.concatenate([old, old]),
            lambda old=old: rng.randint(-100, 10**6, size=old.shape).astype(old.dtype.str),
        ][rng.randint(5)]()
        load_or_refuse(build(document, {**members, name: array_bytes(new)}), tmp_path / "m")


def test_a_seeded_model_without_arrays_loads(tmp_path):
    """An archive of nothing but the document is no special case."""
    data = saved(RandomRecommender(random_state=3), tmp_path)
    document, members = unpack(data)
    assert not members
    (tmp_path / "m").write_bytes(build(document, members))
    assert load(tmp_path / "m").random_state == 3
