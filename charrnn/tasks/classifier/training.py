"""Training a classifier from labelled texts into a model directory: new, or resumed.

A run fits the models beside the network, lets the encoders learn to read the training texts, trains the network on the
labels, and reports. A run that was killed goes on with the training it was in; the models beside the network, which
take seconds, are fitted again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from charrnn import checkpoint, model_directory
from charrnn.errors import UsageError
from charrnn.network.config import NetworkConfig
from charrnn.network.device import choose_device, choose_precision
from charrnn.network.model import Network
from charrnn.settings import changed, distribute, from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.classifier import report as reporting
from charrnn.tasks.classifier.beside import Beside
from charrnn.tasks.classifier.beside_training import BesideTraining
from charrnn.tasks.classifier.calibration import MODELS, Blend, accuracy, fit_blend, probabilities
from charrnn.tasks.classifier.card import model_card
from charrnn.tasks.classifier.data import DataConfig, Example, Splits, prepare, read_examples
from charrnn.tasks.classifier.inputs import logits_of, make_vocabs
from charrnn.tasks.classifier.linear import LinearConfig
from charrnn.tasks.classifier.model import Classifier, write_weights
from charrnn.tasks.classifier.network import (
    WINDOW,
    ClassifierConfig,
    ClassifierNetwork,
    View,
    ViewName,
)
from charrnn.tasks.classifier.objective import (
    ClassifierObjective,
    ObjectiveConfig,
    ReadingModel,
    ReadingObjective,
    TextBatches,
)
from charrnn.tasks.classifier.run import EXAMPLES, KNOWN_WORDS, UNLABELLED, WORDS, Run
from charrnn.tasks.classifier.self_training import enough_lines, some_lines
from charrnn.tasks.classifier.subwords import subword_vectors
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.classifier.words import WordVectors, limited
from charrnn.text.reading import find_text
from charrnn.text.vocab import Vocab
from charrnn.training.config import TrainingConfig
from charrnn.training.directory import refuse_occupied
from charrnn.training.trainer import STATE, Objective, Progress, Report, Trainer

TEXTS_A_MINUTE, MINUTES = 120, (1.0, 7.0)  # by default the network's grow with the root of the number of texts
PASSES, TEXTS_READ = 30, 90_000  # by default, at most so many passes over the texts, or as many as read so many texts
MOST_MINUTES = 7.5  # from the beginning of a run to the end of the network's training, if its least is not more
MAX_CHARS = 512  # of one text in a step
BATCH_CHARS, BATCH_TEXTS = 4096, (32, 256)  # what a step is best made of: as many texts as hold so many characters
ADAPTATION = 0.25  # of the budget, in which a language model to start from learns to read the texts
MOST_MEANT = 2_000_000  # texts times labels up to which what words mean is learned: there are texts enough beyond
LEARNING_RATES = {"mingru": 8e-3, "lstm": 6e-3, "gru": 4e-3, "elman": 1e-3}  # at the peak
WATCHED_CHARS = 1 << 17  # of the validation texts, read at each validation during a run
PRETRAINING, PRETRAINED = "pretraining", "encoders.safetensors"
REPORT_JSON, REPORT_TEXT = "report.json", "report.txt"


def configs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings by name as the arguments of `train_classifier`. Raises UsageError for an unknown name."""
    kinds = {
        "data": DataConfig,
        "network": ClassifierConfig,
        "linear": LinearConfig,
        "objective": ObjectiveConfig,
        "training": TrainingConfig,
    }
    parts = dict(zip(kinds, distribute(settings, *kinds.values()), strict=True))
    return {name: from_mapping(kind, parts[name]) for name, kind in kinds.items()}


def train_classifier(
    train: str,
    output: str | Path,
    *,
    val: str | None = None,
    test: str | None = None,
    unlabelled: str | None = None,
    encoding: str = "utf-8",
    data: DataConfig | None = None,
    report: Report | None = None,
    **settings: Any,
) -> Classifier:
    """Train a classifier on the labelled texts in `train` into a new directory `output`, and return it.

    `train`, `val` and `test` are files, folders or globs, in the formats of `read_examples`; a part of the training
    texts is split off if there is no `val`. `unlabelled` is text of any kind, as a file, a folder or a glob, to learn
    from what words mean, and whose lines, where they are surely of one label, are learned from too. `settings` are the
    further arguments of `fit_classifier`. The report of how good it is lies in the directory.

    Raises UsageError for a call that can't work, CharrnnError for a run that failed; KeyboardInterrupt on Ctrl-C,
    with the run saved once the network's training has begun: see `resume_classifier`.
    """
    report, data, output = report or Report(), data or DataConfig(), Path(output)
    refuse_occupied(output)
    given = [None if path is None else read_examples(path, data, encoding, report.note) for path in (train, val, test)]
    seed = settings["training"].seed if settings.get("training") else 0
    splits = prepare(given[0] or [], given[1], given[2], data, seed, report.note)
    lines = None if unlabelled is None else find_text([unlabelled], encoding).lines()
    return fit_classifier(splits, output, unlabelled=lines, report=report, **settings)


