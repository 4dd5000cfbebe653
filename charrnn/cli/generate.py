"""`charrnn generate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False, metavar="[-]")
@click.option("-p", "--prompt", help="Text to continue; - as an argument reads it from standard input.")
@click.option("-n", "--max-chars", type=int, default=500, show_default=True, help="Characters to write.")
@click.option("-t", "--temperature", type=float, help="0: always the likeliest; 1: as the model has it (default 0.8).")
@click.option("--top-k", type=int, help="Draw from the k likeliest only.")
@click.option("--top-p", type=float, help="Draw from the likeliest that together reach probability p.")
@click.option("--min-p", type=float, help="Draw from those at least this share as likely as the likeliest.")
@click.option("--repetition-penalty", type=float, help="Above 1: recent entries become less likely.")
@click.option("--stop", multiple=True, metavar="STRING", help="End before this string.")
@click.option("--num-samples", type=int, default=1, show_default=True, help="Texts to write.")
@click.option("--seed", type=int, help="The same seed gives the same text.")
@click.option("--no-stream", is_flag=True, help="Print when all is written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a sample.")
@click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
def generate(
    model: Path,
    source: str | None,
    prompt: str | None,
    max_chars: int,
    stop: tuple[str, ...],
    num_samples: int,
    seed: int | None,
    no_stream: bool,
    as_json: bool,
    device: str,
    **options: Any,
) -> None:
    """Write text with MODEL, after the prompt if there is one. Prints the prompt and what follows it."""
    from charrnn.errors import UsageError

    if source not in (None, "-"):
        raise UsageError(f"unexpected {source!r}: give a prompt with -p, or - to read it from standard input")
    if source == "-":
        if prompt is not None:
            raise UsageError("the prompt comes from -p or from standard input, not both")
        prompt = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    prompt = prompt or ""
    if max_chars < 0:
        raise UsageError(f"-n must be 0 or more, not {max_chars}")

    from charrnn.tasks.language_model.model import LanguageModel

    sampling = {name: options[name] for name in SAMPLING if options[name] is not None}
    loaded = LanguageModel.load(model, device)
    pieces = loaded.stream_samples(
        prompt, max_chars=max_chars, stop=stop, num_samples=num_samples, seed=seed, **sampling
    )
    _print_samples(pieces, prompt, num_samples, as_json, stream=not (no_stream or as_json))


def _print_samples(pieces: Any, prompt: str, num_samples: int, as_json: bool, stream: bool) -> None:
    """Samples in order. The first that is not done yet is shown as it grows; later ones wait for their turn."""
    import json

    waiting = [prompt] * num_samples
    done: list[str | None] = [None] * num_samples
    turn = 0
    for sample, text, reason in pieces:
        waiting[sample] += text
        done[sample] = reason or done[sample]
        while turn < num_samples and (done[turn] or (stream and turn == sample)):
            if as_json:
                record = {"prompt": prompt, "text": waiting[turn][len(prompt) :], "finish_reason": done[turn]}
                _write(json.dumps(record, ensure_ascii=False) + "\n")
            elif done[turn] or stream:
                _write(waiting[turn] + ("\n" if done[turn] else ""))
                waiting[turn] = ""
            if not done[turn]:
                break
            turn += 1


def _write(text: str) -> None:
    # Bytes, so that no terminal setting can make a character an error; lone surrogates become "?".
    sys.stdout.buffer.write(text.encode("utf-8", errors="replace"))
    sys.stdout.buffer.flush()
