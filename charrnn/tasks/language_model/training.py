"""Training a language model from text files into a model directory: new, resumed, or from another model."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charrnn import checkpoint, model_directory
from charrnn.errors import CharrnnError, UsageError
from charrnn.generation.sampling import SamplingConfig
from charrnn.network.config import NetworkConfig
from charrnn.network.device import choose_device, choose_precision
from charrnn.network.model import Network
from charrnn.network.ngrams import NGramsBefore
from charrnn.settings import from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.language_model.card import model_card
from charrnn.tasks.language_model.fine_tune import carried_ngrams, transfer
from charrnn.tasks.language_model.model import LanguageModel, Score
from charrnn.tasks.language_model.objective import LanguageModelObjective
from charrnn.tasks.language_model.recipe import DEFAULT_MINUTES, choose, ngram_dropout, regularization
from charrnn.text.corpora import get as get_corpus
from charrnn.text.dataset import Split, TextConfig, encode_split, make_vocab, require_unchanged, split_text
from charrnn.text.reading import Source, Text, find_text
from charrnn.text.vocab import Vocab
from charrnn.training.config import TrainingConfig
from charrnn.training.directory import RUN, refuse_occupied, require_run
from charrnn.training.trainer import Report, Trainer

DEFAULT_CORPUS = "python-docs"
FINAL_CHARS = 250_000  # of the validation text, scored when training has ended: recurrent cells read it one by one
FINAL_METHOD = "each character scored once with carried state"
SAMPLE_CHARS = 120
SAMPLE_TEMPERATURES = (0.5, 0.8)
FINE_TUNE_LR_SHARE = 0.3
COUNTED_TOKENS = 1 << 22  # of the training text, before training
MOST_NGRAMS = 80_000  # of characters or bytes: of subwords two in a row tell little beyond each


@dataclass(frozen=True)
class Run:
    """Everything that decides how a run goes, all choices made: what `run.json` holds."""

    train: Split
    val: Split
    vocab: Vocab
    network: NetworkConfig
    training: TrainingConfig

    def write(self, path: Path) -> None:
        """Write to `run.json`."""
        values = {
            "train": asdict(self.train),
            "val": asdict(self.val),
            "network": asdict(self.network),
            "training": asdict(self.training),
        }
        atomic_write(path, json.dumps(values, indent=2, default=str) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Run:
        """The run in a model directory. Raises UsageError if there is none to resume."""
        require_run(directory)
        path = directory / "training" / RUN
        values = model_directory.read_json(path)
        config = model_directory.read_config_of("language_model", directory)
        try:
            return cls(
                train=_split_from(values["train"]),
                val=_split_from(values["val"]),
                vocab=Vocab.load(directory / model_directory.TOKENIZER, config["vocab"]["seen_size"]),
                network=from_mapping(NetworkConfig, values["network"]),
                training=from_mapping(TrainingConfig, values["training"]),
            )
        except (KeyError, TypeError, UsageError) as error:
            raise CharrnnError(f"{path}: damaged: {error!r}") from None


def train(
    files: Sequence[str] = (),
    output: str | Path = "model",
    *,
    val: Sequence[str] = (),
    encoding: str = "utf-8",
    text: TextConfig | None = None,
    network: NetworkConfig | None = None,
    training: TrainingConfig | None = None,
    init_from: str | Path | None = None,
    report: Report | None = None,
) -> LanguageModel:
    """Train a language model on text `files` (none: the built-in `python-docs`) into a new directory `output`.

    The last tenth of the text is kept for validation, unless `val` names files of its own. `init_from` is a model
    directory to start from: its network, and what its vocabulary shares with the text. Returns the best model.

    Raises UsageError for a call that can't work, CharrnnError for a run that failed; KeyboardInterrupt on Ctrl-C,
    with the run saved: see `resume`.
    """
    report = report or Report()
    output = Path(output)
    refuse_occupied(output)
    base = LanguageModel.load(init_from, device="cpu") if init_from is not None else None
    text, network, training = text or TextConfig(), network or NetworkConfig(), training or TrainingConfig()
    if training.minutes is training.steps is training.epochs is None:
        training = replace(training, minutes=DEFAULT_MINUTES)
    if base is not None:
        text, network = _settings_of_base(base, text, network)
    lr_asked = training.lr is not None
    network, training = choose(network, training)
    assert training.lr is not None
    device = choose_device(training.device)
    training = replace(
        training,
        device=str(device),
        precision=choose_precision(training.precision, device),
        lr=training.lr * (1.0 if base is None or lr_asked else FINE_TUNE_LR_SHARE),
    )
    if not files:
        files = [str(get_corpus(DEFAULT_CORPUS, report=report.note))]
    train_text = find_text(files, encoding)
    val_text = find_text(val, encoding) if val else None
    assert training.bptt_len is not None
    train_split, val_split = split_text(train_text, val_text, text.val_fraction, training.bptt_len + 1)
    if base is not None and base.vocab.kind == text.vocab == "subword" and text.vocab_size is None:
        vocab = base.vocab  # other subwords would fit none of what the network has learned
    else:
        vocab = make_vocab(train_split, text)
    if base is not None:
        ngrams = carried_ngrams(base.network, base.vocab, vocab)[0]
    else:
        ngrams = _frequent_ngrams(train_split, vocab, network)
    network = replace(network, ngrams=len(ngrams))

    run = Run(train_split, val_split, vocab, network, training)
    session = _Session(run, output, report)
    if session.network.ngrams is not None:
        session.network.ngrams.codes.copy_(ngrams)
    if base is not None:
        result = transfer(base.network, base.vocab, session.network, vocab)
        report.note(
            f"vocabulary: {result.kept:,} entries kept from {init_from}, {result.added:,} added, "
            f"{result.dropped:,} dropped"
        )
    session.begin()
    return session.finish()


def resume(
    output: str | Path, files: Sequence[str] = (), *, encoding: str = "utf-8", report: Report | None = None
) -> LanguageModel:
    """Go on with the run in `output` exactly as if it had not been interrupted.

    The text is read again from where it was, or from `files`, which must hold the same; if it is still in the
    cache it is not needed at all.
    """
    report = report or Report()
    output = Path(output)
    run = Run.read(output)
    if files:
        given = find_text(files, encoding)
        if given.measure()[1] != run.train.sha256:
            raise UsageError("--resume needs the text the run began with, and this is another: leave the files out")
        same_file = run.val.sha256 == run.train.sha256
        run = replace(
            run,
            train=replace(run.train, text=given),
            val=replace(run.val, text=given) if same_file else run.val,
        )
    session = _Session(run, output, report)
    session.trainer.load()
    session.regularize()
    progress = session.trainer.progress
    if progress.finished:
        report.note(f"this run has ended at step {progress.step:,} of {progress.total_steps:,}; nothing to resume")
    else:
        report.note(f"resuming at step {progress.step:,} of {progress.total_steps:,}")
    return session.finish()


class _Session:
    """A run being carried out: its network, ids and trainer, and the files it writes."""

    def __init__(self, run: Run, output: Path, report: Report) -> None:
        self.run, self.output, self.report = run, output, report
        self.device = choose_device(run.training.device)
        self.train_ids, self.val_ids = encode_split(run.train, run.vocab), encode_split(run.val, run.vocab)
        if len(self.val_ids) < 2:
            raise UsageError("the validation text is too short: it needs at least 2 tokens")
        torch.manual_seed(run.training.seed)
        self.network = Network(run.network, len(run.vocab), run.vocab.seen_size)
        self.network.expect(np.bincount(self.train_ids[:COUNTED_TOKENS], minlength=run.vocab.seen_size))
        self.network.to(self.device)
        ratios = (run.train.num_chars / len(self.train_ids), run.val.num_chars / len(self.val_ids))
        assert run.training.batch_size is not None
        assert run.training.bptt_len is not None
        assert run.training.lr is not None
        objective = LanguageModelObjective(
            self.network,
            self.train_ids,
            self.val_ids,
            batch_size=run.training.batch_size,
            bptt_len=run.training.bptt_len,
            precision=run.training.precision,
            chars_per_token=ratios,
            compile=run.training.compile,
        )
        self.trainer = Trainer(
            objective, run.training, run.training.lr, output / "training", self._after_validation, report
        )
        self._describe()

    def begin(self) -> None:
        """Make the model directory and fix the number of steps."""
        run = self.run
        (self.output / "training").mkdir(parents=True, exist_ok=True)
        if run.training.minutes is not None:
            self.report.note("measuring the speed of this machine …")
        run.write(self.output / "training" / RUN)
        atomic_write(self.output / model_directory.TOKENIZER, run.vocab.definition)
        sampling = json.dumps(asdict(SamplingConfig()), indent=2)
        atomic_write(self.output / model_directory.GENERATION_CONFIG, sampling + "\n")
        self._write_config(None)
        self.trainer.plan()
        self.regularize()
        total_steps = self.trainer.progress.total_steps
        self.report.note(
            f"budget: {total_steps:,} steps of {run.training.batch_size} × {run.training.bptt_len} tokens, "
            f"{self.passes(total_steps):.2g} passes over the text; learning rate {run.training.lr:g}, "
            f"weight decay {self.trainer.optimizer.weight_decay:.2g}, dropout {self.network.dropout:.2g}"
            + (f" and of n-grams {ngrams.dropout:.2g}" if (ngrams := self.network.ngrams) else "")
        )

    def finish(self) -> LanguageModel:
        """Train to the end, score the best weights on the validation text, and give them back."""
        if not self.trainer.progress.finished:
            self.trainer.run()
        model = LanguageModel.load(self.output, device=str(self.device))
        figures = model.config.get("training", {})
        if figures.get("validation", {}).get("method") != FINAL_METHOD:  # also if a kill came just before
            self._score(model)
        return model

    def _score(self, model: LanguageModel) -> None:
        """Score the best weights, unless the text itself is lost or has changed."""
        limit = min(self.run.val.stop, self.run.val.start + FINAL_CHARS)
        try:
            require_unchanged(self.run.val)
            score = model.score(self.run.val.text.slice(self.run.val.start, limit))
        except CharrnnError as error:
            self.report.note(f"no final score of the validation text: {error}")
            return
        self._write_config(score)
        whole = "the whole validation text" if limit == self.run.val.stop else f"its first {score.chars:,} characters"
        self.report.note(
            f"validation: {score.bits_per_char:.4f} bits/char ({score.nats_per_char:.4f} nats) on {whole}, "
            f"weights of step {self.trainer.progress.best_step:,}"
        )

    def regularize(self) -> None:
        """Set the dropout and the weight decay asked for, or what suits the number of passes over the text."""
        passes = self.passes(self.trainer.progress.total_steps)
        parameters_per_token = self.network.num_parameters() / len(self.train_ids)
        steps_per_pass = self.trainer.objective.epoch_steps
        dropout, weight_decay = regularization(passes, parameters_per_token, self.trainer.lr, steps_per_pass)
        asked = self.run.network.dropout
        self.network.set_dropout(dropout if asked is None else asked)
        if self.network.ngrams is not None:
            self.network.ngrams.dropout = ngram_dropout(passes)
        if self.run.training.weight_decay is None:
            self.trainer.optimizer.weight_decay = weight_decay

    def passes(self, steps: int) -> float:
        """Passes over the training text in so many steps."""
        return steps / self.trainer.objective.epoch_steps

    def _after_validation(self, is_best: bool) -> None:
        """Keep the weights if they are the best so far, and let the network write a little."""
        if is_best:
            checkpoint.write_weights(self.output, self.network)
            self._write_config(None)
        model = LanguageModel(self.network, self.run.vocab)
        seed = self.trainer.progress.step
        samples = model.generate(max_chars=SAMPLE_CHARS, temperatures=SAMPLE_TEMPERATURES, seed=seed)
        for sample, temperature in zip(samples, SAMPLE_TEMPERATURES, strict=True):
            self.report.sample(sample.text, temperature)

    def _write_config(self, final: Score | None) -> None:
        """`config.json` and the model card, with the figures so far, or the final ones."""
        run, progress = self.run, self.trainer.progress
        validation: dict[str, Any]
        if final is not None:
            validation = final.as_dict() | {"method": FINAL_METHOD}
        elif progress.best_loss is not None:
            bits = progress.best_loss * self.trainer.objective.units.val_factor
            validation = {"nats_per_char": bits * math.log(2), "method": "measured on parts of it during training"}
        else:
            validation = {}
        same_text = run.val.sha256 == run.train.sha256
        figures = {
            "text": ", ".join(Path(source.name).name for source in run.train.text.sources[:5]),
            "split": "the last part of the text" if same_text else "a text of its own",
            "train_chars": run.train.num_chars,
            "val_chars": run.val.num_chars,
            "parameters": self.network.num_parameters(),
            "step": progress.best_step,
            "total_steps": progress.total_steps,
            "passes": self.passes(progress.best_step),
            "minutes": progress.seconds / 60,
            "device": self.device.type,
            "precision": run.training.precision,
            "validation": validation,
        }
        config = checkpoint.describe("language_model", self.network, run.vocab, figures)
        if validation:  # the card first: final figures in config.json mean that nothing is left to do
            card = model_card(self.output.resolve().name, config)
            atomic_write(self.output / model_directory.CARD, card)
        model_directory.write_config(self.output, config)

    def _describe(self) -> None:
        run, note = self.run, self.report.note
        note(f"text: {run.train.num_chars:,} characters to train on, {run.val.num_chars:,} to validate on")
        note(f"vocabulary: {run.vocab.kind}, {run.vocab.seen_size:,} entries in the text ({len(run.vocab):,} in all)")
        note(
            f"network: {run.network.cell}, {run.network.num_layers} layers of {run.network.hidden_size}, "
            f"{self.network.num_parameters():,} parameters{_ngrams_of(self.network)}, "
            f"on {self.device} in {run.training.precision}"
        )


def _settings_of_base(
    base: LanguageModel, text: TextConfig, network: NetworkConfig
) -> tuple[TextConfig, NetworkConfig]:
    """The base model's settings, where the call does not contradict them."""
    shape = base.network.config
    for field in dataclasses.fields(network):
        asked = getattr(network, field.name)
        if field.name != "dropout" and asked != field.default and asked != getattr(shape, field.name):
            raise UsageError(f"--init-from keeps the network of that model: leave {field.name} out")
    return replace(text, vocab=text.vocab or base.vocab.kind), replace(shape, dropout=network.dropout)


def _frequent_ngrams(train: Split, vocab: Vocab, network: NetworkConfig) -> Tensor:
    """Codes of the n-grams of a training text that are worth an embedding each."""
    most = network.ngrams
    if most is None:
        most = 0 if vocab.kind == "subword" else MOST_NGRAMS
    if most == 0:
        return torch.empty(0, dtype=torch.long)
    return NGramsBefore.frequent(encode_split(train, vocab)[:COUNTED_TOKENS], vocab.num_known, most)


def _ngrams_of(network: Network) -> str:
    if network.ngrams is None:
        return ""
    number, width = network.ngrams.embedding.weight.shape
    return f" and {number - 1:,} n-grams of {width}"


def _split_from(values: dict[str, Any]) -> Split:
    sources = tuple(Source(Path(source["path"]), source["name"]) for source in values["text"]["sources"])
    return Split(Text(sources, values["text"]["encoding"]), values["sha256"], values["start"], values["stop"])
