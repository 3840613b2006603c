"""What reranking gains and costs, on MovieLens-1M."""

import matplotlib.pyplot as plt
from _tables import read

lists = read("rerank")
none = lists.iloc[:1]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
for ax, column, better, kinds in zip(
    axes,
    ["diversity", "calibration error", "largest share of a year"],
    ["more", "less", "less"],
    [["MMR"], ["Calibration"], ["at most", "cap_exposure"]],
    strict=True,
):
    for kind in kinds:
        steps = lists[lists.index.str.startswith(kind) & ~lists.index.str.contains("and")]
        x, y = [[*none[name], *steps[name]] for name in (column, "NDCG@10")]
        label = {"at most": "a cap in each list", "cap_exposure": "a cap over all lists"}
        ax.plot(x, y, "o-", markersize=4, label=label.get(kind, kind))
    ax.plot(none[column], none["NDCG@10"], "o", color="k", label="no reranker")
    ax.set(xlabel=f"{column}: {better} is better")
    if better == "less":
        ax.invert_xaxis()
    ax.legend(fontsize=9, loc="lower left")
    ax.grid(alpha=0.3)
axes[0].set(ylabel="NDCG@10")
