"""RMSE on five folds of MovieLens-100K, the lowest first."""

import matplotlib.pyplot as plt
from _tables import read

errors = read("rating_models")["MovieLens-100K, five folds"].dropna().sort_values(ascending=False)
figure, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
ax.plot(errors, errors.index, "o")
for name, error in errors.items():
    text = f"{error:.3f}".removeprefix("0")
    ax.annotate(text, (error, name), (7, 0), textcoords="offset points", va="center", fontsize=9)
ax.set(xlabel="RMSE on five folds of MovieLens-100K: lower is better")
ax.margins(x=0.1, y=0.1)
ax.grid(axis="x", alpha=0.3)
