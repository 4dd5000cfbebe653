"""Properties of a text that a reader might keep track of, and the units of a recurrent state that do.

As in Karpathy, Johnson & Li 2015 (arXiv 1506.02078), which found units of recurrent networks that count the
characters of a line or are on inside quotes. There by eye; here by correlation.

A property has one value a character, which depends on the text up to and including that character, as a state does.

Shapes: C characters, S spans, U units, P properties.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.inspection.trace import Floats, Trace, Unit

BEST = 10  # units a property
RARE = 10  # a property needs so many characters that differ from the most frequent value: fewer fit anything
BLOCK = 256  # units correlated at once, to bound memory

CLOSING = {'"': '"', "“": "”", "„": "“", "«": "»", "»": "«", "「": "」", "『": "』"}
OPENING_BRACKETS, CLOSING_BRACKETS = "([{", ")]}"
APOSTROPHES = "'’"


@dataclass(frozen=True)
class Property:
    """`values` maps a text to one number a character (C,): 1 or 0 where the property holds or not, or a count."""

    name: str
    about: str  # one line for readers
    values: Callable[[str], Iterable[float]]


@dataclass(frozen=True)
class Tracking:
    """The units that track a property best, best first, with the correlation of each."""

    tracked: Property
    values: Floats  # (S,)
    best: tuple[tuple[Unit, float], ...]

    @property
    def is_binary(self) -> bool:
        return bool(np.isin(self.values, (0, 1)).all())


def search(trace: Trace, properties: Sequence[Property] | None = None) -> list[Tracking]:
    """The units that track each property; without those that the text does not have, or hardly.

    The value of a property at a span is that at its last character, after which the state is known.
    """
    text = "".join(trace.spans)
    ends = np.cumsum([len(span) for span in trace.spans]) - 1
    found = []
    for prop in PROPERTIES if properties is None else properties:
        values = np.fromiter(prop.values(text), dtype=np.float32, count=len(text))[ends]
        if len(values) - np.unique(values, return_counts=True)[1].max() >= RARE:
            found.append((prop, values))
    if not found:
        return []
    scores = correlations(trace.states, np.stack([values for _, values in found]))
    trackings = []
    for (prop, values), row in zip(found, scores, strict=True):
        order = np.argsort(-np.abs(row), kind="stable")[:BEST].tolist()
        trackings.append(Tracking(prop, values, tuple((trace.units[i], float(row[i])) for i in order)))
    return trackings


def correlations(states: Floats, values: Floats) -> npt.NDArray[np.float64]:
    """Pearson's r of each row of values (P, S) with each unit of states (S, U): (P, U), 0 for a unit that stands still.

    For a property that holds or not it is the point-biserial correlation: one measure for both kinds.
    """
    rows = _standardized(values.T).T / len(states)
    blocks = (states[:, start : start + BLOCK] for start in range(0, states.shape[1], BLOCK))
    return np.concatenate([rows @ _standardized(block) for block in blocks], axis=1)


def _standardized(columns: Floats) -> npt.NDArray[np.float64]:
    centred = columns.astype(np.float64)
    centred -= centred.mean(axis=0)
    deviation = centred.std(axis=0)
    # What is left of a constant after subtracting its mean is rounding.
    scale = np.abs(columns).max(axis=0, initial=0.0)
    centred[:, deviation <= 1e-7 * scale] = 0
    return centred / np.where(deviation > 0, deviation, 1)


def _each(holds: Callable[[str], bool]) -> Callable[[str], Iterable[float]]:
    return lambda text: map(holds, text)


def _in_quotes(text: str) -> Iterator[float]:
    closing, before = "", ""
    for char in text:
        if not closing:
            closing = CLOSING.get(char, "")
        elif char == closing or char == before == "\n":  # a paragraph's end closes what was never closed
            closing = ""
        yield bool(closing)
        before = char


def _bracket_depth(text: str) -> Iterator[float]:
    depth = 0
    for char in text:
        depth = max(depth + (char in OPENING_BRACKETS) - (char in CLOSING_BRACKETS), 0)
        yield depth


def _column(text: str) -> Iterator[float]:
    column = 0
    for char in text:
        column = 0 if char == "\n" else column + 1
        yield column


def _indentation(text: str) -> Iterator[float]:
    indentation, inside = 0, False
    for char in text:
        if char == "\n":
            indentation, inside = 0, False
        elif not inside and char in " \t":
            indentation += 1
        else:
            inside = True
        yield indentation


def _line_of_paragraph(text: str) -> Iterator[float]:
    line, before = 0, ""
    for char in text:
        if char == "\n":
            line = 0 if before == "\n" else line + 1
        yield line
        before = char


def _in_sentence(text: str) -> Iterator[float]:
    length = 0
    for char in text:
        length = 0 if char in ".!?…。！？" else length + 1
        yield length


def _in_word(text: str) -> Iterator[float]:
    """Letters of the word so far; an apostrophe between letters belongs to it."""
    length = 0
    for char in text:
        length = length + 1 if _is_letter(char) or (length and char in APOSTROPHES) else 0
        yield length


def _capital_word(text: str) -> Iterator[float]:
    length = 0
    for char in text:
        length = length + 1 if char.isupper() else 0
        yield length >= 2


def _line_start(text: str) -> Iterator[float]:
    before = "\n"
    for char in text:
        yield before == "\n" and char != "\n"
        before = char


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LM"


def _is_vowel(char: str) -> bool:
    return unicodedata.normalize("NFD", char)[0].lower() in "aeiou"


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] == "P"


PROPERTIES = (
    Property("position in the line", "characters since the last line end", _column),
    Property("inside quotes", "from an opening quotation mark to the closing one", _in_quotes),
    Property("capital letter", "an upper-case letter", _each(str.isupper)),
    Property("word in capitals", "two or more upper-case letters in a row so far", _capital_word),
    Property("depth of brackets", "open ( [ { so far", _bracket_depth),
    Property("inside a word", "a letter, or an apostrophe after one", lambda text: (n > 0 for n in _in_word(text))),
    Property("length of the word", "letters of the word so far, 0 between words", _in_word),
    Property("vowel", "a, e, i, o, u, with any accent", _each(_is_vowel)),
    Property("digit", "0 to 9, in any script", _each(str.isdecimal)),
    Property("punctuation", "any mark of punctuation", _each(_is_punctuation)),
    Property("white space", "spaces, tabs, line ends", _each(str.isspace)),
    Property("line end", "the newline itself", _each("\n".__eq__)),
    Property("first of a line", "the character after a newline", _line_start),
    Property("line of the paragraph", "line ends since the last blank line", _line_of_paragraph),
    Property("length of the sentence", "characters since the last . ! or ?", _in_sentence),
    Property("indentation", "white space at the beginning of the line", _indentation),
)
