"""Sparse rows and pairs as minibatches, sampled negatives, seeded random numbers."""
