"""N-grams: the frequent ones have an embedding each, and an entry gets those in which it stands."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from charrnn.network.config import NGRAM_REACH, ngrams_fit
from charrnn.network.ngrams import NGrams, NGramsAround, NGramsBefore, code, entries_of

V = 10  # entries, so that 10 is what stands outside
SOURCES = [np.array(source) for source in [*9 * [[0, 3, 4, 5, 0]], [0, 3, 4, 0], [0, 3, 4, 0], [0, 0], [0]]]
TEXT = np.random.default_rng(0).integers(0, 4, 300)


def around(source: list[int], length: int) -> list[tuple[int, ...]]:
    """The n-gram around each entry: one more before than after where they can't be as many."""
    wide = [V] * (length // 2) + source + [V] * ((length - 1) // 2)
    return [tuple(wide[i : i + length]) for i in range(len(source))]


def before(text: list[int], length: int) -> list[tuple[int, ...]]:
    """The n-gram that ends with each entry."""
    wide = [V] * (length - 1) + text
    return [tuple(wide[i : i + length]) for i in range(len(text))]


def filled(table: NGrams, codes: torch.Tensor) -> NGrams:
    assert not table.embedding.weight.any()  # in the beginning they say nothing
    table.codes.copy_(codes)
    with torch.no_grad():
        table.embedding.weight[1:].normal_()
    return table.eval()


def expected(table: NGrams, text: list[int], ngrams: Callable[[list[int], int], list[tuple[int, ...]]]) -> torch.Tensor:
    """By definition: the row of each n-gram, one length beside the other, and zeros up to the width."""
    place = {each: i for i, each in enumerate(table.codes.tolist(), 1)}
    rows = torch.tensor([[place.get(code(each, V), 0) for each in ngrams(text, n)] for n in table.lengths])
    parts = table.embedding.weight[rows].permute(1, 0, 2).flatten(1)
    return torch.cat([parts, torch.zeros(len(text), table.width - parts.shape[1])], dim=1)


@given(st.lists(st.integers(0, V), min_size=1, max_size=5), st.lists(st.integers(0, V), min_size=1, max_size=5))
def test_codes_tell_all_ngrams_apart(a: list[int], b: list[int]) -> None:
    assert (code(a, V) == code(b, V)) == (a == b)
    assert entries_of(np.array([code(a, V)]), V)[0].tolist() == [-1] * (5 - len(a)) + a


def test_codes_that_would_not_fit_are_left_out() -> None:
    large = 1 << 15  # five of them would take 75 bits
    assert [ngrams_fit(length, large) for length in (2, 3, 4, 5)] == [True, True, True, False]
    ids = np.tile(np.array([5, 9, large - 1, 7, 8]), 20)
    codes = NGramsBefore.frequent(ids, large, 1000)
    assert len(codes) == 3 * 5
    assert (codes > 0).all()
    table = NGramsBefore(len(codes), 8, large)
    table.codes.copy_(codes)
    with torch.no_grad():
        table.embedding.weight[1:] = 1
    given = torch.from_numpy(ids[:30, None])
    embedded, _ = table(given, table.initial_state(1))
    assert embedded[10, 0].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]


def test_those_that_occur_often_in_texts_are_found() -> None:
    counts = Counter(each for n in NGramsAround.lengths for source in SOURCES for each in around(source.tolist(), n))
    often = {code(each, V) for each, count in counts.items() if count >= NGramsAround.least_count}
    assert NGramsAround.frequent(SOURCES, V, 1000).tolist() == sorted(often)
    assert 0 < len(often) < len(counts)
    commonest = {code(each, V) for each, count in counts.items() if count >= 12}
    assert set(NGramsAround.frequent(SOURCES, V, len(commonest)).tolist()) == commonest


def test_those_that_occur_often_in_one_text_are_found() -> None:
    counts = Counter(each for n in NGramsBefore.lengths for each in before(TEXT.tolist(), n)[n - 1 :])
    often = {code(each, V) for each, count in counts.items() if count >= NGramsBefore.least_count}
    assert NGramsBefore.frequent(TEXT.astype(np.uint8), V, 10000).tolist() == sorted(often)
    assert {len(each) for each, count in counts.items() if count >= NGramsBefore.least_count} >= {2, 3}
    assert NGramsBefore.frequent(TEXT[:1], V, 1000).numel() == NGramsBefore.frequent(TEXT, V, 0).numel() == 0


def test_an_entry_gets_those_around_it() -> None:
    codes = NGramsAround.frequent(SOURCES, V, 1000)
    table = filled(NGramsAround(len(codes), 14, V), codes)
    sources = [[0, 3, 4, 5, 0], [0, 9, 3, 0], [0, 0]]
    ids = torch.full((6, len(sources)), 3)  # what stands in the padding is not looked at
    for lane, source in enumerate(sources):
        ids[: len(source), lane] = torch.tensor(source)
    found = table(ids, torch.tensor([len(source) for source in sources]))
    for lane, source in enumerate(sources):
        assert_close(found[: len(source), lane], expected(table, source, around))
    assert found[:2, 2].any()
    assert not found[1, 1].any()  # 9 was never seen


@pytest.mark.parametrize("lengths", [[300], [1] * 300, [2, 98, 3, 197]], ids=["whole", "steps", "chunks"])
def test_an_entry_gets_those_that_it_ends(lengths: list[int]) -> None:
    codes = NGramsBefore.frequent(TEXT, V, 1000)
    table = filled(NGramsBefore(len(codes), 14, V), codes)
    text = torch.from_numpy(np.stack([TEXT, TEXT[::-1]], axis=1))
    state, parts = table.initial_state(2), []
    for ids in text.split(lengths):
        embedded, state = table(ids, state)
        parts.append(embedded)
    for lane in range(2):
        assert_close(torch.cat(parts)[:, lane], expected(table, text[:, lane].tolist(), before))
    assert torch.equal(state[0], text[-NGRAM_REACH:].T)


def test_a_share_is_hidden_while_training_and_none_after_it() -> None:
    codes = NGramsBefore.frequent(TEXT, V, 1000)
    table = filled(NGramsBefore(len(codes), 16, V), codes)
    ids = torch.from_numpy(TEXT[:, None])
    whole, _ = table(ids, table.initial_state(1))
    table.dropout = 0.4
    assert torch.equal(table(ids, table.initial_state(1))[0], whole)
    torch.manual_seed(0)
    kept, _ = table.train()(ids, table.initial_state(1))
    parts = whole.view(-1, 4).any(1)
    hidden = ~kept.view(-1, 4).any(1) & parts
    assert torch.equal(kept.view(-1, 4)[~hidden], whole.view(-1, 4)[~hidden])
    share = hidden.sum() / parts.sum()
    assert abs(share - 0.4) < 5 * (0.4 * 0.6 / parts.sum()) ** 0.5
