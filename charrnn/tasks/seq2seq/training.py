"""Training a network from pairs of texts into a model directory: new, or resumed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn import checkpoint, model_directory
from charrnn.errors import UsageError
from charrnn.network.device import choose_device, choose_precision
from charrnn.settings import distribute, from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.seq2seq import report as reporting
from charrnn.tasks.seq2seq.card import model_card
from charrnn.tasks.seq2seq.data import DataConfig, Pair, Splits, answers, prepare, read_pairs
from charrnn.tasks.seq2seq.inputs import Encoded, Sides, VocabConfig
from charrnn.tasks.seq2seq.joint import JointModel
from charrnn.tasks.seq2seq.lexicon import Lexicon
from charrnn.tasks.seq2seq.model import JOINT, Seq2Seq, Task, make_network
from charrnn.tasks.seq2seq.network import Seq2SeqConfig
from charrnn.tasks.seq2seq.objective import ObjectiveConfig, Seq2SeqObjective
from charrnn.tasks.seq2seq.reward import RewardObjective
from charrnn.tasks.seq2seq.run import EXAMPLES, Run
from charrnn.tasks.seq2seq.search import Hypothesis, SearchConfig, ranked
from charrnn.tasks.seq2seq.start import Start
from charrnn.training.config import TrainingConfig
from charrnn.training.directory import refuse_occupied
from charrnn.training.trainer import STATE, Progress, Report, Trainer

DEFAULT_MINUTES = 10.0
BATCH_PAIRS = 256  # in a step, at most
LEARNING_RATES = {"mingru": 8e-3, "lstm": 6e-3, "gru": 4e-3, "elman": 1e-3}  # at the peak
REWARDED = 1 / 3  # of the budget, where a summarizer has time for it
REWARDED_MINUTES = 6.0  # for each million entries of the pairs, from which on it has: it must write well before
REWARDED_RATE = 1 / 8  # of the learning rate
REWARD_VALIDATIONS = 4  # while it learns from what it writes: most is gained last, as the rate comes near zero
JOINT_PAIRS = 5000  # of validation, at most, by which the weight of a joint-sequence model is chosen
JOINT_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)  # of a joint-sequence model that are tried
WATCHED_PAIRS = 1000  # of validation, at most, read at each validation during a run, and reported on
RARELY, LOOKED_AT = 0.05, 1000  # share of targets, of about so many, that repeat what a summary then does not
LONGEST_ROW = 8  # entries that are looked for twice in a target
LONGER_RATIO = 1.5  # targets may be so much longer than nearly all of training, for each entry of the source
REPORT_JSON, REPORT_TEXT = "report.json", "report.txt"
REWARD = "reward"  # in `training`: the part of a run that learns from what the network writes

# What differs between the tasks beside their data.
TASK_SETTINGS: dict[Task, dict[str, Any]] = {
    "translate": {},
    # A summary's words are those of its source: they are copied, most from its beginning and end. It is short beside
    # it: a step needs more entries to have enough that are written.
    "summarize": {"lexicon": 0, "max_source": 200, "batch_tokens": 3000},
}


def configs(task: Task, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings by name as the arguments of `train_seq2seq`. Raises UsageError for an unknown name."""
    kinds = {
        "data": DataConfig,
        "vocab": VocabConfig,
        "network": Seq2SeqConfig,
        "objective": ObjectiveConfig,
        "search": SearchConfig,
        "training": TrainingConfig,
    }
    parts = dict(zip(kinds, distribute(TASK_SETTINGS[task] | dict(settings), *kinds.values()), strict=True))
    return {name: from_mapping(kind, parts[name]) for name, kind in kinds.items()}


