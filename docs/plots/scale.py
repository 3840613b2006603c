"""CPU seconds and peak memory of fits to large catalogs."""

import matplotlib.pyplot as plt
import pandas as pd
from _tables import FOLDER, draw, plain

table = pd.read_csv(FOLDER / "scale.csv")
table["model"] = table["model"].map(plain).str.partition("(")[0]
figure, axes = plt.subplots(2, 2, figsize=(10, 4), layout="constrained", sharex="col")
for row, (items, models) in zip(axes, table.groupby("items", sort=False), strict=True):
    models = models.set_index("model")
    for ax, column, digits in zip(row, ["CPU seconds", "peak, GiB"], [0, 1], strict=True):
        draw(ax, models[column], digits=digits, best="least", title=f"{items} items")
for ax, label in zip(axes[1], ["CPU seconds of a fit", "peak of the process, GiB"], strict=True):
    ax.set(xlabel=label)
