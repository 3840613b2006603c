"""Finding, downloading and reading the archives of the MovieLens data sets."""

from __future__ import annotations

import csv
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

_URL = "https://files.grouplens.org/datasets/movielens/"

EVENT_DTYPES = {
    "user": np.int64,
    "item": np.int64,
    "rating": np.float64,
    "timestamp": np.int64,
}


def find_data_home(data_home):
    """Return the folder of the data as a Path."""
    if data_home is None:
        data_home = os.environ.get("SKLEARN_RECSYS_DATA") or "~/sklearn_recsys_data"
    return Path(data_home).expanduser()


def archive_exists(home, archive, folder):
    """Return whether an archive is at hand, zipped or unpacked."""
    return (home / f"{archive}.zip").is_file() or (home / folder).is_dir()


def missing_message(home, archive, folder, why):
    """Return the message of the error that an archive is missing."""
    return (
        f"Neither {archive}.zip nor a folder {folder} is in {home} ({why}). Put it there, or set "
        "data_home or the environment variable SKLEARN_RECSYS_DATA to the folder that holds it."
    )


def download_archive(home, archive, md5):
    """Download an archive into `home`."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f'Downloading {archive}.zip needs pooch: pip install "sklearn_recsys[data]". Or '
            f"download {_URL}{archive}.zip to {home} yourself."
        ) from error
    try:
        pooch.retrieve(
            url=f"{_URL}{archive}.zip",
            known_hash=None if md5 is None else f"md5:{md5}",
            fname=f"{archive}.zip",
            path=home,
        )
    except OSError as error:
        raise OSError(
            f"{_URL}{archive}.zip cannot be downloaded ({type(error).__name__}). Put the file into "
            f"{home} yourself, or set data_home or the environment variable SKLEARN_RECSYS_DATA to "
            "the folder that holds it; make_movies has synthetic data in the same format."
        ) from error


def open_archive(home, archive, folder):
    """Return a path, inside the archive or on disk, whose children are the data files."""
    path = home / f"{archive}.zip"
    if not path.is_file():
        return home / (folder or archive)
    try:
        return zipfile.Path(zipfile.ZipFile(path)) / folder if folder else zipfile.Path(path)
    except zipfile.BadZipFile as error:
        raise OSError(
            f"{path} is not a zip archive ({error}); delete it and download it again."
        ) from error


def _parse(root, file, parse):
    """Apply `parse` to the bytes of a file; raise OSError if they cannot be parsed."""
    path = root / file
    if not path.is_file():
        raise OSError(f"{root} holds no file {file}; the archive is incomplete.")
    try:
        frame = parse(path.read_bytes())
        if frame.empty:
            raise ValueError("it holds no rows")
        return frame
    except (ValueError, TypeError, zipfile.BadZipFile) as error:
        raise OSError(
            f"{path} is damaged, or not in the format of MovieLens ({error}); delete it "
            "and download it again."
        ) from error


def read_table(root, file, separator, *, names, dtype=None, encoding="latin-1"):
    """Read a file without header or quoting; `names` may be a dict of names to dtypes."""

    def parse(content):
        # pandas parses separators of two characters only with its slow Python engine
        content = content.replace(b"::", b"\t") if separator == "::" else content
        return pd.read_csv(
            io.BytesIO(content),
            sep="\t" if separator == "::" else separator,
            header=None,
            names=names if names is None else list(names),
            index_col=False,
            dtype=names if isinstance(names, dict) else dtype,
            encoding=encoding,
            quoting=csv.QUOTE_NONE,
            na_filter=False,
        )

    return _parse(root, file, parse)


def read_csv(root, file, names):
    """Read the columns `names` of a csv file and rename them."""

    def parse(content):
        frame = pd.read_csv(
            io.BytesIO(content),
            usecols=list(names),
            dtype={old: EVENT_DTYPES[new] for old, new in names.items() if new in EVENT_DTYPES},
            encoding="utf-8",
            na_filter=False,
        )
        return frame[list(names)].rename(columns=names)

    return _parse(root, file, parse)
