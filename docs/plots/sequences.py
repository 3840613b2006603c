"""NDCG@10 of the next item, on two data sets."""

import matplotlib.pyplot as plt
from _tables import draw, read

table = read("sequences")
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
draw(axes[0], table["NDCG@10"], title="Amazon Beauty", xlabel="NDCG@10")
draw(axes[1], table["NDCG@10.1"], title="MovieLens-1M", xlabel="NDCG@10")
