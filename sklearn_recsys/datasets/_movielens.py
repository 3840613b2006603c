"""Loaders of the MovieLens data sets, from the archives that GroupLens publishes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from sklearn_recsys.datasets._archives import (
    EVENT_DTYPES,
    archive_exists,
    download_archive,
    find_data_home,
    missing_message,
    open_archive,
    read_csv,
    read_table,
)
from sklearn_recsys.utils._suggest import did_you_mean

# name: (archive without .zip, folder inside it, file format, MD5 published with the archive)
_EDITIONS = {
    "100k": ("ml-100k", "ml-100k", "u", "0e33842e24a9c977be4e0107933c0723"),
    "1m": ("ml-1m", "ml-1m", "dat", "c4d9eecfca2ab87c1945afe126590906"),
    "10m": ("ml-10m", "ml-10M100K", "dat", "ce571fd55effeba0271552578f2648bd"),
    "20m": ("ml-20m", "ml-20m", "csv", "cd245b17a1ae2cc31bb14903e1204af3"),
    "25m": ("ml-25m", "ml-25m", "csv", "6b51fb2759a8657d3bfcbfc42b592ada"),
    "32m": ("ml-32m", "ml-32m", "csv", "d472be332d4daa821edc399621853b57"),
    "latest-small": ("ml-latest-small", "ml-latest-small", "csv", None),
    "latest-small-2016": ("ml-latest-small-2016", "ml-latest-small-2016", "csv", None),
}
_NOT_DOWNLOADABLE = {"latest-small-2016"}
_FOLDS = ("ua", "ub", "u1", "u2", "u3", "u4", "u5")


# Codes in users.dat, from the README of ml-1m.
_OCCUPATIONS = dict(
    enumerate(
        "other;academic/educator;artist;clerical/admin;college/grad student;customer service;"
        "doctor/health care;executive/managerial;farmer;homemaker;K-12 student;lawyer;programmer;"
        "retired;sales/marketing;scientist;self-employed;technician/engineer;tradesman/craftsman;"
        "unemployed;writer".split(";")
    )
)

_DESCR = """\
MovieLens {name}
================

Ratings of movies by users of MovieLens, collected by GroupLens Research at the University of
Minnesota: {n_events} events, {n_users} users, {n_items} rated items.

- interactions: user, item (raw ids), rating, timestamp (seconds since 1970 UTC), in file order.
- items: title, year, genres (joined by "|"), indexed by raw item id ({n_titles} of them).
- users: {users}.

