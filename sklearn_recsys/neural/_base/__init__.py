"""The base classes of neural recommenders: training, new users, rating units, saved weights."""