def train_seq2seq(
    train: Sequence[str],
    output: str | Path,
    *,
    task: Task = "translate",
    val: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
    encoding: str = "utf-8",
    data: DataConfig | None = None,
    report: Report | None = None,
    **settings: Any,
) -> Seq2Seq:
    """Train a network on pairs of texts into a new directory `output`, and return it.

    `train`, `val` and `test` are one table or two aligned files each: see `read_pairs`. A part of the training pairs
    is split off if there is no `val`. `settings` are the further arguments of `fit_seq2seq`. The report of how good it
    is lies in the directory.

    Raises UsageError for a call that can't work, CharrnnError for a run that failed; KeyboardInterrupt on Ctrl-C,
    with the run saved: see `resume_seq2seq`.
    """
    report, data, output = report or Report(), data or DataConfig(), Path(output)
    refuse_occupied(output)
    given = [None if paths is None else read_pairs(paths, data, encoding, report.note) for paths in (train, val, test)]
    seed = settings["training"].seed if settings.get("training") else 0
    splits = prepare(given[0] or [], given[1], given[2], data, seed, report.note)
    return fit_seq2seq(splits, output, task=task, report=report, **settings)


def fit_seq2seq(
    splits: Splits,
    output: Path,
    *,
    task: Task = "translate",
    vocab: VocabConfig | None = None,
    network: Seq2SeqConfig | None = None,
    objective: ObjectiveConfig | None = None,
    search: SearchConfig | None = None,
    training: TrainingConfig | None = None,
    init_from: str | Path | None = None,
    report: Report | None = None,
) -> Seq2Seq:
    """The same from pairs at hand. `init_from` is the directory of a language model to start from."""
    report, training, search = report or Report(), training or TrainingConfig(), search or SearchConfig()
    network, objective = network or Seq2SeqConfig(), objective or ObjectiveConfig()
    if init_from is not None:
        network, init_from = Start(init_from).suited(network), str(Path(init_from).resolve())
    if training.minutes is training.steps is training.epochs is None:
        training = replace(training, minutes=DEFAULT_MINUTES)
    if training.bptt_len is not None:
        raise UsageError("a pair is read as a whole: leave bptt_len out (max_source cuts long sources)")
    if training.compile:
        raise UsageError("compile is for language models: leave it out")
    device = choose_device(training.device)
    training = replace(
        training,
        device=str(device),
        precision=choose_precision(training.precision, device),
        batch_size=training.batch_size or BATCH_PAIRS,
        lr=training.lr or LEARNING_RATES[network.cell],
    )
    sides = Sides.suited(splits.train, vocab or VocabConfig())
    train = Encoded.of(splits.train, sides, network.max_source, network.max_target)
    network = network.suited(training.minutes, sides, train)
    if objective.rewarded is None:
        ample = training.minutes is not None and training.minutes > REWARDED_MINUTES * train.millions()
        objective = replace(objective, rewarded=REWARDED if task == "summarize" and ample else 0.0)
    if search.joint_weight and not JointModel.suits(sides, train):
        raise UsageError("joint_weight is for targets that can follow their sources entry by entry: leave it out")
    if search.max_ratio is None:
        search = replace(search, max_ratio=_longest_ratio(train))
    if task == "summarize" and search.no_repeat_ngram is None:
        search = replace(search, no_repeat_ngram=_rarely_repeated(train))
    run = Run(task, splits, sides, network, objective, search, training, init_from)
    session = _Session(run, output, report)
    (output / "training").mkdir(parents=True, exist_ok=True)
    session.run.write(output)
    return session.carry_out()


def resume_seq2seq(output: str | Path, *, report: Report | None = None) -> Seq2Seq:
    """Go on with the run in `output` exactly as if it had not been interrupted."""
    report, output = report or Report(), Path(output)
    if (output / REPORT_JSON).exists():
        report.note("this run has ended: nothing to resume")
        return Seq2Seq.load(output)
    return _Session(Run.read(output), output, report).carry_out()


