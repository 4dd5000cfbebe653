"""A classifier in the conventions of scikit-learn, which it works with but does not need."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import UsageError
from charrnn.settings import nearest
from charrnn.tasks.classifier.data import Example, prepare
from charrnn.tasks.classifier.model import THRESHOLD, Classifier
from charrnn.tasks.classifier.training import configs, fit_classifier
from charrnn.text.reading import find_text
from charrnn.training.trainer import Report

Array = npt.NDArray[Any]
SETTINGS = ("minutes", "steps", "epochs", "balanced", "seed", "device")  # parameters that are settings of that name


class TextClassifier:
    """`fit(texts, labels)`, `predict(texts)`, `predict_proba(texts)`.

    Labels are one value a text, or a matrix (N, C) of zeros and ones for any number of labels a text. `classes_`
    holds them, in the order of the columns of `predict_proba`. The trained model is `model_`.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        balanced: bool = False,
        model: str | Path | None = None,
        unlabelled: str | None = None,
        seed: int = 0,
        device: str = "auto",
        settings: dict[str, Any] | None = None,
    ) -> None:
        """`model`: a language model to start from; `unlabelled`: a file of text without labels, as
        `train_classifier` takes it; `settings`: any others by name."""
        self.minutes = minutes
        self.steps = steps
        self.epochs = epochs
        self.balanced = balanced
        self.model = model
        self.unlabelled = unlabelled
        self.seed = seed
        self.device = device
        self.settings = settings

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments it was made with."""
        return {name: getattr(self, name) for name in _parameters()}

    def set_params(self, **parameters: Any) -> TextClassifier:
        """Change them."""
        for name, value in parameters.items():
            if name not in _parameters():
                raise ValueError(f"no parameter {name!r}{nearest(name, _parameters())}")
            setattr(self, name, value)
        return self

    def fit(self, X: Iterable[str], y: Any, *, report: Report | None = None) -> TextClassifier:
        """Train on texts X (N,) and labels y (N,) or (N, C). Raises UsageError if no classifier can be made of them."""
        texts, given = _texts(X), np.asarray(y)
        if len(given) != len(texts):
            raise UsageError(f"{len(texts):,} texts, but {len(given):,} labels")
        multi_label = given.ndim == 2
        if given.ndim > 2 or (multi_label and not np.isin(given, (0, 1)).all()):
            raise UsageError("labels are one value a text (N,), or a matrix (N, C) of zeros and ones")
        twice = [name for name in self.settings or {} if name in _parameters()]
        if twice:
            raise UsageError(f"{', '.join(twice)}: an argument of TextClassifier, so leave it out of settings")
        self.classes_ = np.arange(given.shape[1]) if multi_label else np.unique(given)
        # The name of a class is its number with leading zeros, so that names sort as classes do.
        names = [f"{i:09}" for i in range(len(self.classes_))]
        if multi_label:
            labels = [tuple(names[i] for i in np.flatnonzero(row)) for row in given]
        else:
            labels = [(names[i],) for i in np.searchsorted(self.classes_, given)]
        report = report or Report()
        examples = [Example(text.strip(), own) for text, own in zip(texts, labels, strict=True)]
        own_settings = {name: getattr(self, name) for name in SETTINGS if getattr(self, name) is not None}
        parts = configs((self.settings or {}) | own_settings | {"multi_label": multi_label})
        splits = prepare(examples, None, None, parts.pop("data"), self.seed, report.note)
        lines = None if self.unlabelled is None else find_text([self.unlabelled]).lines()
        with tempfile.TemporaryDirectory() as folder:
            self.model_ = fit_classifier(
                splits, Path(folder), model=self.model, unlabelled=lines, report=report, **parts
            )
        self._columns = [int(label) for label in self.model_.labels]
        return self

    def predict_proba(self, X: Iterable[str]) -> Array:
        """Probabilities (N, C) of all classes."""
        found = self._fitted().probabilities(_texts(X)).double()
        columns = np.zeros((len(found), len(self.classes_)))
        columns[:, self._columns] = (found if self.model_.multi_label else found / found.sum(1, keepdim=True)).numpy()
        return columns

    def predict(self, X: Iterable[str]) -> Array:
        """The likeliest class of each text (N,), or zeros and ones (N, C)."""
        found = self.predict_proba(X)
        if self.model_.multi_label:
            return (found >= THRESHOLD).astype(int)
        return np.asarray(self.classes_[found.argmax(1)])

    def score(self, X: Iterable[str], y: Any) -> float:
        """Share of texts whose class, or whose very set of classes, is found."""
        right = self.predict(X) == np.asarray(y)
        return float((right.all(1) if right.ndim == 2 else right).mean())

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks to know, and only it asks."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True, multi_output=True),
            classifier_tags=ClassifierTags(multi_label=True),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __repr__(self) -> str:
        given = {name: value for name, value in self.get_params().items() if value != _parameters()[name].default}
        return f"TextClassifier({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def _fitted(self) -> Classifier:
        if not hasattr(self, "model_"):
            raise UsageError("this TextClassifier is not fitted yet: call fit first")
        return self.model_


def _parameters() -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(TextClassifier).parameters)


def _texts(X: Iterable[str]) -> Sequence[str]:
    if isinstance(X, str):
        raise UsageError("X must be a list of texts, not one text")
    return [str(text) for text in X]
