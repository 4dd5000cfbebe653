"""How near what was written is to what should be: exact matches, edits, and the figures of translation and summaries.

BLEU and chrF are those of `sacrebleu`, ROUGE that of `rouge-score`: neither is needed for anything else.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Hashable, Sequence
from typing import Any

KANA = r"\u3041-\u3096\u30a1-\u30fa"  # but for the signs beside them, which Chinese has too
UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # and Chinese characters
# Vowel signs and accents that are characters of their own: inside words, though no `\w`.
MARKS = "".join(mark for mark in map(chr, range(0x10000)) if unicodedata.category(mark)[0] == "M")
WORD = re.compile(rf"[{UNSPACED}]|(?:[^\W{UNSPACED}]|[{MARKS}])+|[^\w\s]")
OTHER_LETTERS = 0.1  # share of letters other than a to z, from which on ROUGE counts words of any script


def words(text: str) -> list[str]:
    """Its words and signs; of Chinese and Japanese, which set no spaces between words, its characters."""
    return WORD.findall(text)


def num_words(text: str) -> float:
    """About how many words it has: what stands between spaces, and half as many as Chinese and Japanese characters."""
    unspaced = re.compile(rf"[{UNSPACED}]")
    return len(unspaced.sub(" ", text).split()) + len(unspaced.findall(text)) / 2


def edits(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and replacements that make `b` of `a` (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def longest_common(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The length of the longest sequence that stands in both, in order, whatever is between."""
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, start=1):
            corner, row[j] = row[j], corner + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def error_rate(said: Sequence[Hashable], references: Sequence[Sequence[Hashable]]) -> tuple[int, int]:
    """Edits to the nearest of several valid references, and that reference's length."""
    return min((edits(said, reference), len(reference)) for reference in references)


def match_figures(references: Sequence[Sequence[str]], said: Sequence[str], symbols: bool) -> dict[str, float]:
    """Figures of what was said for each source, of which every reference (one or more) is a valid target.

    exact_match: share of sources. symbol_error_rate: edits for each symbol of the references, where a symbol is a
    character, or with `symbols` what stands between spaces. word_error_rate: the same in words; with `symbols`, where
    a target is a word spelled in them, the share of words that are not right.
    """
    exact = sum(text in valid for text, valid in zip(said, references, strict=True)) / len(said)
    characters = _rate([list(text) for text in said], [[list(text) for text in valid] for valid in references])
    words = _rate([text.split() for text in said], [[text.split() for text in valid] for valid in references])
    return {
        "exact_match": exact,
        "symbol_error_rate": words if symbols else characters,
        "word_error_rate": 1 - exact if symbols else words,
    }


def bleu_figures(references: Sequence[str], said: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF (0 to 100) with their signatures; nothing where `sacrebleu` is not installed.

    Chinese is compared by its characters, and so is all of a text where one in twenty is kana.
    """
    if importlib.util.find_spec("sacrebleu") is None:
        return {}
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    whole = "".join(references)
    tokenize = None  # what sacrebleu has for most languages
    if 2 * len(re.findall(f"[{UNSPACED}]", whole)) > len(whole):
        tokenize = "char" if 20 * len(re.findall(f"[{KANA}]", whole)) > len(whole) else "zh"
    figures: dict[str, Any] = {}
    for name, metric in (("bleu", BLEU(tokenize=tokenize)), ("chrf", CHRF())):
        figures[name] = metric.corpus_score(list(said), [list(references)]).score
        figures[f"{name}_signature"] = str(metric.get_signature())
    return figures


def rouge_figures(references: Sequence[str], said: Sequence[str]) -> dict[str, Any]:
    """ROUGE-1, -2 and -L (mean F, 0 to 100); nothing where `rouge-score` is not installed.

    That package knows the letters a to z only: where there are many others, words are those of `words`.
    """
    if importlib.util.find_spec("rouge_score") is None:
        return {}
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
    letters = [letter for text in references for letter in text.lower() if letter.isalpha()]
    of_any_script = sum(letter > "z" for letter in letters) > OTHER_LETTERS * len(letters)
    scorer = RougeScorer(list(names), tokenizer=_Words() if of_any_script else None)
    scores = [scorer.score(reference, text) for reference, text in zip(references, said, strict=True)]
    return {ours: 100 * sum(score[theirs].fmeasure for score in scores) / len(scores) for theirs, ours in names.items()}


class _Words:
    """Words of any script, as `RougeScorer` asks for them."""

    def tokenize(self, text: str) -> list[str]:
        return [word for word in words(text.lower()) if any(map(str.isalnum, word))]


def _rate(said: Sequence[Sequence[Hashable]], references: Sequence[Sequence[Sequence[Hashable]]]) -> float:
    pairs = [error_rate(text, valid) for text, valid in zip(said, references, strict=True)]
    return sum(wrong for wrong, _ in pairs) / max(sum(length for _, length in pairs), 1)
