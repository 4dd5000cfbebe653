"""Classify data sets with charrnn and with what people use instead, one after the other.

    scripts/bench/classify.py trec/train.tsv:coarse banking77/train.tsv
    scripts/bench/classify.py trec/train.tsv:coarse --test trec/test.tsv

Each data set is a file or folder of labelled texts, with the label's column after a colon where it has several. By
default a tenth is split off, and all are measured on it: for choosing settings. --test names, for each data set in
turn, the file to measure on instead; "split" in its place is a tenth split off as for the figures of sets that have
no test part (duplicates dropped, shuffled by random.Random(0)); nothing of it is seen in training.

The others are a linear support vector machine over TF-IDF of words and characters (scikit-learn) and fastText, its
settings chosen on a validation part of the training texts (`pip install scikit-learn fasttext-community`).

--noise also measures on the same texts with a tenth of their characters replaced, dropped or swapped: the mean of
several draws, the same for all programs. One JSON line a data set and program.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn.api import train_classifier
from charrnn.settings import parse_pair
from charrnn.tasks.classifier.data import DataConfig, Example, read_examples, stratified_split
from charrnn.text.noise import add_noise

NOISE, DRAWS = 0.1, 5
FASTTEXT_GRID = [
    {"epoch": epoch, "lr": lr, "wordNgrams": words, "minn": minn, "maxn": maxn}
    for epoch in (10, 30)
    for lr in (0.2, 0.7)
    for words, minn, maxn in ((2, 0, 0), (2, 2, 5), (1, 1, 5))
]

Predict = Callable[[Sequence[str]], Sequence[str]]


def charrnn(train: list[Example], arguments: argparse.Namespace) -> Predict:
    settings: dict[str, Any] = dict(map(parse_pair, arguments.set))
    if arguments.minutes is not None:
        settings["minutes"] = arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        path.write_text("".join(json.dumps({"text": e.text, "label": e.labels[0]}) + "\n" for e in train))
        model = train_classifier(path, Path(folder) / "model", unlabelled=arguments.unlabelled, **settings)
    return lambda texts: [str(found.label) for found in model.classify(texts)]


def tfidf_svm(train: list[Example], arguments: argparse.Namespace) -> Predict:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, characters), LinearSVC())
    model.fit([example.text for example in train], [example.labels[0] for example in train])
    return lambda texts: list(model.predict(texts))


def fasttext(train: list[Example], arguments: argparse.Namespace) -> Predict:
    import fasttext

    fasttext.FastText.eprint = lambda *words: None
    names = {label: f"__label__{i}" for i, label in enumerate(sorted({e.labels[0] for e in train}))}
    labels = {name: label for label, name in names.items()}
    chosen, held_out = split(train, 0.1)

    def fit(examples: list[Example], options: dict[str, Any]) -> Predict:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.writelines(f"{names[e.labels[0]]} {spaced(e.text)}\n" for e in examples)
            file.flush()
            model = fasttext.train_supervised(file.name, verbose=0, thread=os.cpu_count() or 1, **options)
        return lambda texts: [labels[found[0]] for found in model.predict(list(map(spaced, texts)))[0]]

    def accuracy(options: dict[str, Any]) -> float:
        return figures(held_out, fit(chosen, options)([e.text for e in held_out]))["accuracy"]

    return fit(train, max(FASTTEXT_GRID, key=accuracy))


PROGRAMS = {"charrnn": charrnn, "tfidf_svm": tfidf_svm, "fasttext": fasttext}


def spaced(text: str) -> str:
    """A text on one line, in small letters, as fastText likes it."""
    return " ".join(text.lower().split())


def split(examples: list[Example], fraction: float) -> tuple[list[Example], list[Example]]:
    return stratified_split(examples, Counter(e.labels[0] for e in examples), fraction, seed=0)


def figures(given: list[Example], said: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro F1 in per cent."""
    pairs = Counter((example.labels[0], label) for example, label in zip(given, said, strict=True))
    labels = {label for pair in pairs for label in pair}
    there, answered = Counter(), Counter()  # type: ignore[var-annotated]
    for (label, answer), count in pairs.items():
        there[label] += count
        answered[answer] += count
    f1 = [2 * pairs[label, label] / (there[label] + answered[label]) for label in labels]
    right = sum(pairs[label, label] for label in labels)
    return {"accuracy": round(100 * right / len(given), 2), "macro_f1": round(100 * sum(f1) / len(f1), 2)}


def parts(data: str, test: str | None) -> tuple[list[Example], list[Example]]:
    """What is trained on, and what is measured on."""
    path, _, column = data.partition(":")
    config = DataConfig(label_column=column or None)
    examples = read_examples(path, config, "utf-8", lambda note: None)
    if test == "split":
        examples = list(dict.fromkeys(examples))
        random.Random(0).shuffle(examples)
        cut = int(0.9 * len(examples))
        return examples[:cut], examples[cut:]
    if test is None:
        return split(examples, 0.1)
    return examples, read_examples(test, config, "utf-8", lambda note: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FILE[:COLUMN]")
    parser.add_argument("--test", nargs="+", metavar="FILE")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--minutes", type=float, help="of charrnn (default: what it chooses)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of charrnn")
    parser.add_argument("--unlabelled", metavar="FILE", help="any text, for charrnn to learn from too")
    parser.add_argument("--noise", action="store_true")
    arguments = parser.parse_args()
    if arguments.test and len(arguments.test) != len(arguments.data):
        parser.error("--test takes one file for each data set")
    for data, test in zip(arguments.data, arguments.test or [None] * len(arguments.data), strict=True):
        # What is measured on when settings are chosen was split off from the training texts: no test text is read.
        train, held_out = parts(data, test)
        texts = [example.text for example in held_out]
        letters, draw = "".join(example.text for example in train), np.random.default_rng(0)
        noisy = [[add_noise(text, NOISE, letters, draw) for text in texts] for _ in range(DRAWS)]
        for name in arguments.programs:
            begin = time.perf_counter()
            predict = PROGRAMS[name](train, arguments)
            train_s = time.perf_counter() - begin
            begin = time.perf_counter()
            row: dict[str, Any] = {"data": data, "on": test or "validation", "program": name}
            row |= figures(held_out, predict(texts))
            row |= {"train_s": round(train_s, 1), "texts_per_s": round(len(texts) / (time.perf_counter() - begin))}
            if arguments.noise:
                found = [figures(held_out, predict(some)) for some in noisy]
                row |= {f"noisy_{key}": round(sum(each[key] for each in found) / DRAWS, 2) for key in found[0]}
            print(json.dumps(row | {"torch": torch.__version__, "cores": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
