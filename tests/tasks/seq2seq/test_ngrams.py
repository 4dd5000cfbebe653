"""N-grams of the source: the frequent ones have an embedding each, and an entry gets those that stand around it."""

from collections import Counter

import numpy as np
import torch
from torch.testing import assert_close

from charrnn.tasks.seq2seq import ngrams
from charrnn.tasks.seq2seq.ngrams import LENGTHS, OUTSIDE, NGrams, frequent

SOURCES = [np.array(source) for source in [*9 * [[0, 3, 4, 5, 0]], [0, 3, 4, 0], [0, 3, 4, 0], [0, 0], [0]]]


def around(source: list[int], length: int) -> list[tuple[int, ...]]:
    """The n-gram around each entry: one more before than after where they can't be as many."""
    wide = [OUTSIDE] * (length // 2) + source + [OUTSIDE] * ((length - 1) // 2)
    return [tuple(wide[i : i + length]) for i in range(len(source))]


def code(ngram: tuple[int, ...]) -> int:
    return int(ngrams.windows(torch.tensor(ngram), len(ngram)))


def test_those_that_occur_often_are_found() -> None:
    counts = Counter(ngram for length in LENGTHS for source in SOURCES for ngram in around(source.tolist(), length))
    often = {code(ngram) for ngram, count in counts.items() if count >= ngrams.LEAST_COUNT}
    assert frequent(SOURCES, 1000).tolist() == sorted(often)
    assert 0 < len(often) < len(counts)
    assert len({code(ngram) for ngram in counts}) == len(counts)  # no two have one code
    commonest = {code(ngram) for ngram, count in counts.items() if count >= 12}
    assert set(frequent(SOURCES, len(commonest)).tolist()) == commonest


def test_an_entry_gets_the_embeddings_of_those_around_it() -> None:
    codes = frequent(SOURCES, 1000)
    table = NGrams(len(codes), 4)
    table.codes.copy_(codes)
    assert not table.embedding.weight.any()  # in the beginning they say nothing
    with torch.no_grad():
        table.embedding.weight[1:].normal_()
    sources = [[0, 3, 4, 5, 0], [0, 9, 3, 0], [0, 0]]
    ids = torch.full((6, len(sources)), 3)  # what stands in the padding is not looked at
    for lane, source in enumerate(sources):
        ids[: len(source), lane] = torch.tensor(source)
    found = table(ids, torch.tensor([len(source) for source in sources]))
    place = {each: i for i, each in enumerate(codes.tolist(), 1)}
    for lane, source in enumerate(sources):
        rows = [[place.get(code(ngram), 0) for ngram in around(source, length)] for length in LENGTHS]
        expected = table.embedding.weight[torch.tensor(rows)].sum(0)
        assert_close(found[: len(source), lane], expected)
    assert found[:2, 2].any()
    assert not found[1, 1].any()  # 9 was never seen