License: for research. The data may not be redistributed, nor used commercially, without
permission from GroupLens; publications that use it must cite it. The README in the archive has
the full text.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM
Transactions on Interactive Intelligent Systems 5, 4, Article 19. https://doi.org/10.1145/2827872
"""


class _Dataset(Bunch):
    """A Bunch whose attribute `items` is the frame of the items instead of the dict method."""

    # for type checkers
    interactions: pd.DataFrame
    users: Any  # a frame, or None
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def items(self) -> pd.DataFrame:
        return self["items"]

    def __reduce__(self):  # the inherited way to pickle or copy a dict calls items()
        return type(self), (), None, None, iter(dict.items(self))


def fetch_movielens(name, *, data_home=None, download_if_missing=True, fold=None) -> _Dataset:
    """Load a MovieLens data set; download it first if necessary.

    Parameters
    ----------
    name : {"100k", "1m", "10m", "20m", "25m", "32m", "latest-small", "latest-small-2016"}
        The edition. "latest-small" is whatever the archive currently contains, so far the edition
        of 2018; "latest-small-2016" is no longer published and can only be read from `data_home`.
    data_home : path-like, default=None
        The folder that holds the archive (``ml-100k.zip``) or the unpacked folder (``ml-100k``).
        None: the environment variable ``SKLEARN_RECSYS_DATA``, else ``~/sklearn_recsys_data``.
    download_if_missing : bool, default=True
        Whether to download a missing archive from GroupLens into `data_home`, which needs pooch.
    fold : {"ua", "ub", "u1", "u2", "u3", "u4", "u5"}, default=None
        A published split of "100k" to read as well: 10 ratings per user held out ("ua", "ub"), or
        one fifth of all ratings ("u1" … "u5").

    Returns
    -------
    data : Bunch
        With the attributes

        - ``interactions`` : DataFrame with the columns user, item (raw ids, int64), rating
          (float64) and timestamp (int64, seconds since 1970 UTC), in file order;
        - ``items`` : DataFrame indexed by raw item id with the columns title (with the year, as
          published), year (Int64, missing if the title has none) and genres (joined by "|");
        - ``users`` : DataFrame indexed by raw user id with the columns age, gender, occupation
          and zip for "100k" and "1m" (where the age is the lower end of a range, 1 for under 18),
          else None;
        - ``train``, ``test`` : DataFrames like ``interactions``, only with `fold`;
        - ``name`` : str; ``DESCR`` : str, with license and citation.

    Raises
    ------
    OSError
        If the data is missing and cannot be downloaded, or cannot be read.
    ImportError
        If the data must be downloaded and pooch is not installed.

    See Also
    --------
    fetch_ncf_split : MovieLens-1M as He et al. (2017) split it.
    make_movies : Synthetic data in the same format.

    Notes
    -----
    The license forbids redistribution and commercial use of the data.

    References
    ----------
    .. [1] F. M. Harper, J. A. Konstan, "The MovieLens Datasets: History and Context", ACM
       Transactions on Interactive Intelligent Systems 5(4), 2015.

    Examples
    --------
    >>> from sklearn_recsys.datasets import fetch_movielens
    >>> data = fetch_movielens("100k")  # doctest: +SKIP
    >>> data.items["title"].head(2).tolist()  # doctest: +SKIP
    ['Toy Story (1995)', 'GoldenEye (1995)']
    """
    if name not in _EDITIONS:
        meant = did_you_mean(str(name).removeprefix("ml-"), _EDITIONS)
        raise ValueError(
            f"Unknown edition {name!r} of MovieLens; use one of {list(_EDITIONS)}.{meant}"
        )
    if fold is not None and name != "100k":
        raise ValueError(f'Only "100k" comes with published folds; got fold={fold!r} for {name!r}.')
    if fold is not None and fold not in _FOLDS:
        meant = did_you_mean(fold, _FOLDS)
        raise ValueError(f"Unknown fold {fold!r}; use one of {list(_FOLDS)}.{meant}")

    archive, folder, form, md5 = _EDITIONS[name]
    home = find_data_home(data_home)
    if not archive_exists(home, archive, folder):
        if name in _NOT_DOWNLOADABLE or not download_if_missing:
            why = (
                "it is no longer published"
                if name in _NOT_DOWNLOADABLE
                else "download_if_missing is False"
            )
            raise OSError(missing_message(home, archive, folder, why))
        download_archive(home, archive, md5)
    root = open_archive(home, archive, folder)

    data = _Dataset(name=name, users=None)
    if form == "u":
        data.interactions = read_table(root, "u.data", "\t", names=EVENT_DTYPES)
        data["items"] = _read_u_items(root)
        names = ["user", "age", "gender", "occupation", "zip"]
        data.users = read_table(root, "u.user", "|", names=names, dtype={"zip": str})
    elif form == "dat":
        # 1m was published before MovieLens switched to UTF-8
        encoding = "latin-1" if name == "1m" else "utf-8"
        data.interactions = read_table(root, "ratings.dat", "::", names=EVENT_DTYPES)
        names = ["item", "title", "genres"]
        data["items"] = read_table(root, "movies.dat", "::", names=names, encoding=encoding)
        if name == "1m":
            names = ["user", "gender", "age", "occupation", "zip"]
            users = read_table(root, "users.dat", "::", names=names, dtype={"zip": str})
            users["occupation"] = users["occupation"].map(_OCCUPATIONS)
            data.users = users[["user", "age", "gender", "occupation", "zip"]]
    else:
        names = dict(zip(["userId", "movieId", "rating", "timestamp"], EVENT_DTYPES, strict=True))
        data.interactions = read_csv(root, "ratings.csv", names)
        names = {"movieId": "item", "title": "title", "genres": "genres"}
        data["items"] = read_csv(root, "movies.csv", names)

    data["items"] = _with_year(data["items"]).set_index("item")
    if data.users is not None:
        data.users = data.users.set_index("user")
    if fold is not None:
        data.train = read_table(root, f"{fold}.base", "\t", names=EVENT_DTYPES)
        data.test = read_table(root, f"{fold}.test", "\t", names=EVENT_DTYPES)
    data.DESCR = _DESCR.format(
        name=name,
        n_events=len(data.interactions),
        n_users=data.interactions["user"].nunique(),
        n_items=data.interactions["item"].nunique(),
        n_titles=len(data["items"]),
        users="none in this edition" if data.users is None else ", ".join(data.users.columns),
    )
    return data


def fetch_ncf_split(name="ml-1m", data_home=None) -> Bunch:
    """Load the leave-one-out split with 99 sampled negatives of He et al. (2017).

    Parameters
    ----------
    name : {"ml-1m"}, default="ml-1m"
        The data set.
    data_home : path-like, default=None
        The folder that holds ``ncf-ml-1m.zip`` or an unpacked folder ``ncf-ml-1m`` with the files
        ``ml-1m.train.rating``, ``ml-1m.test.rating`` and ``ml-1m.test.negative``. None: the
        environment variable ``SKLEARN_RECSYS_DATA``, else ``~/sklearn_recsys_data``.

    Returns
    -------
    data : Bunch
        With the attributes

        - ``train`` : DataFrame with the columns user, item (0-based ids, int64), rating (float64)
          and timestamp (int64);
        - ``test`` : DataFrame with the same columns, the last event of each user;
        - ``negatives`` : ndarray of int64 of shape (n_users, 99), the items that each held-out item
          is ranked against, in the order of ``test``; as published, a few are the held-out item;
        - ``n_users``, ``n_items`` : int;
        - ``name`` : str; ``DESCR`` : str.

    Raises
    ------
    OSError
        If the files are missing; they cannot be downloaded.

    See Also
    --------
    fetch_movielens : The data sets themselves.
    sklearn_recsys.model_selection.sample_negatives : Samples such negatives for any data.

    References
    ----------
    .. [1] X. He, L. Liao, H. Zhang, L. Nie, X. Hu, T.-S. Chua, "Neural Collaborative Filtering",
       WWW 2017.

    Examples
    --------
    >>> from sklearn_recsys.datasets import fetch_ncf_split
    >>> data = fetch_ncf_split()  # doctest: +SKIP
    >>> data.negatives.shape  # doctest: +SKIP
    (6040, 99)
    """
    if name != "ml-1m":
        raise ValueError(f"Unknown data set {name!r}; the only one is 'ml-1m'.")
    home = find_data_home(data_home)
    archive = f"ncf-{name}"
    if not archive_exists(home, archive, archive):
        why = (
            f"it cannot be downloaded; it holds {name}.train.rating, {name}.test.rating and "
            f"{name}.test.negative"
        )
        raise OSError(missing_message(home, archive, archive, why))
    root = open_archive(home, archive, "")
    if not (root / f"{name}.train.rating").is_file() and (root / archive).is_dir():
        root = root / archive
    train = read_table(root, f"{name}.train.rating", "\t", names=EVENT_DTYPES)
    test = read_table(root, f"{name}.test.rating", "\t", names=EVENT_DTYPES)
    lines = read_table(root, f"{name}.test.negative", "\t", names=None)
    held_out = "(" + test["user"].astype(str) + "," + test["item"].astype(str) + ")"
    if len(lines) != len(test) or not (lines[0].to_numpy() == held_out.to_numpy()).all():
        raise OSError(f"{name}.test.negative does not match the rows of {name}.test.rating.")
    negatives = lines.iloc[:, 1:].to_numpy(dtype=np.int64)
    return Bunch(
        train=train,
        test=test,
        negatives=negatives,
        n_users=int(max(train["user"].max(), test["user"].max())) + 1,
        n_items=int(max(train["item"].max(), test["item"].max(), negatives.max())) + 1,
        name=name,
        DESCR=(
            f"{name} as split by He et al. (2017), Neural Collaborative Filtering, WWW: the last "
            f"event of each user is held out and ranked against 99 sampled items.\n"
            f"{len(train)} training events, {len(test)} held-out events.\n"
            "Derived from MovieLens: the license of fetch_movielens applies."
        ),
    )


def _read_u_items(root):
    """Read u.item, whose genre flags are named in u.genre."""
    genres = read_table(root, "u.genre", "|", names=["genre", "code"])
    genres = genres.sort_values("code")["genre"].tolist()
    names = ["item", "title", "released", "video_released", "url", *genres]
    items = read_table(root, "u.item", "|", names=names)
    flags = items[genres].to_numpy() == 1
    joined = np.full(len(items), "", dtype=object)
    for genre, flag in zip(genres, flags.T, strict=True):
        joined[flag] += np.where(joined[flag] == "", genre, "|" + genre).astype(object)
    return items[["item", "title"]].assign(genres=joined)


def _with_year(items):
    """Return item, title, year and genres; the year is the last one in parentheses in the title."""
    title = items["title"].str.strip()
    year = title.str.extract(r".*\((\d{4})(?:[-–]\d*)?\)", expand=False)
    year = pd.to_numeric(year).astype("Int64")
    return pd.DataFrame(
        {"item": items["item"], "title": title, "year": year, "genres": items["genres"]}
    )
