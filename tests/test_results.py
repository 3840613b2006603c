"""The overview of the results says what its pages say."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "user_guide" / "results"


def table(name):
    """Return the rows of a table, the names of models without markup."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return {re.sub(r":class:`(?:~[\w.]*\.)?(\w+)[^`]*`", r"\1", row[0]): row[1:] for row in rows}


FITS = {
    name: [accuracy.removeprefix("RMSE "), seconds]
    for name, (seconds, _, _, accuracy) in table("default_fits").items()
}


@pytest.mark.parametrize("name", ["rankers", "rating_models"])
def test_default_fits(name):
    measured = {model: row[:2] for model, row in table(name).items() if row[0]}
    assert len(measured) >= 5
    assert measured == {model: FITS[model] for model in measured}


def test_default_fits_in_the_choice_of_a_model():
    text = (DOCS / "which_model.rst").read_text(encoding="utf-8")
    rows = re.findall(r"\* - :class:`~[\w.]*\.(\w+)`\n +- (\S+)\n +- (\S+)", text)
    measured = {model: figures for model, *figures in rows if figures[0].startswith(".")}
    assert len(measured) >= 15
    assert measured == {model: FITS[model] for model in measured}


def test_figures_of_rankers():
    # a figure is on a line with the model's name, or on the next one
    near = [
        pair
        for path in RESULTS.glob("*.rst")
        for lines in [path.read_text(encoding="utf-8").splitlines()]
        for pair in zip(lines, [*lines[1:], ""], strict=True)
    ]
    for model, (_, _, *figures) in table("rankers").items():
        found = [
            number
            for line, following in near
            if model in line
            for number in re.findall(r"(?<![\d.])\.\d+", line + following)
        ]
        for figure in filter(None, figures[:-1]):
            assert any(
                round(float(number), len(figure) - 1) == float(figure) for number in found
            ), (
                model,
                figure,
            )
