"""Matrices in folders of .npy files."""

from __future__ import annotations

import os

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from sklearn_recsys import load_csr, save_csr
from sklearn_recsys.persistence import _csr_folder
from sklearn_recsys.utils._sparse import is_read_only_map

R = sp.random_array((30, 20), density=0.2, format="csr", dtype=np.float32, rng=0)
FILES = ["data.npy", "indices.npy", "indptr.npy", "shape.npy"]


def assert_same(X, expected):
    assert type(X) is sp.csr_array
    assert X.shape == expected.shape
    for name in ("data", "indices", "indptr"):
        assert getattr(X, name).dtype == getattr(expected, name).dtype
        assert_array_equal(getattr(X, name), getattr(expected, name))


@pytest.mark.parametrize(
    "X",
    [
        R,
        R.astype(np.int64),
        sp.csr_array((3, 5)),
        sp.csr_array((0, 4), dtype=np.float32),
        R[:1],
        sp.csr_array(([1.0, 2.0], ([0, 1], [2**31, 5])), shape=(2, 2**31 + 1)),
    ],
)
@pytest.mark.parametrize("mmap_mode", ["r", "c", None])
def test_round_trip(tmp_path, X, mmap_mode):
    save_csr(X, tmp_path / "new" / "folder")
    loaded = load_csr(tmp_path / "new" / "folder", mmap_mode=mmap_mode)
    assert_same(loaded, X)
    if X.nnz:
        assert is_read_only_map(loaded.data) == (mmap_mode == "r")
        assert loaded.data.flags.writeable == (mmap_mode != "r")


def test_other_forms_are_converted(tmp_path):
    rows, columns = [0, 0, 2, 0], [3, 1, 2, 3]
    duplicates = sp.coo_array(([1.0, 2.0, 3.0, 4.0], (rows, columns)), shape=(3, 4))
    for X in (duplicates, sp.csr_matrix(R), R.tocsc(), R[:, ::-1]):
        save_csr(X, tmp_path)
        assert_same(load_csr(tmp_path), sp.csr_array(sp.csr_array(X.toarray()), dtype=X.dtype))
    unsorted = sp.csr_array(([1.0, 2.0], [1, 0], [0, 2]), shape=(1, 2))
    save_csr(unsorted, tmp_path)
    assert_array_equal(unsorted.indices, [1, 0])
    assert_array_equal(load_csr(tmp_path).indices, [0, 1])
    for X in (R.toarray(), sp.coo_array([1, 2])):
        with pytest.raises(TypeError, match="must be a sparse user × item matrix; got"):
            save_csr(X, tmp_path)


def test_many_cells_have_int64_indices(tmp_path, monkeypatch):
    """scipy needs both arrays of indices in one type."""
    monkeypatch.setattr(_csr_folder, "_MAX_INT32", R.nnz - 1)
    monkeypatch.setattr(_csr_folder, "_CELLS", 7)
    save_csr(R, tmp_path)
    X = load_csr(tmp_path)
    assert X.indices.dtype == X.indptr.dtype == np.int64
    assert_array_equal(X.toarray(), R.toarray())
    assert sorted(os.listdir(tmp_path)) == FILES


def test_a_folder_is_replaced_when_the_new_matrix_is_complete(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    save_csr(R, tmp_path)
    former = load_csr(tmp_path)
    with pytest.raises(KeyboardInterrupt), _csr_folder.writing_csr(tmp_path, 9) as append:
        append(R)
        raise KeyboardInterrupt
    assert_same(load_csr(tmp_path), R)
    save_csr(R[:5] * 2, tmp_path)
    assert_same(load_csr(tmp_path), R[:5] * 2)
    assert_same(former, R)  # still mapped
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes.txt"])


def test_a_folder_without_a_complete_matrix_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no complete matrix: data.npy, .* is missing"):
        load_csr(tmp_path)
    save_csr(R, tmp_path)
    with pytest.raises(ValueError, match='mmap_mode must be "r", "c" or None; got'):
        load_csr(tmp_path, mmap_mode="r+")
    indptr = np.load(tmp_path / "indptr.npy")
    for wrong in (indptr[:-1], indptr - 1, indptr[:, None], np.array(3)):
        np.save(tmp_path / "indptr.npy", wrong)
        with pytest.raises(ValueError, match="not of one matrix of 30 rows"):
            load_csr(tmp_path)
    np.save(tmp_path / "indptr.npy", indptr)
    np.save(tmp_path / "shape.npy", np.array([30.0, 20.0]))
    with pytest.raises(ValueError, match="shape.npy' does not hold|shape.npy does not hold"):
        load_csr(tmp_path)
    np.save(tmp_path / "shape.npy", np.array([30, 20]))
    np.save(tmp_path / "data.npy", np.array([{}] * 3), allow_pickle=True)
    with pytest.raises(ValueError, match="[Oo]bject arrays|objects"):
        load_csr(tmp_path)
