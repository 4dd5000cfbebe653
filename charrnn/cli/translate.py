"""`charrnn translate`, and `charrnn summarize`, which is the same for models of other pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.lines import lenient_decoder, read_lines, write

if TYPE_CHECKING:
    from charrnn.tasks.seq2seq.model import Translation


def command(name: str, doing: str, short: str) -> click.Command:
    """The command of this name."""

    @click.command(
        name,
        help=f"""{doing} each TEXT with MODEL, or with - each line of standard input.

        Prints a line a text, in order, as the lines come; with --num-best up to so many lines, the best first.""",
        short_help=short,
    )
    @click.argument("model", type=click.Path(path_type=Path))
    @click.argument("texts", nargs=-1, metavar="[TEXT... | -]")
    @click.option("--beam", type=int, metavar="K", help="Hypotheses followed; 1 is quickest (default: the model's).")
    @click.option("--length-penalty", type=float, metavar="A", help="The higher, the longer (default: the model's).")
    @click.option("--num-best", type=int, default=1, metavar="N", help="The N best of each text.")
    @click.option("--scores", is_flag=True, help="Before each its score, by which it was chosen, and a tab.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a text.")
    @click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="Draw where the one answer looks.")
    @click.option("--encoding", default="utf-8", show_default=True, help="Encoding of standard input.")
    @click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
    def run(model: Path, texts: tuple[str, ...], **options: Any) -> None:
        _translate(name, model, texts, **options)

    return run


def _translate(
    name: str,
    model: Path,
    texts: tuple[str, ...],
    beam: int | None,
    length_penalty: float | None,
    num_best: int,
    scores: bool,
    as_json: bool,
    plot: Path | None,
    encoding: str,
    device: str,
) -> None:
    from charrnn.errors import UsageError

    if not texts:
        raise UsageError(f"nothing to {name}: give texts, or - to read lines from standard input")
    if "-" in texts and len(texts) > 1:
        raise UsageError("texts come from the command line or from standard input (-), not both")
    if as_json and scores:
        raise UsageError("--json has the scores: leave --scores out")
    if plot is not None:
        from charrnn.cli.plot import require_matplotlib

        require_matplotlib()
        if len(texts) > 1 or texts == ("-",):
            raise UsageError("--plot draws one text: give one as an argument")
    decoder = lenient_decoder(encoding)

    from charrnn.tasks.seq2seq.model import Seq2Seq

    translator = Seq2Seq.load(model, device)
    groups: Iterable[list[str]] = [list(texts)]
    if texts == ("-",):
        groups = read_lines(sys.stdin.buffer, decoder)
    unreadable = cut = 0
    for group in groups:
        unreadable += sum("\ufffd" in text for text in group) if texts == ("-",) else 0
        found = translator.translate_lines(group, num_best, beam=beam, length_penalty=length_penalty)
        for source, each in zip(group, found, strict=True):
            cut += each.was_cut
            write(_as_json(source, each) if as_json else _as_lines(each, scores))
    if plot is not None:
        from charrnn.cli.plot import plot_alignment

        click.echo(f"attention: {plot_alignment(translator.align(texts[0], each.text), plot)}", err=True)
    if unreadable:
        click.echo(f"warning: lines with bytes that are not {encoding}: {unreadable:,}", err=True)
    if cut:
        most = translator.network.config.max_source
        click.echo(
            f"warning: texts longer than the model reads ({most:,} entries), middles left out: {cut:,}", err=True
        )


def _as_lines(found: Translation, scores: bool) -> Iterator[str]:
    for candidate in found.candidates:
        yield (f"{candidate.score:.4f}\t" if scores else "") + candidate.text + "\n"


def _as_json(source: str, found: Translation) -> Iterator[str]:
    candidates = [{"text": each.text, "score": each.score, "nats": each.nats} for each in found.candidates]
    record = {"source": source, "text": found.text, "candidates": candidates}
    yield json.dumps(record, ensure_ascii=False) + "\n"


translate = command("translate", "Translate", "Translate texts.")
