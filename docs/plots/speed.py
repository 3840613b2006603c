"""Ratios of times to those of a reference."""

import matplotlib.pyplot as plt
from _tables import read

ratios = read("speed")["ratio"][::-1]
figure, ax = plt.subplots(figsize=(9, 6.6), layout="constrained")
ax.barh(ratios.index, ratios - 1, left=1, color=["C0" if ratio <= 1 else "C1" for ratio in ratios])
for task, ratio in ratios.items():
    ax.annotate(
        f"{ratio:g}",
        (ratio, task),
        xytext=(-4 if ratio < 1 else 4, 0),
        textcoords="offset points",
        ha="right" if ratio < 1 else "left",
        va="center",
        fontsize=9,
    )
ax.axvline(1, color="0.4", linewidth=1)
ax.set(xscale="log", xlim=(0.009, 2.5), xlabel="time, in units of the reference's")
ax.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
ax.margins(y=0.01)
