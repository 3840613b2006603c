"""NDCG@20 of tuned models on Yelp2018."""

import matplotlib.pyplot as plt
from _tables import draw, read

figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
draw(ax, read("rankers")["Yelp2018, NDCG@20"], digits=4, xlabel="NDCG@20")
