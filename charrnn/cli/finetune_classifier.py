"""`scripts/finetune_classifier.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from charrnn.cli import Command

# Options that are settings of the same name, so that a TOML file and --set can hold them too.
SETTINGS = ("minutes", "steps", "epochs", "device", "seed")
DATA_SETTINGS = ("text_column", "label_column", "label_separator")


@click.command(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("train", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Model directory to make.")
@click.option("--val", metavar="FILE", help="Labelled texts for validation (default: a tenth of TRAIN, at most 2,000).")
@click.option("--test", metavar="FILE", help="Labelled texts for the report.")
@click.option("--model", type=click.Path(path_type=Path), metavar="BASE", help="Start from this language model.")
@click.option("--unlabelled", metavar="FILE", help="Text without labels, to learn from too.")
@click.option("--text-column", metavar="NAME", help="Column of the texts: its name, or its number from 1.")
@click.option("--label-column", metavar="NAME", help="Column of the labels.")
@click.option("--multi-label", is_flag=True, help="A text has any number of labels.")
@click.option("--label-separator", metavar="TEXT", help="What stands between several labels in one cell.")
@click.option("--balanced", is_flag=True, help="Every label counts the same, however few its texts.")
@click.option("--minutes", type=float, help="Time to train (default: at most 1 to 7, by the number of texts).")
@click.option("--steps", type=int, help="Or: number of steps.")
@click.option("--epochs", type=float, help="Or: passes over the texts; with --minutes, whichever is less.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the files.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting, such as lr=0.002.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in the model directory.")
@click.option("--device", help="auto, cuda, mps or cpu (default auto).")
@click.option("--seed", type=int, help="Of everything drawn at random (default 0).")
@click.option("--plot", is_flag=True, help="Draw the confusion matrix to confusion.png (needs matplotlib).")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar or notes.")
def finetune_classifier(
    train: str | None,
    output: Path,
    val: str | None,
    test: str | None,
    model: Path | None,
    unlabelled: str | None,
    multi_label: bool,
    balanced: bool,
    encoding: str,
    config: Path | None,
    pairs: tuple[str, ...],
    resume: bool,
    plot: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a classifier on the labelled texts in TRAIN, and report how good it is.

    TRAIN is a CSV or TSV file or JSON lines with columns of text and label, or lines `__label__x text`, or a folder
    of one file or one folder a label; - is standard input. The report goes to standard output, and with the model
    into its directory.
    """
    from charrnn.errors import UsageError
    from charrnn.settings import parse_pair, read_toml

    settings = read_toml(config) if config else {}
    settings |= dict(map(parse_pair, pairs))
    settings |= {name: options[name] for name in (*SETTINGS, *DATA_SETTINGS) if options[name] is not None}
    settings |= {name: True for name, given in (("multi_label", multi_label), ("balanced", balanced)) if given}
    if plot:
        from charrnn.cli.plot import require_matplotlib

        require_matplotlib()
        if settings.get("multi_label"):
            raise UsageError("texts with several labels have no confusion matrix: leave --plot out")
    files = {"val": val, "test": test, "model": model, "unlabelled": unlabelled}
    given = [name for name, value in files.items() if value is not None]
    if resume and (train or settings or given):
        names = [*(["TRAIN"] if train else []), *settings, *given]
        raise UsageError(f"--resume goes on with the texts and settings of the run: leave {', '.join(names)} out")
    if not resume and train is None:
        raise UsageError("TRAIN is missing: a file or folder of labelled texts")

    from charrnn import api
    from charrnn.cli.lines import write
    from charrnn.cli.progress import Terminal
    from charrnn.tasks.classifier.training import REPORT_JSON, REPORT_TEXT, configs
    from charrnn.training.trainer import Report

    report = Report() if quiet else Terminal()
    try:
        if resume:
            api.resume_classifier(output, report=report)
        else:
            assert train is not None
            configs(settings)  # refuses the names of the function's other arguments
            api.train_classifier(train, output, encoding=encoding, report=report, **files, **settings)
    except KeyboardInterrupt:
        if any((output / "training").rglob("state.safetensors")):
            click.echo(f"saved; go on with: finetune_classifier.py -o {output} --resume", err=True)
        raise
    write([(output / REPORT_TEXT).read_text(encoding="utf-8")])
    if plot:
        from charrnn.cli.plot import plot_confusion

        click.echo(f"confusion matrix: {plot_confusion(output / REPORT_JSON)}", err=True)
    if not quiet:
        click.echo(f'model: {output}\nclassify with it: charrnn classify {output} "a text"', err=True)