class _Session:
    """A run being carried out: its network, and the files it writes."""

    def __init__(self, run: Run, output: Path, report: Report) -> None:
        self.run, self.output, self.report = run, output, report
        self.device = choose_device(run.training.device)
        torch.manual_seed(run.training.seed)
        self.network = make_network(run.network, run.sides).to(self.device)
        self.val = _some(run.splits.val, WATCHED_PAIRS, run.training.seed)
        self.seconds: dict[str, float] = {}
        self.progress: list[Progress] = []  # of learning what is likely, and of learning by rewards

    def carry_out(self) -> Seq2Seq:
        """Train from where the run is, report, and give the best model back."""
        run, training = self.run, self.run.training
        assert training.lr is not None
        limits = run.network.max_source, run.network.max_target
        train, val = (Encoded.of(part, run.sides, *limits) for part in (run.splits.train, self.val))
        self._describe(train)
        self._prepare(train)
        assert run.objective.rewarded is not None
        folder, rewarded = self.output / "training", run.objective.rewarded
        if not (folder / STATE).exists():
            self._start()
        options: dict[str, Any] = {"batch_size": training.batch_size, "precision": training.precision}
        likelihood = Seq2SeqObjective(self.network, train, val, run.objective, seed=training.seed, **options)
        self._train(likelihood, training.part(1 - rewarded), training.lr, folder)
        if rewarded:
            self.report.note("learning from what it writes itself")
            self._take_best()
            reward = RewardObjective(self._model({}), train, val, run.objective, seed=training.seed + 1, **options)
            part = training.part(rewarded)
            if training.minutes is not None:  # what is left, whether the first part was quicker or slower than planned
                left = training.minutes - self.progress[0].seconds / 60
                part = replace(part, minutes=max(left, rewarded * training.minutes / 2))
            part = replace(part, num_validations=min(part.validations, REWARD_VALIDATIONS))
            self._train(reward, part, REWARDED_RATE * training.lr, folder / REWARD)
        self.seconds["training"] = sum(progress.seconds for progress in self.progress)
        return self._finish()

    def _train(self, objective: Seq2SeqObjective, config: TrainingConfig, lr: float, folder: Path) -> None:
        """Train within this budget, or go on with that."""
        folder.mkdir(exist_ok=True)
        self.objective = objective
        trainer = Trainer(objective, config, lr, folder, self._keep, self.report)
        if (folder / STATE).exists():
            trainer.load()
        else:
            if self.progress:  # then there are weights to do better than
                trainer.progress.best_loss = objective.validate()
            trainer.plan()
        progress = trainer.progress
        self.progress.append(progress)
        if not progress.finished:
            self.report.note(
                f"{progress.total_steps:,} steps of about {objective.units.per_step:.0f} pairs, "
                f"{progress.total_steps / objective.epoch_steps:.2g} passes"
                + (f", from step {progress.step:,} on" if progress.step else "")
            )
            trainer.run()

    def _prepare(self, train: Encoded) -> None:
        """Tell the networks what is counted, not trained."""
        run, lexicon = self.run, None
        written = np.concatenate([target[1:] for target in train.targets])
        counts = np.bincount(written, minlength=len(run.sides.target.vocab))
        if run.network.lexicon:
            lexicon = Lexicon.learn(train.sources, train.targets, len(run.sides.source.vocab), run.network.lexicon)
        for network in self.network.networks:
            network.decoder.expect(counts)
            if lexicon is not None:
                network.decoder.look_up(lexicon)
            around = network.encoder.around
            if around is not None:
                around.codes.copy_(around.frequent(train.sources, around.num_entries, len(around.codes)))

    def _start(self) -> None:
        """Take what a language model knows, if there is one to start from."""
        if self.run.init_from is not None:
            kept = Start(self.run.init_from).fill(self.network, self.run.sides)
            seen = self.run.sides.target.vocab.seen_size
            self.report.note(f"starts from {self.run.init_from}: it knows {kept:,} of {seen:,} target entries")

    def _keep(self, is_best: bool) -> None:
        """Keep the weights if they are the best so far, and show what they make of a text."""
        if is_best:
            weights = checkpoint.network_tensors(self.network) | self.objective.average.weights
            checkpoint.save_tensors(self.output / model_directory.WEIGHTS, weights)
            self._model({}).write_settings(self.output)
        pair = self.val[0]
        with self.objective.average.in_place():
            (found,) = self._model({}).translate(pair.source, beam=1)
        self.report.note(f"  {pair.source[:100]} → {found.text[:100]}")

    def _take_best(self) -> None:
        """Go back to the best weights so far."""
        weights, _ = checkpoint.load_tensors(self.output / model_directory.WEIGHTS)
        with torch.no_grad():
            for name, own in checkpoint.network_tensors(self.network).items():
                own.copy_(weights[name])

    def _finish(self) -> Seq2Seq:
        """Report on the best weights, and give the finished model back."""
        run = self.run
        self._take_best()
        best = self._model({})
        self._join(best)
        report: dict[str, Any] = {"task": run.task}
        for part, pairs in (("validation", self.val), ("test", run.splits.test)):
            if pairs:
                self.report.note(f"{part}: {len(pairs):,} pairs, with a beam of {best.search.width}")
                begin = time.monotonic()
                sources = list(answers(pairs))
                found = dict(zip(sources, best.translate(sources), strict=True))
                self.seconds[part] = time.monotonic() - begin
                report[part] = reporting.evaluate(pairs, found, run.task, run.sides.target.kind == "symbol")
        report["seconds"] = self.seconds
        best.figures = self._figures(report) | {"joint_weight": best.search.joint_weight}
        best.write_settings(self.output)
        atomic_write(self.output / model_directory.CARD, model_card(self.output.resolve().name, best.config()))
        atomic_write(self.output / REPORT_TEXT, reporting.render(report).encode("utf-8", errors="replace"))
        atomic_write(self.output / REPORT_JSON, json.dumps(report, indent=1) + "\n")
        (self.output / "training" / EXAMPLES).unlink(missing_ok=True)  # private texts, no longer needed
        return best

    def _join(self, model: Seq2Seq) -> None:
        """Put a joint-sequence model beside a model's network, if that is asked for or makes it better."""
        begin = time.monotonic()
        joint, weight = self._joint_model(model)
        model.search = replace(model.search, joint_weight=weight)
        if joint is None:
            return
        if weight:
            model.joint = joint
            joint.save(self.output / JOINT)
            self.report.note(f"a joint-sequence model helps to choose, with a weight of {weight:g}")
        self.seconds["joint model"] = time.monotonic() - begin

    def _joint_model(self, model: Seq2Seq) -> tuple[JointModel | None, float]:
        """A joint-sequence model, and the weight with which most validation sources get a valid target."""
        run, weight, train = self.run, self.run.search.joint_weight, self.objective.train
        if weight == 0 or not JointModel.suits(run.sides, train):
            return None, 0.0
        if weight is not None:
            return JointModel.learn(train, run.sides), weight
        valid = answers(_some(run.splits.val, JOINT_PAIRS, run.training.seed))
        sources = run.sides.source.encode_shortened(list(valid), run.network.max_source)
        width = replace(model.search, joint_weight=max(JOINT_WEIGHTS)).width
        found = model.hypotheses(sources, replace(model.search, beam=width), width)
        if self._num_right(found, valid, model.search) == len(valid):
            return None, 0.0
        joint = JointModel.learn(train, run.sides)
        found = list(map(joint.judged, sources, found))
        right = [self._num_right(found, valid, replace(model.search, joint_weight=weight)) for weight in JOINT_WEIGHTS]
        return joint, JOINT_WEIGHTS[right.index(max(right))]

    def _num_right(
        self, found: Sequence[Sequence[Hypothesis]], valid: Mapping[str, Sequence[str]], search: SearchConfig
    ) -> int:
        """How many sources get a valid target, if the best of what was found for each is taken."""
        said = (self.run.sides.target.decode(ranked(each, search)[0].ids) for each in found)
        return sum(text in targets for text, targets in zip(said, valid.values(), strict=True))

    def _model(self, figures: dict[str, Any]) -> Seq2Seq:
        search = replace(self.run.search, joint_weight=0.0)  # a joint-sequence model comes last
        return Seq2Seq(self.network, self.run.sides, search, task=self.run.task, figures=figures)

    def _figures(self, report: dict[str, Any]) -> dict[str, Any]:
        run = self.run
        examples = ("samples", "best", "worst")
        parts = {
            part: {name: value for name, value in report[part].items() if name not in examples}
            for part in ("validation", "test")
            if part in report
        }
        return parts | {
            "train_pairs": len(run.splits.train),
            "split": "given" if run.splits.val_was_given else "split off at random, by source",
            "val_nats_per_token": self.objective.val_nats(),
            "parameters": self.network.num_parameters(),
            "step": sum(progress.best_step for progress in self.progress),
            "total_steps": sum(progress.total_steps for progress in self.progress),
            "minutes": self.seconds["training"] / 60,
            "device": self.device.type,
            "precision": run.training.precision,
        }

    def _describe(self, train: Encoded) -> None:
        splits, sides, note = self.run.splits, self.run.sides, self.report.note
        parts = [f"{len(splits.train):,} to train on", f"{len(splits.val):,} to validate on"]
        parts += [f"{len(splits.test):,} to test on"] if splits.test else []
        note(f"pairs: {', '.join(parts)}")
        vocabs = [f"{side.kind} {side.vocab.seen_size:,} entries" for side in (sides.source, sides.target)]
        members = self.run.network.members
        note(
            f"network: {'' if members == 1 else f'an ensemble of {members}, '}"
            f"{self.network.num_parameters():,} parameters, on {self.device} in "
            f"{self.run.training.precision}; vocabulary: "
            + (f"{vocabs[0]}, shared" if sides.shared else f"{vocabs[0]} to {vocabs[1]}")
        )
        most = self.run.network.max_source
        cut = sum(len(source) == most for source in train.sources)
        if cut:
            note(f"{cut:,} training sources fill {most} entries (max_source): the middle of longer ones is not read")
        end_id = sides.target.vocab.start_id
        cut = sum(target[-1] != end_id for target in train.targets)
        if cut:
            most = self.run.network.max_target
            note(f"{cut:,} training targets have more than {most:,} entries (max_target): only these are learned")


