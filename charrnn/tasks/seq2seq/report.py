"""What a model makes of pairs that it was not trained on: figures and examples, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charrnn.tasks.seq2seq.data import Pair, answers
from charrnn.tasks.seq2seq.metrics import bleu_figures, error_rate, match_figures, num_words, rouge_figures
from charrnn.tasks.seq2seq.model import Task, Translation

SHOWN_SAMPLES = 20  # unpicked: the first
SHOWN_EXTREMES = 5  # of the best, and of the worst
SENTENCE_WORDS = 2  # of a target on average, from which on there is BLEU or ROUGE
SHOWN_CHARS = 300  # of a source

# Figures and how they are shown: name, title, factor, unit.
FIGURES = (
    ("bleu", "BLEU", 1, ""),
    ("chrf", "chrF", 1, ""),
    ("rouge_1", "ROUGE-1 F", 1, ""),
    ("rouge_2", "ROUGE-2 F", 1, ""),
    ("rouge_l", "ROUGE-L F", 1, ""),
    ("exact_match", "exact match", 100, " %"),
    ("symbol_error_rate", "symbol error rate", 100, " %"),
    ("word_error_rate", "word error rate", 100, " %"),
)
MISSING = {
    "translate": ("bleu", "BLEU and chrF need sacrebleu: pip install sacrebleu"),
    "summarize": ("rouge_1", "ROUGE needs rouge-score: pip install rouge-score"),
}


def evaluate(pairs: Sequence[Pair], found: Mapping[str, Translation], task: Task, symbols: bool) -> dict[str, Any]:
    """Figures and examples of what was found for each source.

    Several pairs with one source are several valid targets, of which the nearest counts; but for BLEU and ROUGE, where
    every pair counts, as is usual. `symbols`: a target is a row of symbols between spaces.
    """
    valid = answers(pairs)
    said = [found[source].text for source in valid]
    words = sum(num_words(pair.target) for pair in pairs)
    sentences = not symbols and words >= SENTENCE_WORDS * len(pairs)
    report: dict[str, Any] = {"pairs": len(pairs), "sources": len(valid), "sentences": sentences}
    report |= match_figures(list(valid.values()), said, symbols)
    if sentences:
        targets, texts = [pair.target for pair in pairs], [found[pair.source].text for pair in pairs]
        report |= bleu_figures(targets, texts) if task == "translate" else rouge_figures(targets, texts)
    examples = [
        {
            "source": source,
            "target": targets[0],
            "said": found[source].text,
            "score": found[source].candidates[0].score,
            "error_rate": _rate(found[source].text, targets),
        }
        for source, targets in valid.items()
    ]
    ranked = sorted(examples, key=lambda example: (example["error_rate"], -len(str(example["target"]))))
    report["samples"] = examples[:SHOWN_SAMPLES]
    report["best"], report["worst"] = ranked[:SHOWN_EXTREMES], ranked[: -SHOWN_EXTREMES - 1 : -1]
    return report


def render(report: Mapping[str, Any]) -> str:
    """The report for people. `report` maps the names of parts, "validation" and "test", to what `evaluate` gave,
    beside "task" and "seconds"."""
    lines = []
    for part in ("validation", "test"):
        if part in report:
            lines += _render_part(part, report[part], report["task"])
    lines.append("time: " + ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items()))
    return "\n".join(lines) + "\n"


def figures_line(figures: Mapping[str, Any]) -> str:
    """All figures of a part in one line."""
    there = [(title, f"{factor * figures[name]:.2f}{unit}") for name, title, factor, unit in FIGURES if name in figures]
    return ", ".join(f"{title} {value}" for title, value in there)


def _render_part(part: str, figures: Mapping[str, Any], task: str) -> list[str]:
    lines = [f"{part}: {figures['pairs']:,} pairs, {figures['sources']:,} sources", ""]
    for name, title, factor, unit in FIGURES:
        if name in figures:
            signature = figures.get(f"{name}_signature")
            lines.append(f"{title:18}{factor * figures[name]:7.2f}{unit}" + (f"   {signature}" if signature else ""))
    needed, advice = MISSING[task]
    if needed not in figures and figures["sentences"]:
        lines.append(advice)
    for title, name in (("the first", "samples"), ("the best", "best"), ("the worst", "worst")):
        lines += ["", f"{title}:"]
        for example in figures[name]:
            lines.append(f"  {example['source'][:SHOWN_CHARS]}")
            lines.append(f"    → {example['said']}")
            if example["said"] != example["target"]:
                lines.append(f"    = {example['target']}")
    return [*lines, ""]


def _rate(said: str, targets: Sequence[str]) -> float:
    wrong, length = error_rate(said, targets)
    return wrong / max(length, 1)
