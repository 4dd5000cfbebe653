"""Training the models beside the network of a run: with what helps on validation texts.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from charrnn.tasks.classifier.beside import Beside
from charrnn.tasks.classifier.calibration import accuracy, calibrated_nats, fit_blend
from charrnn.tasks.classifier.class_ngrams import MOST_CLASSES, ClassNGrams
from charrnn.tasks.classifier.linear import LinearConfig, LinearModel, as_meant
from charrnn.tasks.classifier.network import are_single_words
from charrnn.tasks.classifier.objective import common_letters
from charrnn.tasks.classifier.run import Run
from charrnn.tasks.classifier.self_training import surely_labelled
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.classifier.words import WordVectors
from charrnn.text.noise import add_noise
from charrnn.training.trainer import Report

NOISY_TEXTS = 1 << 16  # copies with typing mistakes of all texts together, at most, or one of each
Labelled = tuple[Sequence[str], Tensor]  # texts and their classes
Read = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # texts as `as_meant` gives them


class BesideTraining:
    """Texts and their classes, (N,), or with several labels a text zeros and ones, (N, C), to fit the models to."""

    def __init__(
        self, run: Run, train: tuple[Sequence[str], Tensor], val: tuple[Sequence[str], Tensor], report: Report
    ) -> None:
        self.run, self.report = run, report
        self.texts, self.targets = train
        self.val_texts, self.val_targets = val
        assert run.training.bptt_len is not None
        self.letters = common_letters(self.texts, run.training.bptt_len, run.training.seed)
        self.choosing = [*self.val_texts, *self._with_mistakes(self.val_texts)]  # what decides what is used
        self.choosing_targets = torch.cat([self.val_targets, self.val_targets])
        # Texts without labels that each model learns from, with labels that both together gave them.
        self.linear_heard: Labelled = [], self.targets[:0]
        self.ngrams_heard: Labelled = self.linear_heard

    def fit(self) -> Beside:
        """The models, each as it is best on validation texts."""
        linear = self._best_linear()
        beside = Beside(linear, self._fit_ngrams(self.texts, self.targets, linear.spelling))
        return self._self_trained(beside) if self.run.unlabelled else beside

    @property
    def heard(self) -> Sequence[str]:
        """Texts without labels that a model learned from."""
        return self.linear_heard[0] or self.ngrams_heard[0]

    def refit(self, beside: Beside) -> Beside:
        """The same kinds of models, on validation texts too."""
        labelled = [*self.texts, *self.val_texts], torch.cat([self.targets, self.val_targets])
        for_linear, for_ngrams = (_joined(labelled, sure) for sure in (self.linear_heard, self.ngrams_heard))
        spelling = None if beside.linear.spelling is None else self._spelling(for_linear[0])
        read = self._with_copies(for_linear[0], spelling)
        linear = self._fit_linear(read, for_linear[1], beside.linear.config, spelling, beside.linear.words)
        return Beside(linear, self._fit_ngrams(*for_ngrams, spelling))

    def _self_trained(self, beside: Beside) -> Beside:
        """Each model with the texts without labels that they are sure of together, if validation texts are likelier
        with it."""
        begin, labelled = time.monotonic(), (self.texts, self.targets)
        sure = self._surely_labelled(beside)
        self.report.note(f"text without labels: {len(sure[0]):,} texts of it have labels that the models are sure of")
        more, linear = _joined(labelled, sure), beside.linear
        spelling = None if linear.spelling is None else self._spelling(more[0])
        read = self._with_copies(more[0], spelling)
        other = self._fit_linear(read, more[1], linear.config, spelling, linear.words)
        if self._is_likelier("linear model", self._nats(other, spelling), self._nats(linear, linear.spelling)):
            linear, self.linear_heard = other, sure
        read = as_meant(self.choosing, linear.spelling)
        ngrams, others = (self._fit_ngrams(*each, linear.spelling) for each in (labelled, more))
        if ngrams and others:
            lost, with_it = (calibrated_nats(each.scores(*read), self.choosing_targets) for each in (ngrams, others))
            if self._is_likelier("n-gram models", with_it, lost):
                ngrams, self.ngrams_heard = others, sure
        self.report.note(f"  in {time.monotonic() - begin:.1f} s")
        return Beside(linear, ngrams)

    def _surely_labelled(self, beside: Beside) -> Labelled:
        scores = beside.scores(self.val_texts)
        blend = fit_blend([torch.zeros_like(scores[0]), *scores], self.val_targets)  # the network says nothing yet

        def probabilities(texts: Sequence[str]) -> Tensor:
            scores = beside.scores(texts)
            return blend.logits(torch.zeros_like(scores[0]), *scores).softmax(1)

        most = self.run.linear.self_training * self.targets.bincount(minlength=len(self.run.splits.labels))
        texts, classes = surely_labelled(
            self.run.unlabelled,
            probabilities,
            most.long().tolist(),
            words=are_single_words(self.texts),
            known={text.lower() for text in self.texts},
        )
        return texts, torch.tensor(classes, dtype=torch.long)

    def _is_likelier(self, model: str, with_it: float, lost: float) -> bool:
        self.report.note(f"  {model}: {with_it:.4f} nats a validation text with them, {lost:.4f} without")
        return with_it < lost

    def _best_linear(self) -> LinearModel:
        """With unknown words as they stand or as known ones, and with each of the richer kinds of features or without:
        whichever makes validation texts likelier, as they are and with typing mistakes."""
        begin, run = time.monotonic(), self.run
        parts: dict[str, Any] = {"config": replace(run.linear, openings=False)}
        read = as_meant(self.texts, None)
        linear = self._fit_linear(read, self.targets, **parts)
        if run.linear.spelling and (spelling := self._spelling_that_helps(linear)):
            parts["spelling"] = spelling
            read = self._with_copies(self.texts, spelling)
            linear = self._fit_linear(read, self.targets, **parts)
        lost = self._nats(linear, linear.spelling)
        richer: dict[str, dict[str, Any]] = {}
        if run.linear.openings and not are_single_words(self.texts):
            richer["pairs with the first words"] = {"config": run.linear}
        if run.words is not None:
            richer["what words mean"] = {"words": run.words}
        for name, more in richer.items():
            other = self._fit_linear(read, self.targets, **parts | more)
            with_it = self._nats(other, other.spelling)
            self.report.note(f"{name}: {with_it:.4f} nats a validation text with it, {lost:.4f} without")
            if with_it < lost:
                linear, lost, parts = other, with_it, parts | more
        right = accuracy(linear.scores(*as_meant(self.val_texts, linear.spelling)), self.val_targets)
        self.report.note(
            f"linear model: {linear.weight.numel():,} weights in {time.monotonic() - begin:.1f} s, "
            f"{100 * right:.1f} % right on validation"
        )
        return linear

    def _spelling_that_helps(self, linear: LinearModel) -> Spelling | None:
        """That of the training texts, if validation texts are likelier with it."""
        spelling = self._spelling(self.texts)
        with_it, lost = self._nats(linear, spelling), self._nats(linear, None)
        self.report.note(
            f"unknown words read as known ones: {with_it:.4f} nats a validation text with it, {lost:.4f} without, "
            "half of them with typing mistakes"
        )
        return spelling if with_it < lost else None

    def _spelling(self, texts: Sequence[str]) -> Spelling:
        counts, beside = WordCounts.of(texts), self.run.known_words
        return Spelling(counts if beside is None else counts.beside(beside))

    def _nats(self, linear: LinearModel, spelling: Spelling | None) -> float:
        """Of a validation text, half of them with typing mistakes, at the best temperature."""
        scores = linear.scores(*as_meant(self.choosing, spelling))
        return calibrated_nats(scores, self.choosing_targets)

    def _with_mistakes(self, texts: Sequence[str]) -> list[str]:
        """The texts with typing mistakes, as the network sees them in training."""
        draw, most = np.random.default_rng(self.run.training.seed), self.run.objective.noise
        return [add_noise(text, draw.uniform(0, most), self.letters, draw) for text in texts]

    def _with_copies(self, texts: Sequence[str], spelling: Spelling | None) -> Read:
        """Texts as they were meant, and behind them, where unknown words are respelled, copies with typing mistakes."""
        most = 0 if spelling is None else max(NOISY_TEXTS // len(texts), 1)
        copies = [*texts] * min(self.run.linear.noisy_copies, most)
        return as_meant([*texts, *self._with_mistakes(copies)], spelling)

    def _fit_linear(
        self,
        read: Read,
        targets: Tensor,
        config: LinearConfig,
        spelling: Spelling | None = None,
        words: WordVectors | None = None,
    ) -> LinearModel:
        run = self.run
        belongs = targets.bool() if targets.dim() > 1 else _one_hot(targets, len(run.splits.labels))
        return LinearModel.fit(
            *read,
            belongs.numpy(),
            config,
            words=words,
            spelling=spelling,
            balanced=run.objective.balanced,
            seed=run.training.seed,
        )

    def _fit_ngrams(self, texts: Sequence[str], targets: Tensor, spelling: Spelling | None) -> ClassNGrams | None:
        order, num_classes = self.run.linear.class_chars, len(self.run.splits.labels)
        if not order or targets.dim() > 1 or num_classes > MOST_CLASSES:
            return None
        belongs, balanced = _one_hot(targets, num_classes).numpy(), self.run.objective.balanced
        return ClassNGrams.fit(*as_meant(texts, spelling), belongs, order, balanced=balanced)


def _joined(labelled: Labelled, more: Labelled) -> Labelled:
    return [*labelled[0], *more[0]], torch.cat([labelled[1], more[1]])


def _one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Classes (N,) → (N, C) true or false."""
    return torch.zeros(len(targets), num_classes, dtype=torch.bool).scatter_(1, targets[:, None], True)
