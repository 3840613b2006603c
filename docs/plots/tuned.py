"""Accuracy of tuned models: new users, short histories, the next item."""

import matplotlib.pyplot as plt
from _tables import draw, read

rankers = read("rankers")
figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), layout="constrained")
values = rankers["New users, NDCG@10"]
draw(axes[0], values, title="New users", xlabel="NDCG@10, MovieLens-1M")
values = rankers["Yelp2018, NDCG@20"]
draw(axes[1], values, title="Short histories", xlabel="NDCG@20, Yelp2018")
values = read("sequences")["MovieLens-1M, recall@10"]
values = values[~values.index.str.contains("published")]
draw(axes[2], values, title="The next item", xlabel="recall@10, MovieLens-1M")
