"""NDCG@10 of tuned models for new users on MovieLens-1M."""

import matplotlib.pyplot as plt
from _tables import draw, read

values = read("rankers")["New users, NDCG@10"]
figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
draw(ax, values, xlabel="NDCG@10; standard errors over the folds are at most .006")