def _some(pairs: Sequence[Pair], most: int, seed: int) -> list[Pair]:
    """If there are more, as many in their order, of sources drawn at random: each with all its targets."""
    if len(pairs) <= most:
        return list(pairs)
    counts = Counter(pair.source for pair in pairs)
    sources = list(counts)
    drawn = [sources[i] for i in np.random.default_rng(seed).permutation(len(sources)).tolist()]
    number = int((np.cumsum([counts[source] for source in drawn]) <= most).sum())
    chosen = set(drawn[: max(number, 1)])
    return [pair for pair in pairs if pair.source in chosen]


def _longest_ratio(train: Encoded) -> float:
    """Entries of a target for each of its source, at most: more than nearly all training pairs have."""
    ratios = [len(target) / len(source) for source, target in zip(train.sources, train.targets, strict=True)]
    return round(LONGER_RATIO * float(np.quantile(ratios, 0.999)), 2)


def _rarely_repeated(train: Encoded) -> int | None:
    """How many entries in a row, from two on, hardly a target repeats; None if they repeat even long rows."""
    targets = [target[1:-1].tolist() for target in train.targets[:: max(len(train.targets) // LOOKED_AT, 1)]]
    for size in range(2, LONGEST_ROW + 1):
        rows = (list(zip(*(target[i:] for i in range(size)), strict=False)) for target in targets)
        if sum(len(set(each)) < len(each) for each in rows) <= RARELY * len(targets):
            return size
    return None
