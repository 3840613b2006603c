"""Encoded features to vectors: embeddings of categories and tags, a text-CNN, numbers as they are.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import dropout, pad

_WINDOWS = (2, 3, 4, 5)  # words
_EMPTY, _UNKNOWN = 0, 1  # codes of FeatureEncoder


class TextCNN(nn.Module):
    """A text-CNN: filters over windows of words, and their maxima over the text.

    Parameters
    ----------
    n_codes : int
        Words, with the two codes of no word and of an unknown one.
    n_embedding : int
        Width of the words' vectors.
    n_filters : int
        Filters for each length of window, which are 2, 3, 4 and 5 words.
    dropout : float
        Share of the maxima that are left out while training.
    """

    def __init__(self, n_codes, n_embedding, n_filters, dropout):
        super().__init__()
        self.dropout = dropout
        self.embedding = _embedding(n_codes, n_embedding)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(n_embedding, n_filters, window) for window in _WINDOWS
        )
        self.width = n_filters * len(_WINDOWS)

    def forward(self, codes):
        """Return the maxima of the filters over texts, of shape (n_texts, width)."""
        words = self.embedding(codes).mT  # (n_texts, n_embedding, length)
        maxima = [
            convolution(pad(words, (0, window - 1))).amax(dim=2).relu()
            for window, convolution in zip(_WINDOWS, self.convolutions, strict=True)
        ]
        return dropout(torch.cat(maxima, dim=1), self.dropout, self.training)


class FeatureEmbedding(nn.Module):
    """Rows that a FeatureEncoder has encoded, to vectors.

    Parameters
    ----------
    slots : list of tuple
        `FeatureEncoder.slots_`, which says what the columns are.
    n_embedding : int
        Width of the vectors of categories, tags and words.
    n_filters : int
        Filters of each window of a text-CNN.
    dropout : float
        Of a text-CNN.
    """

    def __init__(self, slots, n_embedding, n_filters, dropout):
        super().__init__()
        self.slots = slots
        self.width = 0
        self.parts = nn.ModuleList()
        for _, kind, start, stop, n_codes in slots:
            if kind == "number":
                part, width = nn.Identity(), stop - start
            elif kind == "text":
                part = TextCNN(n_codes, n_embedding, n_filters, dropout)
                width = part.width
            else:
                part, width = _embedding(n_codes, n_embedding), n_embedding
            self.parts.append(part)
            self.width += width

    def forward(self, features):
        """Return the vectors of encoded rows, of shape (n_rows, width)."""
        vectors = []
        for (_, kind, start, stop, _), part in zip(self.slots, self.parts, strict=True):
            columns = features[:, start:stop]
            if kind == "number":
                vectors.append(columns)
            elif kind == "text":
                vectors.append(part(columns.long()))
            else:  # a category is a set of one
                vectors.append(part(columns.long()).sum(dim=1))
        return torch.cat(vectors, dim=1)


def _embedding(n_codes, width):
    """Return an embedding in which nothing, and what is unknown, are zeros to start with."""
    embedding = nn.Embedding(n_codes, width, padding_idx=_EMPTY)
    with torch.no_grad():
        embedding.weight.normal_(std=width**-0.5)
        embedding.weight[: _UNKNOWN + 1] = 0
    return embedding
