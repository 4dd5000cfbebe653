"""Noise changes about as many characters as it is told to, in three ways, and the same with the same seed. Subwords are
taken apart as often, and say the same."""

import numpy as np
import pytest

from charrnn.text.noise import add_noise, bpe_dropout
from charrnn.text.vocab import build_vocab

TEXT = "abcdefghij" * 300
LINES = ["what is a naïve owl ?", "", "日本 rice, and what is it", "is " * 40]
VOCAB = build_vocab("subword", ["\n".join(LINES * 9)], 330)


def noisy(share: float, text: str = TEXT, seed: int = 0) -> str:
    return add_noise(text, share, "XYZ", np.random.default_rng(seed))


def test_no_noise_changes_nothing() -> None:
    assert noisy(0.0) == TEXT
    assert noisy(0.5, "") == ""


def test_the_same_seed_gives_the_same_text() -> None:
    assert noisy(0.2) == noisy(0.2)
    assert noisy(0.2) != noisy(0.2, seed=1)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_third_of_the_changes_each_replaces_drops_and_swaps(share: float) -> None:
    text = noisy(share)
    each = share * len(TEXT) / 3
    assert sum(character in "XYZ" for character in text) == pytest.approx(each, rel=0.35)
    assert len(TEXT) - len(text) == pytest.approx(each, rel=0.35)
    assert set(text) <= {*TEXT, *"XYZ"}


def test_all_can_be_changed() -> None:
    assert len(noisy(0.999, "a")) <= 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.9999])
def test_texts_with_subwords_taken_apart_are_the_same_texts(share: float) -> None:
    whole = VOCAB.encode_batch(LINES)
    apart = bpe_dropout(whole, VOCAB.merges, share, np.random.default_rng(0))
    assert [VOCAB.decode(ids) for ids in apart] == LINES
    assert all(ids.dtype == VOCAB.dtype for ids in apart)
    assert all(map(np.array_equal, bpe_dropout(whole, VOCAB.merges, share, np.random.default_rng(0)), apart))
    if share in (0.0, 0.9999):
        assert [len(ids) for ids in apart] == [
            len(line.encode() if share else ids) for line, ids in zip(LINES, whole, strict=True)
        ]


def test_merges_are_those_that_made_the_entry() -> None:
    for entry, (one, other) in enumerate(VOCAB.merges.tolist()):
        if one < 0:
            assert len(VOCAB.pieces[entry]) == 1
        else:
            assert VOCAB.pieces[one] + VOCAB.pieces[other] == VOCAB.pieces[entry]
    assert (build_vocab("char", ["ab"]).merges == -1).all()


def test_each_merge_is_undone_as_often_and_so_are_those_of_its_parts() -> None:
    entry = VOCAB.encode(" is").item()
    one, other = VOCAB.merges[entry].tolist()
    apart = bpe_dropout([np.array([entry])] * 20_000, VOCAB.merges, 0.2, np.random.default_rng(0))
    depth = {len(ids) for ids in apart}
    assert sum(len(ids) > 1 for ids in apart) == pytest.approx(0.2 * 20_000, rel=0.1)
    inner = one if VOCAB.merges[one, 0] >= 0 else other
    assert VOCAB.merges[inner, 0] >= 0
    assert depth == {1, 2, 3}
    assert sum(len(ids) == 3 for ids in apart) == pytest.approx(0.04 * 20_000, rel=0.2)
