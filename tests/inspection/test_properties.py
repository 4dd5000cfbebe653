"""Properties mean what they say, and the search finds the unit that is one."""

from dataclasses import replace

import numpy as np
import pytest

from charrnn.inspection.properties import BEST, PROPERTIES, RARE, Property, correlations, search
from charrnn.inspection.trace import Trace, trace
from charrnn.tasks.language_model.model import LanguageModel

BY_NAME = {prop.name: prop for prop in PROPERTIES}


@pytest.fixture
def found(model_of_any_vocab: LanguageModel, text: str) -> Trace:
    return trace(model_of_any_vocab, text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside quotes", 'a "b" c', "0011000"),
        ("inside quotes", "“a” b «c» „d“ e", "110000110011000"),
        ("inside quotes", '"a\n\nb "c', "11100011"),
        ("position in the line", "ab\nc\n\nd", "1201001"),
        ("capital letter", "aBc É1", "010010"),
        ("word in capitals", "A ABC Ab", "00011000"),
        ("depth of brackets", "a(b[c])d)e(", "01122100001"),
        ("inside a word", "it's 'a b'", "1111001011"),
        ("length of the word", "ab c's-d", "12012301"),
        ("vowel", "aÉb1y", "11000"),
        ("digit", "a1²٣", "0101"),
        ("punctuation", "a,b! –$", "0101010"),
        ("white space", "a b\n\t", "01011"),
        ("line end", "a\n\nb", "0110"),
        ("first of a line", "ab\nc\n\nd", "1001001"),
        ("line of the paragraph", "a\nb\n\nc", "011200"),
        ("length of the sentence", "ab. c!", "120120"),
        ("indentation", "  a b\n\tc", "12222011"),
    ],
)
def test_a_property_has_these_values(name: str, text: str, expected: str) -> None:
    assert [int(value) for value in BY_NAME[name].values(text)] == [int(value) for value in expected]


def test_every_property_has_one_value_a_character_that_depends_on_the_past_alone(text: str) -> None:
    for prop in PROPERTIES:
        values = list(map(float, prop.values(text)))
        assert len(values) == len(text)
        assert min(values) >= 0
        for cut in (0, 1, len(text) // 2):
            assert list(map(float, prop.values(text[:cut]))) == values[:cut], prop.name
    assert len(BY_NAME) == len(PROPERTIES)


def test_a_property_that_is_a_unit_is_tracked_best_by_it(found: Trace) -> None:
    text = "".join(found.spans)
    for column in (0, len(found.units) - 1):
        values = dict.fromkeys(range(len(text)), 0.0)
        ends = np.cumsum([len(span) for span in found.spans]) - 1
        values |= dict(zip(ends.tolist(), found.states[:, column].tolist(), strict=True))
        for sign in (1, -1):
            same = Property("same", "", lambda _, sign=sign, values=values: [sign * v for v in values.values()])
            (tracking,) = search(found, [same])
            unit, score = tracking.best[0]
            assert unit == found.units[column]
            assert score == pytest.approx(sign, abs=1e-6)


def test_scores_are_correlations_in_order(found: Trace) -> None:
    trackings = search(found)
    assert len(trackings) > 5
    column = {unit: i for i, unit in enumerate(found.units)}
    for tracking in trackings:
        expected = [np.corrcoef(tracking.values, states)[0, 1] for states in found.states.T]
        scores = [score for _, score in tracking.best]
        assert scores == pytest.approx([expected[column[unit]] for unit, _ in tracking.best], abs=1e-5)
        assert np.abs(scores) == pytest.approx(np.sort(np.abs(expected))[::-1][:BEST], abs=1e-5)


def test_values_lie_at_the_last_character_of_each_span(found: Trace) -> None:
    prop = BY_NAME["position in the line"]
    (tracking,) = search(found, [prop])
    values, end = list(prop.values("".join(found.spans))), 0
    for span, value in zip(found.spans, tracking.values.tolist(), strict=True):
        end += len(span)
        assert value == values[end - 1]


@pytest.mark.parametrize("count", [0, 1, RARE - 1, RARE])
def test_a_property_that_the_text_hardly_has_is_left_out(count: int, found: Trace) -> None:
    ends = np.cumsum([len(span) for span in found.spans])[:count] - 1
    values = np.zeros(sum(map(len, found.spans)))
    values[ends] = 1
    rare = Property("rare", "", lambda _: values.tolist())
    often = Property("often", "", lambda _: (1 - values).tolist())
    assert len(search(found, [rare, often])) == (2 if count >= RARE else 0)


def test_a_unit_that_stands_still_tracks_nothing(found: Trace) -> None:
    for constant in (0.0, 0.1, 1e6):
        still = np.full_like(found.states, constant)
        assert (correlations(still, np.arange(len(still), dtype=np.float32)[None]) == 0).all()
        assert search(replace(found, states=still))[0].best[0][1] == 0