def fit_classifier(
    splits: Splits,
    output: Path,
    *,
    model: str | Path | None = None,
    unlabelled: Iterable[str] | None = None,
    network: ClassifierConfig | None = None,
    linear: LinearConfig | None = None,
    objective: ObjectiveConfig | None = None,
    training: TrainingConfig | None = None,
    report: Report | None = None,
) -> Classifier:
    """The same from texts at hand. `model` is the directory of a language model to start from: the forward encoder
    of the view with its vocabulary is its network. `unlabelled` are lines of text without labels."""
    report, begin = report or Report(), time.monotonic()
    network, training = network or ClassifierConfig(), training or TrainingConfig()
    base = None
    if model is not None:
        base, base_vocab, _ = checkpoint.load_network(Path(model), torch.device("cpu"))
        network = _shape_of_base(base.config, base_vocab, network)
    elif network.char_ngrams or network.subword_ngrams:
        raise UsageError("n-grams are those of a language model to start from: give --model, or leave them out")
    texts = [example.text for example in splits.train]
    more = list(limited(filter(str.strip, unlabelled or ())))
    if unlabelled is not None and not more:
        raise UsageError("the text without labels is empty")
    objective, network = objective or ObjectiveConfig(), network.suited(texts, more_text=bool(more))
    assert network.cell is not None
    assert network.subword_vocab_size is not None
    if objective.pretraining is None:
        objective = replace(objective, pretraining=0.0 if base is None else ADAPTATION)
    bptt_len = training.bptt_len or MAX_CHARS
    if bptt_len + 2 > WINDOW:
        raise UsageError(f"bptt_len must be at most {WINDOW - 2}, not {bptt_len}")
    if training.compile:
        raise UsageError("compile is for language models: leave it out")
    device = choose_device(training.device)
    widest = max(network.encoder(name).width for name in network.view_names)
    training = replace(
        training,
        device=str(device),
        precision=choose_precision(training.precision, device, widest),
        bptt_len=bptt_len,
        batch_size=training.batch_size or _batch_size(texts, bptt_len),
        lr=training.lr or LEARNING_RATES[network.cell],
    )
    given: dict[ViewName, Vocab] = {} if base is None else {_view_of(base_vocab): base_vocab}
    vocabs = make_vocabs(texts, network.view_names, network.subword_vocab_size, given, more)
    linear = linear or LinearConfig()
    words = _learn_words(texts, more, len(splits.labels), report) if more else None
    learned = linear.self_training and not splits.multi_label
    drawn = some_lines(more, enough_lines(len(texts), len(splits.labels)) if learned else 0, training.seed)
    known_words = WordCounts.of(more) if more and linear.spelling else None
    run = Run(splits, vocabs, network, linear, objective, training, words, known_words, drawn)
    session = _Session(run, output, report, begin)
    if more and "subword" in vocabs.keys() - given.keys():
        session.start_subwords(more)
    if base is not None:
        session.start_from(base, _view_of(base_vocab))
    (output / "training").mkdir(parents=True, exist_ok=True)
    session.run.write(output)
    return session.carry_out()


def resume_classifier(output: str | Path, *, report: Report | None = None) -> Classifier:
    """Go on with the run in `output` exactly as if it had not been interrupted."""
    report, output = report or Report(), Path(output)
    if (output / REPORT_JSON).exists():
        report.note("this run has ended: nothing to resume")
        return Classifier.load(output)
    return _Session(Run.read(output), output, report, time.monotonic()).carry_out()


def _learn_words(texts: Sequence[str], more: Sequence[str], num_labels: int, report: Report) -> WordVectors | None:
    """What words mean, from text without labels and, as it is of the same kind as what comes, the training texts."""
    if len(texts) * num_labels > MOST_MEANT:
        return None
    begin = time.monotonic()
    try:
        words = WordVectors.fit(chain(texts, more))
    except UsageError as error:  # texts that may be learned from all the same
        report.note(f"what words mean is not learned: {error}")
        return None
    report.note(f"words: {len(words):,} with vectors, from text without labels, in {time.monotonic() - begin:.1f} s")
    return words


