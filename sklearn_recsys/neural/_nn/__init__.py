"""Layers, losses and modules that several models share."""
