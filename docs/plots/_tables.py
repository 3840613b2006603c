"""What the plots of the results share: the tables of the pages, and dots with their values."""

import re
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).resolve().parents[1] / "user_guide" / "results"


def read(name):
    """Return a table of the results by its first column, of which links become plain names."""
    table = pd.read_csv(FOLDER / f"{name}.csv", index_col=0, thousands=",")
    return table.rename(index=plain, columns=plain)


def plain(cell):
    """Return a cell without markup: the name of a class, the text of another link."""
    cell = re.sub(r":class:`~[\w.]*\.(\w+)`", r"\1", str(cell))
    return re.sub(r":\w+:`([^<`]+) <[^`]*`", r"\1", cell).replace("``", "")


def draw(ax, values, digits=3, best="most", **labels):
    """Draw a bar with its number for each value that there is, the best one at the top."""
    values = values.dropna().sort_values(ascending=best == "most")
    bars = ax.barh(values.index, values, color="C0", height=0.7)
    texts = [f"{value:.{digits}f}".removeprefix("0") for value in values]
    ax.bar_label(bars, labels=texts, padding=4, fontsize=9)
    ax.margins(x=0.2)
    ax.set(**labels)
