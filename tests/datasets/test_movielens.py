"""fetch_movielens and fetch_ncf_split on tiny made-up archives and, where it is, on real data."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest

from sklearn_recsys.datasets import fetch_movielens, fetch_ncf_split

U_FORM = {
    "u.data": "7\t2\t5\t900000001\n3\t1\t2\t900000000\n7\t1\t4\t900000001\n",
    "u.item": (
        "1|Café: Noir, or Not (1941)|01-Jan-1941||http://x|0|1|1\n"
        '2|"Quoted" Thing|||http://y|0|0|1\n'
        "3|unknown||||1|0|0\n"
    ),
    "u.genre": "unknown|0\nDrama|1\nWar|2\n\n",
    "u.user": "3|24|M|technician|01234\n7|53|F|other|T8H1N\n",
    "ua.base": "7\t2\t5\t900000001\n3\t1\t2\t900000000\n",
    "ua.test": "7\t1\t4\t900000001\n",
}
DAT_FORM = {
    "ratings.dat": "7::2::5::978300001\n3::1::2.5::978300000\n",
    "movies.dat": (
        "1::Café: Noir, or Not (1941)::Drama|War\n"
        '2::NA (1900) (1976)::"Quoted"\n'
        "9::Unrated One (1988)::Drama\n"
    ),
    "users.dat": "3::F::1::10::01234\n7::M::56::16::55117-0001\n",
}
CSV_FORM = {
    "ratings.csv": "userId,movieId,rating,timestamp\n7,2,4.5,1112486027\n3,1,0.5,1112484676\n",
    "movies.csv": (
        "movieId,title,genres\n"
        '1,"Café: Noir, or Not (1941)",Drama|War\n'
        '2,"Long ""Runner"", The (1975-1979) ",(no genres listed)\n'
        "5,No Year 5,Drama\n"
        "6,Still Running (2007– ) ,Drama\n"
    ),
}
FORMS = {
    "100k": ("ml-100k", "ml-100k", U_FORM, "latin-1"),
    "1m": ("ml-1m", "ml-1m", DAT_FORM, "latin-1"),
    "10m": ("ml-10m", "ml-10M100K", DAT_FORM, "utf-8"),
    "20m": ("ml-20m", "ml-20m", CSV_FORM, "utf-8"),
    "25m": ("ml-25m", "ml-25m", CSV_FORM, "utf-8"),
    "32m": ("ml-32m", "ml-32m", CSV_FORM, "utf-8"),
    "latest-small": ("ml-latest-small", "ml-latest-small", CSV_FORM, "utf-8"),
    "latest-small-2016": ("ml-latest-small-2016", "ml-latest-small-2016", CSV_FORM, "utf-8"),
}


def write(home, name, *, packed=True, without=()):
    """Write a tiny archive, or an unpacked folder, of an edition."""
    archive, folder, files, encoding = FORMS[name]
    files = {file: text.encode(encoding) for file, text in files.items() if file not in without}
    if packed:
        with zipfile.ZipFile(home / f"{archive}.zip", "w") as writer:
            for file, content in files.items():
                writer.writestr(f"{folder}/{file}", content)
    else:
        (home / folder).mkdir()
        for file, content in files.items():
            (home / folder / file).write_bytes(content)
    return home


def load(home, name, **options):
    return fetch_movielens(name, data_home=home, download_if_missing=False, **options)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [True, False])
def test_every_edition_has_the_same_form(tmp_path, name, packed):
    data = load(write(tmp_path, name, packed=packed), name)
    events = data.interactions
    assert events.dtypes.astype(str).to_dict() == {
        "user": "int64",
        "item": "int64",
        "rating": "float64",
        "timestamp": "int64",
    }
    assert events.user.tolist()[:2] == [7, 3]  # file order
    assert events.item.tolist()[:2] == [2, 1]
    assert data.items.index.name == "item"
    assert data.items.columns.tolist() == ["title", "year", "genres"]
    assert data.items.loc[1].tolist() == ["Café: Noir, or Not (1941)", 1941, "Drama|War"]
    assert data.items["year"].dtype == "Int64"
    assert data.name == name
    for words in ("Harper", "redistributed", f"{len(events)} events, 2 users, 2 rated items"):
        assert words in data.DESCR


def test_100k(tmp_path):
    data = load(write(tmp_path, "100k"), "100k")
    assert data.interactions.to_numpy().tolist() == [
        [7, 2, 5, 900000001],
        [3, 1, 2, 900000000],
        [7, 1, 4, 900000001],
    ]
    assert data.items.title.tolist()[1:] == ['"Quoted" Thing', "unknown"]
    assert data.items.year.isna().tolist() == [False, True, True]
    assert data.items.genres.tolist() == ["Drama|War", "War", "unknown"]
    assert data.users.index.name == "user"
    assert data.users.to_dict("index") == {
        3: {"age": 24, "gender": "M", "occupation": "technician", "zip": "01234"},
        7: {"age": 53, "gender": "F", "occupation": "other", "zip": "T8H1N"},
    }
    assert "train" not in data


def test_100k_fold(tmp_path):
    data = load(write(tmp_path, "100k"), "100k", fold="ua")
    both = pd.concat([data.train, data.test], ignore_index=True)
    pd.testing.assert_frame_equal(both, data.interactions)
    with pytest.raises(OSError, match=r"no file u3\.base"):
        load(tmp_path, "100k", fold="u3")
    with pytest.raises(ValueError, match="Unknown fold 'u6'; use one of .*'ua'"):
        load(tmp_path, "100k", fold="u6")
    with pytest.raises(ValueError, match='Only "100k" comes with published folds'):
        load(tmp_path, "1m", fold="ua")


def test_dat_editions(tmp_path):
    data = load(write(tmp_path, "1m"), "1m")
    assert data.items.loc[2].tolist() == ["NA (1900) (1976)", 1976, '"Quoted"']
    assert data.items.index.tolist() == [1, 2, 9]  # unrated movies are there
    assert data.users.to_dict("index") == {
        3: {"age": 1, "gender": "F", "occupation": "K-12 student", "zip": "01234"},
        7: {"age": 56, "gender": "M", "occupation": "self-employed", "zip": "55117-0001"},
    }
    data = load(write(tmp_path, "10m"), "10m")
    assert data.users is None
    assert data.interactions.rating.tolist() == [5.0, 2.5]


def test_csv_editions(tmp_path):
    data = load(write(tmp_path, "32m"), "32m")
    assert data.users is None
    assert data.items.title.tolist()[1] == 'Long "Runner", The (1975-1979)'
    assert data.items.year.fillna(0).tolist() == [1941, 1975, 0, 0]
    assert data.items.genres.tolist()[1] == "(no genres listed)"


def test_items_is_the_frame_also_after_copies(tmp_path):
    data = load(write(tmp_path, "1m"), "1m")
    for other in (data, copy.copy(data), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        pd.testing.assert_frame_equal(other.items, data["items"])
        assert sorted(other) == ["DESCR", "interactions", "items", "name", "users"]
    assert data.items is data["items"]


def test_data_home(tmp_path, monkeypatch):
    write(tmp_path, "1m")
    monkeypatch.setenv("SKLEARN_RECSYS_DATA", str(tmp_path))
    assert len(fetch_movielens("1m", download_if_missing=False).interactions) == 2
    monkeypatch.delenv("SKLEARN_RECSYS_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(OSError, match=r"Neither ml-1m\.zip nor .*sklearn_recsys_data"):
        fetch_movielens("1m", download_if_missing=False)
    (tmp_path / "sklearn_recsys_data").mkdir()
    write(tmp_path / "sklearn_recsys_data", "1m")
    assert len(fetch_movielens("1m", download_if_missing=False).interactions) == 2


def test_download(tmp_path, monkeypatch):
    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash, fname, path))
        write(path, "20m")

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    for _ in range(2):
        assert len(fetch_movielens("20m", data_home=tmp_path).interactions) == 2
    url = "https://files.grouplens.org/datasets/movielens/ml-20m.zip"
    assert calls == [(url, "md5:cd245b17a1ae2cc31bb14903e1204af3", "ml-20m.zip", tmp_path)]
    with pytest.raises(OSError, match="no longer published"):
        fetch_movielens("latest-small-2016", data_home=tmp_path)

    def offline(**options):
        raise ConnectionError("Max retries exceeded")

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=offline))
    with pytest.raises(OSError, match=r"ml-25m\.zip cannot be .* \(ConnectionError\)\. Put"):
        fetch_movielens("25m", data_home=tmp_path)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn_recsys\[data\]"'):
        fetch_movielens("25m", data_home=tmp_path)
    assert len(calls) == 1


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"Unknown edition '2m' .* \['100k', '1m', '10m'"):
        fetch_movielens("2m")
    with pytest.raises(OSError, match="SKLEARN_RECSYS_DATA"):
        load(tmp_path, "100k")
    (tmp_path / "ml-25m.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(OSError, match="is not a zip archive"):
        load(tmp_path, "25m")
    write(tmp_path, "20m", without=["movies.csv"])
    with pytest.raises(OSError, match=r"no file movies\.csv; the archive is incomplete"):
        load(tmp_path, "20m")


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("1m", "ratings.dat", b"1::2::good::3\n"),
        ("100k", "u.data", b""),
        ("20m", "ratings.csv", b"user,movie,rating\n1,2,3\n"),
        ("20m", "movies.csv", b"movieId,title,genres\n1,\xe9,x\n"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, file, content):
    write(tmp_path, name, packed=False)
    (tmp_path / FORMS[name][1] / file).write_bytes(content)
    with pytest.raises(OSError, match=f"{file} is damaged, or not in the format of MovieLens"):
        load(tmp_path, name)


def test_damaged_archive(tmp_path):
    path = write(tmp_path, "1m") / "ml-1m.zip"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"7::2::5", b"7::2::4"))  # its checksum is wrong now
    with pytest.raises(OSError, match=r"ratings\.dat is damaged"):
        load(tmp_path, "1m")


NCF_FILES = {
    "ml-1m.train.rating": "0\t3\t4\t978824330\n0\t1\t5\t978824291\n1\t0\t3\t978824291\n",
    "ml-1m.test.rating": "0\t0\t5\t978824351\n1\t2\t4\t978300174\n",
    "ml-1m.test.negative": "(0,0)\t5\t2\t4\n(1,2)\t4\t2\t1\n",
}


@pytest.mark.parametrize("form", ["zip", "folder", "zip with a folder"])
def test_ncf_split(tmp_path, form):
    prefix = "" if form == "zip" else "ncf-ml-1m/"
    if form == "folder":
        (tmp_path / prefix).mkdir()
        for file, text in NCF_FILES.items():
            (tmp_path / prefix / file).write_text(text)
    else:
        with zipfile.ZipFile(tmp_path / "ncf-ml-1m.zip", "w") as writer:
            for file, text in NCF_FILES.items():
                writer.writestr(prefix + file, text)
    data = fetch_ncf_split(data_home=tmp_path)
    assert data.train.to_numpy().tolist()[0] == [0, 3, 4, 978824330]
    assert data.test.item.tolist() == [0, 2]
    assert data.negatives.dtype == np.int64
    assert data.negatives.tolist() == [[5, 2, 4], [4, 2, 1]]  # as published, own item included
    assert (data.n_users, data.n_items) == (2, 6)


def test_ncf_split_errors(tmp_path):
    with pytest.raises(OSError, match=r"ncf-ml-1m.zip .* holds ml-1m\.train\.rating"):
        fetch_ncf_split(data_home=tmp_path)
    with pytest.raises(ValueError, match="Unknown data set 'ml-2m'"):
        fetch_ncf_split("ml-2m")
    (tmp_path / "ncf-ml-1m").mkdir()
    for file, text in NCF_FILES.items():
        (tmp_path / "ncf-ml-1m" / file).write_text(text.replace("(1,2)", "(1,3)"))
    with pytest.raises(OSError, match="does not match the rows"):
        fetch_ncf_split(data_home=tmp_path)


REAL = os.environ.get("SKLEARN_RECSYS_DATA")
real_data = pytest.mark.skipif(
    not REAL, reason="real data: set SKLEARN_RECSYS_DATA to the folder of the MovieLens archives"
)


@real_data
@pytest.mark.parametrize(
    ("name", "n_users", "n_rated", "n_titles", "n_events"),
    [
        ("100k", 943, 1682, 1682, 100_000),
        ("1m", 6040, 3706, 3883, 1_000_209),
        ("latest-small", 610, 9724, 9742, 100_836),
        ("latest-small-2016", 671, 9066, 9125, 100_004),
    ],
)
def test_real_editions(name, n_users, n_rated, n_titles, n_events):
    data = fetch_movielens(name, download_if_missing=False)
    events = data.interactions
    assert len(events) == n_events
    assert events.user.nunique() == n_users
    assert events.item.nunique() == n_rated
    assert len(data.items) == n_titles
    assert events.item.isin(data.items.index).all()
    assert data.items.index.is_unique
    assert data.items.loc[1, "title"] == "Toy Story (1995)"
    assert data.items.year.isna().mean() < 0.002
    assert data.items.year.dropna().between(1900, 2018).all()
    assert (data.items.genres != "").all()
    assert events.rating.between(0.5, 5).all()
    if data.users is not None:
        assert data.users.index.is_unique
        assert set(events.user) == set(data.users.index)
        assert not data.users.isna().any(axis=None)


@real_data
@pytest.mark.parametrize(("fold", "n_test"), [("ua", 9430), ("ub", 9430), ("u1", 20_000)])
def test_real_folds(fold, n_test):
    data = fetch_movielens("100k", fold=fold, download_if_missing=False)
    assert (len(data.train), len(data.test)) == (100_000 - n_test, n_test)
    both = pd.concat([data.train, data.test]).sort_values(["user", "item"], ignore_index=True)
    expected = data.interactions.sort_values(["user", "item"], ignore_index=True)
    pd.testing.assert_frame_equal(both, expected)


@real_data
def test_real_ncf_split():
    data = fetch_ncf_split()
    assert data.train.shape == (994_169, 4)
    assert data.test.shape == (6040, 4)
    assert data.negatives.shape == (6040, 99)
    assert (data.n_users, data.n_items) == (6040, 3706)
    assert data.test.user.tolist() == list(range(6040))
    assert (data.negatives == data.test[["item"]].to_numpy()).sum() == 156
