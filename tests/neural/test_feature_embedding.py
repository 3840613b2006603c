"""Embeddings of encoded features and the text-CNN, against loops over slots and windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from sklearn_recsys.neural._nn.features import (  # noqa: E402
    FeatureEmbedding,
    TextCNN,
    common_codes,
)
from sklearn_recsys.preprocessing import FeatureEncoder  # noqa: E402


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def text_cnn(n_codes=12, dropout=0.0, seed=0):
    """Return a text-CNN in double precision in which words 0 and 1, too, stand for something."""
    torch.manual_seed(seed)
    cnn = TextCNN(n_codes, 6, 5, dropout).double().eval()
    for filters in cnn.filters:
        torch.nn.init.normal_(filters.bias, std=0.3)
    return cnn


def texts(n_texts=40, length=9, n_codes=12, seed=0):
    """Return texts of all lengths, from none to `length` words."""
    rng = np.random.RandomState(seed)
    codes = rng.randint(1, n_codes, (n_texts, length))
    return np.where(np.arange(length) < rng.randint(length + 1, size=(n_texts, 1)), codes, 0)


def looped_cnn(cnn, codes):
    """Return the text-CNN's maxima, window by window."""
    words = array(cnn.embedding.weight)
    vectors = []
    for text in codes:
        text = text[text > 0]
        maxima = []
        for window, filters in zip((2, 3, 4, 5), cnn.filters, strict=True):
            weight, bias = array(filters.weight), array(filters.bias)
            weight = weight.reshape(len(weight), window, -1)
            padded = np.vstack([words[text], np.zeros((window - 1, words.shape[1]))])
            for w, b in zip(weight, bias, strict=True):
                values = [np.sum(w * padded[at : at + window]) + b for at in range(len(text))]
                maxima.append(max([0.0, *values]))
        vectors.append(maxima)
    return np.array(vectors)


@pytest.fixture
def frame():
    """Features of all kinds, with something missing in each of the columns."""
    rng = np.random.RandomState(0)
    genres = ["Drama", "Noir", "War", "Comedy"]
    titles = [" ".join(rng.choice(["night", "of", "day", "the"], 3)) + f" {i}" for i in range(30)]
    frame = pd.DataFrame(
        {
            "title": titles,
            "genres": ["|".join(rng.choice(genres, rng.randint(1, 4), False)) for _ in range(30)],
            "country": rng.choice(["US", "FR"], 30),
            "year": rng.normal(1980, 10, 30),
            "length": rng.normal(100, 10, 30),
        }
    )
    frame.loc[[3, 9]] = ["", "", None, np.nan, np.nan]
    return frame


def embedded(encoder, seed=0, **params):
    torch.manual_seed(seed)
    params = {"embedding_dim": 6, "n_filters": 5, "dropout": 0.0, **params}
    return FeatureEmbedding(encoder.slots_, **params).double().eval()


def encoded(encoder, frame):
    return torch.from_numpy(encoder.encode(frame)).double()


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("length", [1, 3, 9])
def test_the_text_cnn_is_a_loop_over_windows(length):
    cnn, codes = text_cnn(), texts(length=length)
    assert_allclose(array(cnn(torch.from_numpy(codes))), looped_cnn(cnn, codes), atol=1e-12)
    assert cnn.width == 20


def test_every_window_looks_at_its_number_of_words():
    """A filter over w words tells texts apart that differ in the first w words, and no others."""
    cnn = text_cnn()
    for filters in cnn.filters:
        torch.nn.init.ones_(filters.weight)  # of words whose vectors are falling numbers:
    with torch.no_grad():
        cnn.embedding.weight[:] = 100.0 - 10 * torch.arange(12.0)[:, None]
        cnn.embedding.weight[0] = 0
    a, b = cnn(torch.tensor([[2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 8, 9]])).detach().view(2, 4, 5)
    assert_array_equal((a == b).all(dim=1), [True, True, True, False])  # the first window is it


