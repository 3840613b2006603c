"""Accuracy against CPU seconds of the default fits on MovieLens-1M, from their table.

Sphinx runs it in its own folder.
"""

import matplotlib.pyplot as plt
import pandas as pd

LEFT_FROM = 20  # seconds: labels of slower models are to the left of their points, but for these
RIGHT = ["AutoRec", "EmbeddingNet", "MultDAE", "SimpleX", "TwoTower"]

fits = pd.read_csv("../user_guide/results/default_fits.csv", index_col="model")
fits = fits[~fits.index.str.contains(",")]  # neither former defaults nor other test items
rates = fits["accuracy"].str.contains("RMSE")
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, rows, title in [
    (axes[0], ~rates, "NDCG@10 of rankers: higher is better"),
    (axes[1], rates, "RMSE of rating models: lower is better"),
]:
    seconds = fits.loc[rows, "CPU seconds"]
    accuracy = fits.loc[rows, "accuracy"].str.removeprefix("RMSE ").astype(float)
    ax.scatter(seconds, accuracy, color="C0")
    for name in seconds.index:
        left = seconds[name] > LEFT_FROM and name not in RIGHT
        ax.annotate(
            name,
            (seconds[name], accuracy[name]),
            xytext=(-6 if left else 6, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=9,
        )
    ax.set(xscale="log", title=title, xlabel="CPU seconds of one thread")
    ax.set_xlim(seconds.min() / 2, seconds.max() * 6)
    ax.grid(alpha=0.3)
