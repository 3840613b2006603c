"""Every notebook that the gallery offers runs from its first cell to its last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra `site`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `site`")

GALLERY = Path(os.environ["SITE"]).parents[1] / "auto_examples"
NOTEBOOKS = sorted(
    path.name for path in GALLERY.glob("*.ipynb") if path.stem != "serve"
)  # a service


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name, tmp_path):
    notebook = nbformat.read(GALLERY / name, as_version=4)
    kernel = {"metadata": {"path": str(tmp_path)}}  # nothing is found next to it
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=kernel
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not any("Warning" in output.get("text", "") for output in outputs)
    if "plt.subplots" in (GALLERY / name).read_text(encoding="utf-8"):
        assert any("image/png" in output.get("data", {}) for output in outputs)