def test_padding_changes_nothing():
    cnn, codes = text_cnn(), texts()
    padded = np.hstack([codes, np.zeros((len(codes), 7), dtype=int)])
    got = array(cnn(torch.from_numpy(padded)))
    assert_allclose(got, array(cnn(torch.from_numpy(codes))), atol=1e-12)


def test_the_order_of_words_counts():
    cnn = text_cnn()
    forth, back = cnn(torch.tensor([[2, 3, 4, 0], [4, 3, 2, 0]])).detach()
    assert (forth - back).abs().max() > 1e-2


def test_an_empty_text_is_zeros():
    empty = array(text_cnn()(torch.zeros(2, 7, dtype=torch.int64)))
    assert_array_equal(empty, np.zeros((2, 20)))


def test_dropout_leaves_maxima_out_in_training_only():
    cnn, codes = text_cnn(dropout=0.4), torch.from_numpy(texts(200))
    whole = array(cnn(codes))
    dropped = array(cnn.train()(codes))
    kept = dropped != 0
    assert_allclose(dropped[kept], whole[kept] / 0.6)
    assert 0.55 < kept[whole > 0].mean() < 0.65
    assert_array_equal(array(cnn.eval()(codes)), whole)


def test_words_and_filters_learn():
    """The word that a text is about is told from the others, wherever it stands."""
    torch.manual_seed(0)
    codes = torch.from_numpy(texts(300, seed=1))
    y = (codes == 5).any(dim=1).float()
    cnn, head = TextCNN(12, 6, 5, 0.0), torch.nn.Linear(20, 1)
    optimizer = torch.optim.Adam([*cnn.parameters(), *head.parameters()], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        outputs = head(cnn(codes[:200])).squeeze(1)
        torch.nn.functional.binary_cross_entropy_with_logits(outputs, y[:200]).backward()
        optimizer.step()
    right = ((head(cnn(codes[200:])).squeeze(1) > 0) == y[200:].bool()).float().mean()
    assert right > 0.95 > y[200:].mean()
    assert not cnn.embedding.weight[0].detach().any(), "the blank has learned something"
    assert cnn.embedding.weight[1].detach().any(), "unknown words occur, but have learned nothing"


# ---------------------------------------------------------------- all kinds


def test_an_embedding_is_its_parts_in_the_order_of_the_slots(frame):
    encoder = FeatureEncoder(max_length=6, min_count=2).fit(frame)
    module, codes = embedded(encoder), encoded(encoder, frame)
    got, values = array(module(codes)), array(codes)
    assert {slot[1] for slot in encoder.slots_} == {"number", "text", "tags", "category"}
    expected = []
    for row in values:
        parts = []
        for (_, kind, start, stop, n_codes), part in zip(encoder.slots_, module.parts, strict=True):
            columns = row[start:stop]
            if kind == "number":
                parts.append(columns)
            elif kind == "text":
                parts.append(looped_cnn(part, columns[None].astype(int))[0])
            else:
                weight = array(part.weight)
                assert weight.shape == (n_codes, 6)
                parts.append(sum(weight[int(code)] for code in columns))
        expected.append(np.concatenate(parts))
    assert got.shape == (30, module.width) == (30, 2 + 20 + 6 + 6)
    assert_allclose(got, expected, atol=1e-12)


def test_tags_are_a_set():
    """A sum over an EmbeddingBag, whatever their order; a set of one is a category."""
    frame = pd.DataFrame({"genres": ["a|b|c", "c|a|b", "b", "", "b|c"]})
    encoder = FeatureEncoder().fit(frame)
    module = embedded(encoder)
    abc, cab, b, none, bc = array(module(encoded(encoder, frame)))
    weight = module.parts[0].weight
    bag = torch.nn.functional.embedding_bag(torch.tensor([[2, 3, 4]]), weight, mode="sum")
    assert_allclose(abc, array(bag)[0])
    assert_allclose(abc, cab)
    assert_allclose(abc - bc, array(weight)[2])
    assert_array_equal(none, np.zeros(6))
    kinds = FeatureEncoder({"genres": "category"}).fit(frame[2:4])
    assert_array_equal(array(embedded(kinds)(encoded(kinds, frame[2:4])))[1], np.zeros(6))
    assert np.abs(b).max() > 0.1


def test_nothing_is_zero_for_ever_and_unknown_to_start_with(frame):
    encoder = FeatureEncoder().fit(frame)
    module = embedded(encoder)
    new = pd.DataFrame(
        {"title": ["quite other"], "genres": ["x|y"], "country": ["DE"], "year": [np.nan]}
    ).assign(length=np.nan)
    codes = encoded(encoder, new)
    parts = array(module(codes))[0]
    assert_array_equal(parts[[0, 1]], 0)  # the mean
    assert_array_equal(parts[-12:], 0)
    empty = encoded(encoder, frame.iloc[[3]])
    assert_array_equal(array(module(empty))[0, 2:22], 0)
    module(torch.cat([codes, empty])).square().sum().backward()
    for part in module.parts[2:]:
        weight = part.embedding.weight if isinstance(part, TextCNN) else part.weight
        assert not weight.detach()[:2].any() and weight.detach()[2:].all()
        assert not weight.grad[0].any()
    torch.nn.init.ones_(module.parts[-1].weight)
    module(codes)[:, -6:].sum().backward()
    assert_allclose(module.parts[-1].weight.grad[:3, 0], [0, 1, 0])  # what is unknown can learn


def test_rows_stand_alone(frame):
    encoder = FeatureEncoder(max_length=5).fit(frame)
    module, codes = embedded(encoder), encoded(encoder, frame)
    together = array(module(codes))
    one_by_one = np.vstack([array(module(codes[[row]])) for row in range(30)])
    assert_allclose(one_by_one, together, atol=1e-12)
    assert module(codes[:0]).shape == (0, module.width)


def test_keep_forgets_what_no_row_has(frame):
    encoder = FeatureEncoder().fit(frame)
    module, codes = embedded(encoder), encoded(encoder, frame)
    before = array(module(codes[:10]))
    others = array(module(codes[10:]))
    module.zero_unseen(codes[:10].float())
    assert_allclose(array(module(codes[:10])), before)
    assert np.abs(array(module(codes[10:])) - others).max() > 0.01
    known = set(" ".join(frame["title"][:10]).split())
    words = encoder.vocabularies_["title"].tolist()
    weights = module.parts[2].embedding.weight.detach()[2:]
    for word, vector in zip(words, weights, strict=True):
        assert bool(vector.any()) == (word in known), word


@pytest.mark.parametrize("min_count", [0, 1, 2, 4, 100])
def test_codes_of_few_rows_are_unknown_among_the_common_ones(frame, min_count):
    """Counted in loops: a row counts once, however often it has a word."""
    frame = frame.assign(title=frame["title"] + " " + frame["title"])
    encoder = FeatureEncoder().fit(frame)
    codes = torch.from_numpy(encoder.encode(frame))
    before = codes.clone()
    common = common_codes(codes, encoder.slots_, min_count)
    assert torch.equal(codes, before)
    expected = before.numpy().copy()
    for _, kind, start, stop, n_codes in encoder.slots_:
        for code in range(2, n_codes if kind != "number" else 2):
            n_rows = (before.numpy()[:, start:stop] == code).any(axis=1).sum()
            if n_rows < min_count:
                part = expected[:, start:stop]
                part[part == code] = 1
    assert_array_equal(common, expected)
    if min_count == 4:
        assert (common != before).any()


def test_numbers_alone():
    X = np.random.RandomState(0).randn(8, 3)
    encoder = FeatureEncoder().fit(X)
    module = embedded(encoder)
    assert_allclose(array(module(encoded(encoder, X))), encoder.encode(X))
    assert not list(module.parameters())
    assert module.width == 3
