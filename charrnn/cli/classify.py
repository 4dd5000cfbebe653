"""`charrnn classify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.lines import lenient_decoder, read_lines, write

if TYPE_CHECKING:
    from charrnn.tasks.classifier.model import Classification, Explanation

STRONGEST = 6  # pieces of a text that are named when it is explained
NOTABLE = 0.3  # of the strongest weight: from here on a character counts as a reason
GREEN, RED, PAPER = (60, 180, 75), (230, 80, 70), (245, 245, 245)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT... | -]")
@click.option("--top", type=int, metavar="K", help="The K likeliest labels of each text.")
@click.option("--explain", is_flag=True, help="Show what in the text spoke for its label, and what against it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a text.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of standard input.")
@click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
def classify(
    model: Path, texts: tuple[str, ...], top: int | None, explain: bool, as_json: bool, encoding: str, device: str
) -> None:
    """Label each TEXT with the classifier MODEL, or with - each line of standard input.

    Prints a line a text: label, tab, probability. Where texts have any number of labels, all that are likelier than
    not, each with its probability; the line may be empty. Lines are answered as they come.
    """
    from charrnn.errors import UsageError

    if not texts:
        raise UsageError("nothing to classify: give texts, or - to read lines from standard input")
    if "-" in texts and len(texts) > 1:
        raise UsageError("texts come from the command line or from standard input (-), not both")
    if explain and top is not None:
        raise UsageError("--explain is about the likeliest label: leave --top out")
    decoder = lenient_decoder(encoding)

    from charrnn.tasks.classifier.model import Classifier

    classifier = Classifier.load(model, device)
    groups: Iterable[list[str]] = [list(texts)]
    if texts == ("-",):
        groups = read_lines(sys.stdin.buffer, decoder)
    unreadable = 0
    for group in groups:
        unreadable += sum("\ufffd" in text for text in group) if texts == ("-",) else 0
        if explain:
            for text in group:
                write([_explained(classifier.explain(text), as_json)])
        else:
            show = _as_json if as_json else _as_line
            write(map(show, classifier.classify_lines(group, top)))
    if unreadable:
        click.echo(f"warning: lines with bytes that are not {encoding}: {unreadable:,}", err=True)


def _as_line(found: Classification) -> str:
    return "\t".join(f"{label}\t{probability:.4f}" for label, probability in found.ranking) + "\n"


def _as_json(found: Classification) -> str:
    record = {"label": found.label, "probability": found.probability, "ranking": found.ranking}
    return json.dumps(record, ensure_ascii=False) + "\n"


def _explained(found: Explanation, as_json: bool) -> str:
    pieces = found.pieces()
    if as_json:
        record: dict[str, Any] = {"label": found.label, "probability": found.probability, "pieces": pieces}
        return json.dumps(record, ensure_ascii=False) + "\n"
    strongest = max((abs(weight) for _, weight in pieces), default=0.0) or 1.0
    text = "".join(_coloured(piece, weight / strongest) for piece, weight in pieces)
    if not sys.stdout.isatty():
        text = click.unstyle(text)
    reasons = "   ".join(f"{weight:+.2f} {piece!r}" for piece, weight in _reasons(found, NOTABLE * strongest))
    return f"{found.label}\t{found.probability:.4f}\n  {text}\n  {reasons}\n"


def _reasons(found: Explanation, limit: float) -> list[tuple[str, float]]:
    """Runs of characters that speak for the label or against it, the strongest first, each with its peak."""

    def sign(pair: tuple[str, float]) -> int:
        return (pair[1] > limit) - (pair[1] < -limit)

    runs = []
    for side, run in groupby(zip(found.text, found.weights.tolist(), strict=True), key=sign):
        characters, weights = zip(*run, strict=True)
        if side:
            runs.append(("".join(characters), max(weights, key=abs)))
    return sorted(runs, key=lambda run: -abs(run[1]))[:STRONGEST]


def _coloured(piece: str, weight: float) -> str:
    colour = GREEN if weight > 0 else RED
    red, green, blue = (round(paper + abs(weight) * (ink - paper)) for paper, ink in zip(PAPER, colour, strict=True))
    return click.style(piece, fg=(0, 0, 0), bg=(red, green, blue))
