"""`charrnn generate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from charrnn.generation.generator import Generator, Piece
    from charrnn.generation.weights import WeightType
    from charrnn.text.reading import Text

SAMPLING = ("top_k", "top_p", "min_p", "repetition_penalty")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False, metavar="[-]")
@click.option("-p", "--prompt", help="Text to continue; - as an argument reads it from standard input.")
@click.option("-n", "--max-chars", type=int, default=500, show_default=True, help="Characters to write.")
@click.option(
    "-t",
    "--temperature",
    "temperatures",
    type=float,
    multiple=True,
    help="0: always the likeliest; 1: as the model has it (default 0.8). Several: texts at each, side by side.",
)
@click.option("--top-k", type=int, help="Draw from the k likeliest only.")
@click.option("--top-p", type=float, help="Draw from the likeliest that together reach probability p.")
@click.option("--min-p", type=float, help="Draw from those at least this share as likely as the likeliest.")
@click.option("--repetition-penalty", type=float, help="Above 1: recent entries become less likely.")
@click.option("--only-chars", metavar="CHARACTERS", help="Write no other characters than these.")
@click.option("--stop", multiple=True, metavar="STRING", help="End before this string.")
@click.option("--num-samples", type=int, default=1, show_default=True, help="Texts to write.")
@click.option("--best-of", type=int, default=1, show_default=True, help="Of so many texts print the likeliest.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--load-state", type=click.Path(path_type=Path), help="Go on after what --save-state kept.")
@click.option("--save-state", type=click.Path(path_type=Path), help="Keep what is known after the prompt in a file.")
@click.option("--no-stream", is_flag=True, help="Print when all is written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample.")
@click.option("--novelty", multiple=True, metavar="FILE", help="Report what the samples copied from this text.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text of --novelty.")
@click.option("--weights", type=click.Choice(["bf16", "fp32"]), help="Of the compiled network (default bf16).")
@click.option(
    "--device", default="cpu", show_default=True, help="cpu: compiled, the quickest here; or cuda, mps, auto."
)
def generate(
    model: Path,
    source: str | None,
    prompt: str | None,
    max_chars: int,
    temperatures: tuple[float, ...],
    only_chars: str | None,
    stop: tuple[str, ...],
    num_samples: int,
    best_of: int,
    seed: int | None,
    load_state: Path | None,
    save_state: Path | None,
    no_stream: bool,
    as_json: bool,
    novelty: tuple[str, ...],
    encoding: str,
    weights: WeightType | None,
    device: str,
    **options: Any,
) -> None:
    """Write text with MODEL, after the prompt if there is one. Prints the prompt and what follows it."""
    from charrnn.errors import UsageError
    from charrnn.storage import require_replaceable

    if source not in (None, "-"):
        raise UsageError(f"unexpected {source!r}: give a prompt with -p, or - to read it from standard input")
    if source == "-":
        if prompt is not None:
            raise UsageError("the prompt comes from -p or from standard input, not both")
        prompt = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    prompt = prompt or ""
    if max_chars < 0:
        raise UsageError(f"-n must be 0 or more, not {max_chars}")

    if best_of < 1:
        raise UsageError(f"--best-of must be at least 1, not {best_of}")

    if source == "-" and "-" in novelty:
        raise UsageError("standard input is the prompt: give --novelty a file")

    if save_state:
        require_replaceable(save_state)

    from charrnn.generation.generator import Piece, TextState, best, gather

    compared = _compared(novelty, encoding) if novelty else None
    generator = _generator(model, weights, device)
    state = generator.read(prompt, TextState.load(load_state) if load_state else None)
    if save_state:
        state.save(save_state)
    pieces: Iterable[Piece] = generator.stream_samples(
        state=state,
        max_chars=max_chars,
        stop=stop,
        num_samples=num_samples * best_of,
        seed=seed,
        only_chars=only_chars,
        temperatures=temperatures,
        **{name: options[name] for name in SAMPLING if options[name] is not None},
    )
    if best_of > 1:
        chosen = best(gather(pieces), best_of)
        pieces = [Piece(i, sample.text, sample.finish_reason, sample.nats) for i, sample in enumerate(chosen)]
    at = [temperature for temperature in temperatures or [generator.sampling.temperature] for _ in range(num_samples)]
    written = [""] * len(at)
    pieces = _kept(pieces, written)
    if as_json:
        for sample, temperature in zip(gather(pieces), at, strict=True):
            texts = {"prompt": prompt, "text": sample.text, "finish_reason": sample.finish_reason}
            figures = {"temperature": temperature, "nats_per_char": sample.nats_per_char}
            _write(json.dumps(texts | figures, ensure_ascii=False) + "\n")
    else:
        titles = [f"temperature {temperature:g}:\n" if len(temperatures) > 1 else "" for temperature in at]
        _print_samples(pieces, [title + prompt for title in titles], stream=not no_stream)
    if compared:
        _novelty_report(written, compared.chunks(), as_json)


def _generator(model: Path, weights: WeightType | None, device: str) -> Generator:
    from charrnn.errors import UsageError
    from charrnn.generation.generator import Generator

    if device == "cpu":
        return Generator.load(model, weights or "bf16")

    if weights is not None:
        raise UsageError("--weights is for the compiled network: leave --device out")

    from charrnn.tasks.language_model.model import LanguageModel

    return LanguageModel.load(model, device).generator


def _compared(files: tuple[str, ...], encoding: str) -> Text:
    from charrnn.text.reading import find_text

    return find_text(files, encoding)


def _print_samples(pieces: Iterable[Piece], beginnings: list[str], stream: bool) -> None:
    """Samples in order. The first that is not done yet is shown as it grows; later ones wait for their turn."""
    waiting, done = list(beginnings), [False] * len(beginnings)
    turn = 0
    for piece in pieces:
        waiting[piece.sample] += piece.text
        done[piece.sample] = piece.finish_reason is not None
        while turn < len(waiting) and (done[turn] or (stream and turn == piece.sample)):
            _write(waiting[turn] + ("\n" if done[turn] else ""))
            waiting[turn] = ""
            if not done[turn]:
                break
            turn += 1


def _kept(pieces: Iterable[Piece], samples: list[str]) -> Iterator[Piece]:
    """The same pieces; their text, without the prompt, is gathered in `samples`."""
    for piece in pieces:
        samples[piece.sample] += piece.text
        yield piece


def _novelty_report(samples: list[str], chunks: Iterable[str], as_json: bool) -> None:
    """What the samples copied: for readers on stderr, as JSON on stdout."""
    from charrnn.generation.novelty import novelty

    result = novelty(samples, chunks)
    if as_json:
        _write(json.dumps({"novelty": result.as_dict()}, ensure_ascii=False) + "\n")
    else:
        click.echo(result.report(), err=True)


def _write(text: str) -> None:
    # Bytes, so that no terminal setting can make a character an error; lone surrogates become "?".
    sys.stdout.buffer.write(text.encode("utf-8", errors="replace"))
    sys.stdout.buffer.flush()