class _Session:
    """A run being carried out: its models, and the files it writes."""

    def __init__(self, run: Run, output: Path, report: Report, begin: float) -> None:
        """`begin` is when it began, by the monotonic clock."""
        self.run, self.output, self.report, self.begin = run, output, report, begin
        self.device = choose_device(run.training.device)
        self.texts = [example.text for example in run.splits.train]
        self.val_texts = [example.text for example in run.splits.val]
        self.targets, self.val_targets = (self._targets(part) for part in (run.splits.train, run.splits.val))
        train, val = (self.texts, self.targets), (self.val_texts, self.val_targets)
        self.beside_training = BesideTraining(run, train, val, report)
        self.watched = _some(self.val_texts, run.training)
        self.seconds: dict[str, float] = {}
        torch.manual_seed(run.training.seed)
        sizes = {name: (len(vocab), vocab.seen_size) for name, vocab in run.vocabs.items()}
        self.network = ClassifierNetwork(run.network, sizes, len(run.splits.labels)).to(self.device)
        self.reading = ReadingModel(self.network).to(self.device)

    def start_subwords(self, more: Sequence[str]) -> None:
        """Let the embeddings of subwords start from what they stand among in text without labels, and in the texts."""
        begin, vocab = time.monotonic(), self.run.vocabs["subword"]
        vectors = subword_vectors(vocab, chain(self.texts, more), self.run.network.encoder("subword").width)
        self.network.start_subwords(vectors)
        self.report.note(
            f"subwords: {len(vectors):,} start from what they stand among, in {time.monotonic() - begin:.1f} s"
        )

    def start_from(self, base: Network, name: ViewName) -> None:
        """Take the forward encoder of a view, and what it predicts with unless that is tied, from a language model."""
        weights = checkpoint.network_tensors(base)
        names = self.run.network.view_names * len(self.network.readers)
        with torch.no_grad():
            for own_name, view, heads in zip(names, self.reading.views, self.reading.heads, strict=True):
                if own_name == name:
                    encoder, head = cast(View, view).forwards, cast(nn.Linear, cast(nn.ModuleList, heads)[0])
                    for own, weight in checkpoint.network_tensors(encoder).items():
                        weight.copy_(weights[own])
                    if head.weight is not encoder.embedding.weight:
                        head.weight.copy_(base.head.weight)
                    head.bias.copy_(base.head.bias)

    def carry_out(self) -> Classifier:
        """All parts of the run that are not done yet."""
        self._describe()
        begin = time.monotonic()
        self.beside = self.beside_training.fit()
        self.seconds["models beside the network"] = time.monotonic() - begin
        self.val_scores = self.beside.scores(self.val_texts)
        self._settle_budget()
        if self.run.objective.pretraining:
            self._pretrain(self.run.objective.pretraining)
        self._train()
        return self._finish()

    def _settle_budget(self) -> None:
        """If none was given: the passes that suit the texts, in the minutes that are left for the network, also for a
        run that goes on from here."""
        training = self.run.training
        if training.minutes is training.steps is training.epochs is None:
            minutes = default_minutes(len(self.texts), (time.monotonic() - self.begin) / 60)
            epochs = default_epochs(len(self.texts))
            self.run = replace(self.run, training=replace(training, minutes=minutes, epochs=epochs))
            self.run.write(self.output)

    def _pretrain(self, share: float) -> None:
        """Let the encoders learn to read, in a share of the budget, and keep the best."""
        directory = self.output / "training" / PRETRAINING
        directory.mkdir(exist_ok=True)
        model = self.reading
        val_texts = [self.val_texts[i] for i in self.watched]
        objective = ReadingObjective(model, self._batches(), val_texts, precision=self.run.training.precision)

        def keep(is_best: bool) -> None:
            if is_best:
                checkpoint.save_tensors(directory / PRETRAINED, dict(model.views.named_parameters()))

        self.report.note("learning to read the texts")
        progress = self._run(objective, self.run.training.part(share), directory, keep)
        self.seconds["learning to read"] = progress.seconds
        best, _ = checkpoint.load_tensors(directory / PRETRAINED)
        with torch.no_grad():
            for name, weight in model.views.named_parameters():
                weight.copy_(best[name])

    def _train(self) -> None:
        """Train the network on the labels."""
        torch.manual_seed(self.run.training.seed)
        self.objective = ClassifierObjective(
            self.network,
            self.reading,
            self._batches(),
            self.targets,
            [self.val_texts[i] for i in self.watched],
            self.val_targets[self.watched],
            self.beside.linear.spelling,
            precision=self.run.training.precision,
        )
        weight = self.run.objective.reading
        self.report.note("learning the labels" + (f", and to read, at weight {weight:g} in the loss" if weight else ""))
        assert self.run.objective.pretraining is not None
        share = 1 - self.run.objective.pretraining
        directory = self.output / "training"
        self.progress = self._run(self.objective, self.run.training.part(share), directory, self._keep)
        self.seconds["learning the labels"] = self.progress.seconds

    def _run(
        self, objective: Objective, config: TrainingConfig, directory: Path, keep: Callable[[bool], None]
    ) -> Progress:
        """Plan and train, or go on with what was planned."""
        assert config.lr is not None
        trainer = Trainer(objective, config, config.lr, directory, keep, self.report)
        if (directory / STATE).exists():
            trainer.load()
        else:
            trainer.plan()
        progress = trainer.progress
        if not progress.finished:
            self.report.note(
                f"  {progress.total_steps:,} steps of at most {config.batch_size} texts, "
                f"{progress.total_steps / objective.epoch_steps:.2g} passes"
                + (f", from step {progress.step:,} on" if progress.step else "")
            )
            trainer.run()
        return progress

    def _keep(self, is_best: bool) -> None:
        """Say how good the weights are, and keep them if they are the best so far."""
        logits, targets = self.objective.val_logits, self.objective.val_targets
        scores = [logits, *(each[self.watched] for each in self.val_scores)]
        blend = fit_blend(scores, targets)
        blended, alone = accuracy(blend.logits(*scores), targets), accuracy(logits, targets)
        self.report.note(f"  {100 * blended:.1f} % right with the models beside it, {100 * alone:.1f} % alone")
        if is_best:
            weights = checkpoint.network_tensors(self.network) | self.objective.average.weights
            write_weights(self.output, weights, self.beside)
            model_directory.write_config(self.output, self._classifier(self.beside, blend, {}).config())

    def _finish(self) -> Classifier:
        """Fit what is fitted last, report, and give the finished classifier back."""
        run, splits = self.run, self.run.splits
        best = Classifier.load(self.output, device=str(self.device))
        self.network = best.network
        logits = logits_of(best.network, self.val_texts, run.vocabs, "fp32", self.beside.linear.spelling)
        scores = [logits, *self.val_scores]
        blend = fit_blend(scores, self.val_targets)
        found = probabilities(blend.logits(*scores), splits.multi_label)
        report: dict[str, Any] = {
            "validation": reporting.evaluate(splits.labels, splits.val, found, splits.multi_label),
            "alone": {name: accuracy(each, self.val_targets) for name, each in zip(MODELS, scores, strict=False)},
        }
        refit = run.linear.refit and not splits.val_was_given
        beside = self.beside_training.refit(self.beside) if refit else self.beside
        classifier = self._classifier(beside, blend, {})
        if splits.test:
            begin = time.monotonic()
            found = classifier.probabilities([example.text for example in splits.test])
            self.seconds["test"] = time.monotonic() - begin
            report["test"] = reporting.evaluate(splits.labels, splits.test, found, splits.multi_label)
        report["seconds"] = self.seconds
        classifier.figures = self._figures(report)
        classifier.save(self.output)
        atomic_write(self.output / model_directory.CARD, model_card(self.output.resolve().name, classifier.config()))
        atomic_write(self.output / REPORT_TEXT, reporting.render(report).encode("utf-8", errors="replace"))
        atomic_write(self.output / REPORT_JSON, json.dumps(report, indent=1) + "\n")
        for name in (EXAMPLES, WORDS, KNOWN_WORDS, UNLABELLED):  # private texts and words, no longer needed
            (self.output / "training" / name).unlink(missing_ok=True)
        return classifier

    def _classifier(self, beside: Beside, blend: Blend, figures: dict[str, Any]) -> Classifier:
        splits = self.run.splits
        return Classifier(
            splits.labels,
            self.network,
            self.run.vocabs,
            beside,
            blend,
            multi_label=splits.multi_label,
            figures=figures,
        )

    def _figures(self, report: dict[str, Any]) -> dict[str, Any]:
        run = self.run
        names = ("texts", "accuracy", "macro_f1", "expected_calibration_error")
        parts = {
            part: {name: report[part][name] for name in names} for part in ("validation", "test") if part in report
        }
        return parts | {
            "train_texts": len(self.texts),
            "split": "given" if run.splits.val_was_given else "split off at random, by label",
            "parameters": self.network.num_parameters(),
            "texts_without_labels": len(self.beside_training.heard),
            "words": 0 if self.beside.linear.words is None else len(self.beside.linear.words),
            "step": self.progress.best_step,
            "total_steps": self.progress.total_steps,
            "minutes": sum(self.seconds.values()) / 60,
            "device": self.device.type,
            "precision": run.training.precision,
        }

    def _batches(self) -> TextBatches:
        training = self.run.training
        assert training.batch_size is not None
        assert training.bptt_len is not None
        return TextBatches(
            self.texts,
            self.run.vocabs,
            self.run.objective,
            batch_size=training.batch_size,
            max_chars=training.bptt_len,
            seed=training.seed,
            device=self.device,
        )

    def _targets(self, examples: Sequence[Example]) -> Tensor:
        """Classes (N,), or with several labels a text (N, C) zeros and ones."""
        index = {label: i for i, label in enumerate(self.run.splits.labels)}
        if not self.run.splits.multi_label:
            return torch.tensor([index[example.labels[0]] for example in examples])
        targets = torch.zeros(len(examples), len(index))
        for row, example in zip(targets, examples, strict=True):
            row[[index[label] for label in example.labels]] = 1.0
        return targets

    def _describe(self) -> None:
        splits, note = self.run.splits, self.report.note
        parts = [f"{len(splits.train):,} to train on", f"{len(splits.val):,} to validate on"]
        parts += [f"{len(splits.test):,} to test on"] if splits.test else []
        note(f"texts: {', '.join(parts)}; {len(splits.labels):,} labels")
        views = ", ".join(f"{name} {vocab.seen_size:,} entries" for name, vocab in self.run.vocabs.items())
        note(
            f"network: {self.network.num_parameters():,} parameters, on {self.device} in "
            f"{self.run.training.precision}; vocabulary: {views}"
        )


