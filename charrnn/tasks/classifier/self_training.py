"""Self-training: texts without labels, of which a classifier is sure, are texts to learn from (Scudder 1965,
Probability of Error of Some Adaptive Pattern-Recognition Machines; Yarowsky 1995).

Where labelled texts are single words, the words of a line are told together: each may be doubtful, but a line is not,
and so each of its words has a label from its company.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from itertools import chain

import torch
from torch import Tensor

LINES_EACH, MAX_LINES = 10, 200_000  # of text without labels: so many for each labelled text, but no more than these
MAX_PROBABILITIES = 20_000_000  # of lines times classes: many labels leave room for fewer lines
MAX_CHARS = 512  # of one line
SURE = 0.95  # probability from which on a label is believed
FOREIGN = 0.02  # share of texts that could have any label: a word of another language says little against a line's
TEXTS_AT_ONCE = 50_000

Probabilities = Callable[[Sequence[str]], Tensor]  # texts → (N, C)


def some_lines(lines: Sequence[str], size: int, seed: int) -> tuple[str, ...]:
    """Lines drawn from all, cut where they are long; all, if there are no more."""
    drawn = random.Random(seed).sample(lines, min(size, len(lines)))
    return tuple(line[:MAX_CHARS] for line in drawn)


def enough_lines(num_texts: int, num_classes: int) -> int:
    """Lines of text without labels to draw, beside so many labelled texts."""
    return min(LINES_EACH * num_texts, MAX_LINES, MAX_PROBABILITIES // num_classes)


def surely_labelled(
    lines: Sequence[str],
    probabilities: Probabilities,
    most: Sequence[int],
    *,
    words: bool,
    known: Collection[str],
) -> tuple[list[str], list[int]]:
    """Texts of which a classifier is sure, and their classes: the most frequent ones, of each class at most as many as
    `most` (C,) says, none that in small letters is `known`. `words`: texts are the words of a line, labelled together.
    """
    parts = [_words(line) if words else [line] for line in lines]
    texts = list(dict.fromkeys(chain.from_iterable(parts)))
    if not texts:
        return [], []
    starts = range(0, len(texts), TEXTS_AT_ONCE)
    found = torch.cat([probabilities(texts[start : start + TEXTS_AT_ONCE]) for start in starts])
    found.mul_(1 - FOREIGN).add_(FOREIGN / found.shape[1]).log_()
    index = {text: i for i, text in enumerate(texts)}
    votes: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for own in filter(None, parts):
        probability, best = found[[index[text] for text in dict.fromkeys(own)]].sum(0).softmax(0).max(0)
        if probability > SURE:
            for text in own:
                votes[text][int(best)] += 1
    left, chosen, classes = list(most), [], []
    for text, own_votes in sorted(votes.items(), key=lambda vote: -vote[1].total()):
        ((winner, _),) = own_votes.most_common(1)
        if left[winner] > 0 and text.lower() not in known:
            left[winner] -= 1
            chosen.append(text)
            classes.append(winner)
    return chosen, classes


def _words(line: str) -> list[str]:
    """What stands between spaces, in small letters, without signs at either end; no numbers."""
    bare = map(_stripped, line.lower().split())
    return [word for word in bare if word and not any(map(str.isdigit, word))]


def _stripped(word: str) -> str:
    """Without what is neither a letter nor a mark of one, at either end."""
    start, end = 0, len(word)
    while start < end and unicodedata.category(word[start])[0] not in "LMN":
        start += 1
    while start < end and unicodedata.category(word[end - 1])[0] not in "LMN":
        end -= 1
    return word[start:end]
