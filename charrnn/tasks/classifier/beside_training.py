"""Training the models beside the network of a run: with what helps on validation texts.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from charrnn.tasks.classifier.beside import Beside
from charrnn.tasks.classifier.calibration import accuracy
from charrnn.tasks.classifier.class_ngrams import MOST_CLASSES, ClassNGrams
from charrnn.tasks.classifier.linear import LinearModel, as_meant
from charrnn.tasks.classifier.objective import common_letters
from charrnn.tasks.classifier.run import Run
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.words import WordVectors
from charrnn.text.noise import add_noise
from charrnn.training.trainer import Report


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

    def fit(self) -> Beside:
        """The models, each as it is best on validation texts."""
        linear = self._best_linear()
        return Beside(linear, self._fit_ngrams(self.texts, self.targets, linear.spelling))

    def refit(self, beside: Beside) -> Beside:
        """The same kinds of models, on validation texts too."""
        texts, targets = [*self.texts, *self.val_texts], torch.cat([self.targets, self.val_targets])
        spelling = None if beside.linear.spelling is None else Spelling.learn(texts)
        linear = self._fit_linear(texts, targets, beside.linear.words, spelling)
        return Beside(linear, self._fit_ngrams(texts, targets, spelling))

    def _best_linear(self) -> LinearModel:
        """With unknown words as they stand or as known ones, and with what words mean or without."""
        begin, run = time.monotonic(), self.run
        linear = self._fit_linear(self.texts, self.targets)
        if run.linear.spelling and (spelling := self._spelling_that_helps(linear)):
            linear = self._fit_linear(self.texts, self.targets, spelling=spelling)
        meant = as_meant(self.val_texts, linear.spelling)
        right = accuracy(linear.scores(*meant), self.val_targets)
        if run.words is not None:
            informed = self._fit_linear(self.texts, self.targets, run.words, linear.spelling)
            with_words = accuracy(informed.scores(*meant), self.val_targets)
            self.report.note(
                f"what words mean: {100 * with_words:.1f} % right on validation with it, {100 * right:.1f} % without"
            )
            if with_words > right:
                linear, right = informed, with_words
        self.report.note(
            f"linear model: {linear.weight.numel():,} weights in {time.monotonic() - begin:.1f} s, "
            f"{100 * right:.1f} % right on validation"
        )
        return linear

    def _spelling_that_helps(self, linear: LinearModel) -> Spelling | None:
        """That of the training texts, if more validation texts are right with it, half of them with typing mistakes."""
        texts = [*self.val_texts, *self._with_mistakes(self.val_texts)]
        targets = torch.cat([self.val_targets, self.val_targets])
        spelling = Spelling.learn(self.texts)
        as_they_stand, right = (accuracy(linear.scores(*as_meant(texts, own)), targets) for own in (None, spelling))
        self.report.note(
            f"unknown words read as known ones: {100 * right:.1f} % right on validation, half of it with typing "
            f"mistakes, {100 * as_they_stand:.1f} % as they stand"
        )
        return spelling if right > as_they_stand else None

    def _with_mistakes(self, texts: Sequence[str]) -> list[str]:
        """The texts with typing mistakes, as the network sees them in training."""
        draw, most = np.random.default_rng(self.run.training.seed), self.run.objective.noise
        return [add_noise(text, draw.uniform(0, most), self.letters, draw) for text in texts]

    def _fit_linear(
        self,
        texts: Sequence[str],
        targets: Tensor,
        words: WordVectors | None = None,
        spelling: Spelling | None = None,
    ) -> LinearModel:
        run = self.run
        belongs = targets.bool() if targets.dim() > 1 else _one_hot(targets, len(run.splits.labels))
        copies = 0 if spelling is None else run.linear.noisy_copies
        return LinearModel.fit(
            [*texts, *self._with_mistakes([*texts] * copies)],
            belongs.repeat(1 + copies, 1).numpy(),
            run.linear,
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


def _one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Classes (N,) → (N, C) true or false."""
    return torch.zeros(len(targets), num_classes, dtype=torch.bool).scatter_(1, targets[:, None], True)