def _some(texts: Sequence[str], training: TrainingConfig) -> list[int]:
    """Indices of texts, drawn at random if all are too much to read again and again."""
    assert training.bptt_len is not None
    draw = np.random.default_rng(training.seed)
    order = draw.permutation(len(texts))
    chars = np.cumsum([min(len(texts[i]), training.bptt_len) for i in order])
    return sorted(order[: max(int((chars <= WATCHED_CHARS).sum()), 1)].tolist())


def default_minutes(num_texts: int, spent: float) -> float:
    """Minutes to train the network on so many texts, where some are spent on what comes before."""
    least, most = MINUTES
    return max(min(math.sqrt(num_texts / TEXTS_A_MINUTE), most, MOST_MINUTES - spent), least)


def default_epochs(num_texts: int) -> float:
    """Passes over so many texts, at most: of few more are needed, of many more would be learning by heart."""
    return max(PASSES, TEXTS_READ / num_texts)


def _batch_size(texts: Sequence[str], max_chars: int) -> int:
    mean = sum(min(len(text), max_chars) for text in texts) / len(texts)
    least, most = BATCH_TEXTS
    return min(max(round(BATCH_CHARS / max(mean, 1)), least), most)


def _view_of(vocab: Vocab) -> ViewName:
    return "subword" if vocab.kind == "subword" else "char"


def _shape_of_base(base: NetworkConfig, vocab: Vocab, network: ClassifierConfig) -> ClassifierConfig:
    """The network with the shape of a language model to start from, where the call does not contradict it."""
    view = _view_of(vocab)
    shape: dict[str, Any] = {
        "cell": base.cell,
        f"{view}_width": base.width,
        f"{view}_layers": base.depth,
        f"{view}_ngrams": base.ngrams or 0,
    }
    for name, value in changed(network).items():
        if name in shape and value != shape[name]:
            raise UsageError(f"--model keeps the network of that model: leave {name} out")
    if network.views not in (None, "both", view):
        raise UsageError(f"that model reads {vocab.kind}s: views must be {view} or both, not {network.views}")
    if base.cell == "elman" and base.activation != "tanh":
        raise UsageError(f"a classifier's elman cells have tanh, that model's {base.activation}: choose another")
    # Readers that start from the same weights hardly differ: one is enough.
    shape |= {"views": network.views or "both", "num_readers": network.num_readers or 1}
    return replace(network, **shape)
