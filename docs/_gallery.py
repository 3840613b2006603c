"""The order of the gallery: a first visit, then by subject, rerankers and the service last."""

STORY = [
    "plot_quickstart.py",
    "plot_raw_ids.py",
    "plot_linear_models.py",
    "plot_compare.py",
    "plot_new_users.py",
    "plot_ncf.py",
    "plot_svae.py",
    "plot_autorec.py",
    "plot_deep_autoencoder.py",
    "plot_two_tower.py",
    "plot_reranking.py",
    "plot_default_fits.py",
    "serve.py",
]


def order(filename):
    """Return the place of an example in the story; one without a place comes last."""
    return STORY.index(filename) if filename in STORY else len(STORY)
