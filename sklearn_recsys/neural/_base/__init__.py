"""What neural recommenders have in common: training, histories, rating units, saved weights."""
