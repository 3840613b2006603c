"""Vectors of encoded features: embeddings of categories and tags, a text-CNN, raw numbers.

Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

from sklearn_recsys.neural._data.random import dropout

_WINDOWS = (2, 3, 4, 5)  # words
_EMPTY, _UNKNOWN = 0, 1  # codes of FeatureEncoder


class TextCNN(nn.Module):
    """A text-CNN: filters over windows of words, and their maxima over the text.

    A window begins at each word; beyond the end of the text it reads zeros. A text without words
    gets zeros.

    Parameters
    ----------
    n_codes : int
        Number of words, including the codes for padding and for unknown words.
    embedding_dim : int
        Width of the words' vectors.
    n_filters : int
        Filters for each length of window, which are 2, 3, 4 and 5 words.
    dropout : float
        Share of the maxima dropped while training.
    """

    def __init__(self, n_codes, embedding_dim, n_filters, dropout):
        super().__init__()
        self.dropout = dropout
        self.embedding = _embedding(n_codes, embedding_dim)
        self.filters = nn.ModuleList(
            nn.Linear(window * embedding_dim, n_filters) for window in _WINDOWS
        )
        self.width = n_filters * len(_WINDOWS)

    def forward(self, codes):
        """Return the maxima of the filters over texts, of shape (n_texts, width)."""
        n_texts, length = codes.shape
        is_word = codes != _EMPTY
        windows = pad(codes, (0, _WINDOWS[-1] - 1)).unfold(1, _WINDOWS[-1], 1)
        words = self.embedding(windows[is_word]).flatten(1)  # (n_words, 5 * embedding_dim)
        outputs = [filters(words[:, : filters.in_features]) for filters in self.filters]
        outputs = torch.cat(outputs, dim=1)
        padded = outputs.new_full((n_texts * length, self.width), -torch.inf)
        padded = padded.index_copy(0, is_word.flatten().nonzero().squeeze(1), outputs)
        maxima = padded.view(n_texts, length, self.width).amax(dim=1).relu()
        return dropout(maxima, self.dropout, self.training)


class FeatureEmbedding(nn.Module):
    """Vectors of rows that a FeatureEncoder has encoded.

    Parameters
    ----------
    slots : list of tuple
        `FeatureEncoder.slots_`, which describes the columns.
    embedding_dim : int
        Width of the vectors of categories, tags and words.
    n_filters : int
        Filters of each window of a text-CNN.
    dropout : float
        Dropout of a text-CNN.
    """

    def __init__(self, slots, embedding_dim, n_filters, dropout):
        super().__init__()
        self.slots = slots
        self.width = 0
        self.parts = nn.ModuleList()
        for _, kind, start, stop, n_codes in slots:
            if kind == "number":
                part, width = nn.Identity(), stop - start
            elif kind == "text":
                part = TextCNN(n_codes, embedding_dim, n_filters, dropout)
                width = part.width
            else:
                part, width = _embedding(n_codes, embedding_dim), embedding_dim
            self.parts.append(part)
            self.width += width

    def zero_unseen(self, features):
        """Set the vectors of codes that no row of `features` has to zero: they stay untrained."""
        for (_, kind, start, stop, n_codes), part in zip(self.slots, self.parts, strict=True):
            if kind == "number":
                continue
            unseen = torch.ones(n_codes, dtype=torch.bool, device=features.device)
            unseen[features[:, start:stop].long()] = False
            with torch.no_grad():
                (part.embedding if kind == "text" else part).weight[unseen] = 0

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


def common_codes(features, slots, min_count):
    """Return encoded rows, with the codes of fewer than `min_count` rows replaced by unknown."""
    features = features.clone()
    for _, kind, start, stop, n_codes in slots:
        if kind == "number":
            continue
        codes = features[:, start:stop]
        ordered = codes.long().sort(dim=1).values
        repeated = torch.zeros_like(ordered, dtype=torch.bool)
        repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]  # a word counts once per text
        counts = ordered[~repeated].bincount(minlength=n_codes)
        rare = (counts < min_count)[codes.long()] & (codes > _UNKNOWN)
        codes[rare] = _UNKNOWN
    return features


def _embedding(n_codes, width):
    """Return an embedding whose padding and unknown rows start at zero."""
    embedding = nn.Embedding(n_codes, width, padding_idx=_EMPTY)
    with torch.no_grad():
        embedding.weight.normal_(std=width**-0.5)
        embedding.weight[: _UNKNOWN + 1] = 0
    return embedding
