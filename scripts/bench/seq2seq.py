"""Train translators and summarizers in turn and measure them, one JSON line a run.

    scripts/bench/seq2seq.py dates/all.tsv --minutes 3 --on split
    scripts/bench/seq2seq.py pronunciation/train.tsv --val pronunciation/dev.tsv --minutes 30
    scripts/bench/seq2seq.py multi30k/train.en multi30k/train.de --val multi30k/val.en multi30k/val.de \\
        --test multi30k/test.en multi30k/test.de --minutes 30 --run "" --run "cell=lstm"
    scripts/bench/seq2seq.py summaries/train.tsv --val summaries/valid.tsv --task summarize --minutes 60

By default figures are those of validation, by which settings are chosen; --test names what is reported once, at the
end. `--on split` keeps a tenth of the pairs, by source, out of training, for data without a test part. Each --run
holds settings, key=value, that are trained in turn; steps or epochs among them take the place of --minutes. Decoding
is timed greedy and with the model's beam, over the sources measured on, repeated up to --decode of them. --show prints
that many outputs, the first ones, to stderr.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from charrnn.settings import parse_pair
from charrnn.tasks.seq2seq import report as reporting
from charrnn.tasks.seq2seq.data import DataConfig, Pair, Splits, answers, prepare, read_pairs, split
from charrnn.tasks.seq2seq.model import Seq2Seq, Task
from charrnn.tasks.seq2seq.training import configs, fit_seq2seq
from charrnn.training.trainer import Progress, Report

EXAMPLES = ("samples", "best", "worst")


class Notes(Report):
    """Notes and validations on stderr."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
        self.note(f"{progress.seconds:.0f} s, step {progress.step:,}: {val_loss:.4f} nats/token")


def splits_of(arguments: argparse.Namespace, data: DataConfig) -> tuple[Splits, list[Pair]]:
    """What is trained and validated on, and what is measured on."""

    def read(paths: list[str] | None) -> list[Pair] | None:
        return None if paths is None else read_pairs(paths, data, "utf-8", lambda note: None)

    train, val, test = read(arguments.files) or [], read(arguments.val), read(arguments.test)
    if arguments.on == "split":
        train, test = split(train, 0.1, seed=0)
    splits = prepare(train, val, None, data, 0, lambda note: None)
    return splits, test if test is not None else splits.val


def seconds_to_decode(model: Seq2Seq, sources: list[str], **search: Any) -> float:
    begin = time.perf_counter()
    model.translate(sources, **search)
    return round(time.perf_counter() - begin, 1)


def measure(arguments: argparse.Namespace, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    task: Task = arguments.task
    budget = {} if {"steps", "epochs"} & settings.keys() else {"minutes": arguments.minutes}
    parts = configs(task, budget | settings)
    splits, measured = splits_of(arguments, parts.pop("data"))
    model = fit_seq2seq(splits, folder / "model", task=task, report=Notes(), **parts)
    sources = list(answers(measured))
    found = dict(zip(sources, model.translate(sources), strict=True))
    figures = reporting.evaluate(measured, found, task, model.sides.target.kind == "symbol")
    for example in figures["samples"][: arguments.show]:
        print(f"{example['source']}\n  → {example['said']}\n  = {example['target']}", file=sys.stderr)
    row: dict[str, Any] = {name: value for name, value in figures.items() if name not in EXAMPLES}
    row |= {
        name: model.figures[name] for name in ("parameters", "step", "total_steps", "minutes", "val_nats_per_token")
    }
    if arguments.decode:
        some = (sources * (arguments.decode // len(sources) + 1))[: arguments.decode]
        row |= {"decoded": len(some), "greedy_s": seconds_to_decode(model, some, beam=1)}
        row |= {f"beam_{model.search.width}_s": seconds_to_decode(model, some)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a table, or source and target")
    parser.add_argument("--val", nargs="+", metavar="FILE")
    parser.add_argument("--test", nargs="+", metavar="FILE")
    parser.add_argument("--on", choices=["split"])
    parser.add_argument("--task", choices=["translate", "summarize"], default="translate")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--run", action="append", metavar="SETTINGS", help='such as "cell=lstm lr=0.002"')
    parser.add_argument("--decode", type=int, default=0, metavar="N", help="time decoding N sources")
    parser.add_argument("--show", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    if arguments.test and arguments.on:
        parser.error("give --test or --on split, not both")
    for run in arguments.run or [""]:
        settings = dict(map(parse_pair, run.split()))
        with tempfile.TemporaryDirectory() as folder:
            row = measure(arguments, settings, Path(folder))
        about = {
            "data": arguments.files[0],
            "on": "test" if arguments.test else arguments.on or "validation",
            "run": run,
        }
        print(json.dumps(about | row | {"torch": torch.__version__, "cores": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
