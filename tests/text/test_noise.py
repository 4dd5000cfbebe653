"""Noise changes about as many characters as it is told to, in three ways, and the same with the same seed."""

import numpy as np
import pytest

from charrnn.text.noise import add_noise

TEXT = "abcdefghij" * 300


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
