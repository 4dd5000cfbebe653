"""Training the linear model of a run: with what helps on validation texts.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from charrnn.tasks.classifier.calibration import accuracy
from charrnn.tasks.classifier.linear import LinearModel
from charrnn.tasks.classifier.objective import common_letters
from charrnn.tasks.classifier.run import Run
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.words import WordVectors
from charrnn.text.noise import add_noise
from charrnn.training.trainer import Report


class LinearTraining:
    """Texts and their classes, (N,), or with several labels a text zeros and ones, (N, C), to fit a linear model to."""

    def __init__(
        self, run: Run, train: tuple[Sequence[str], Tensor], val: tuple[Sequence[str], Tensor], report: Report
    ) -> None:
        self.run, self.report = run, report
        self.texts, self.targets = train
        self.val_texts, self.val_targets = val
        assert run.training.bptt_len is not None
        self.letters = common_letters(self.texts, run.training.bptt_len, run.training.seed)

    def fit(self) -> LinearModel:
        """The model that is best on validation texts: unknown words as they stand or as known ones, and with what words
        mean or without."""
        begin, run = time.monotonic(), self.run
        linear = self._fit(self.texts, self.targets)
        if run.linear.spelling and (spelling := self._spelling_that_helps(linear)):
            linear = self._fit(self.texts, self.targets, spelling=spelling)
        right = accuracy(linear.scores(self.val_texts), self.val_targets)
        if run.words is not None:
            informed = self._fit(self.texts, self.targets, run.words, linear.spelling)
            with_words = accuracy(informed.scores(self.val_texts), self.val_targets)
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

    def refit(self, linear: LinearModel) -> LinearModel:
        """The same kind of model, on validation texts too."""
        texts, targets = [*self.texts, *self.val_texts], torch.cat([self.targets, self.val_targets])
        return self._fit(texts, targets, linear.words, None if linear.spelling is None else Spelling.learn(texts))

    def _spelling_that_helps(self, linear: LinearModel) -> Spelling | None:
        """That of the training texts, if more validation texts are right with it, half of them with typing mistakes."""
        texts = [*self.val_texts, *self._with_mistakes(self.val_texts)]
        targets = torch.cat([self.val_targets, self.val_targets])
        spelling = Spelling.learn(self.texts)
        as_they_stand, as_meant = (
            accuracy(model.scores(texts), targets) for model in (linear, linear.spelled_as(spelling))
        )
        self.report.note(
            f"unknown words read as known ones: {100 * as_meant:.1f} % right on validation, half of it with typing "
            f"mistakes, {100 * as_they_stand:.1f} % as they stand"
        )
        return spelling if as_meant > as_they_stand else None

    def _with_mistakes(self, texts: Sequence[str]) -> list[str]:
        """The texts with typing mistakes, as the network sees them in training."""
        draw, most = np.random.default_rng(self.run.training.seed), self.run.objective.noise
        return [add_noise(text, draw.uniform(0, most), self.letters, draw) for text in texts]

    def _fit(
        self,
        texts: Sequence[str],
        targets: Tensor,
        words: WordVectors | None = None,
        spelling: Spelling | None = None,
    ) -> LinearModel:
        run = self.run
        belongs = targets.bool()
        if targets.dim() == 1:
            belongs = torch.zeros(len(texts), len(run.splits.labels), dtype=torch.bool)
            belongs.scatter_(1, targets[:, None], True)
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
