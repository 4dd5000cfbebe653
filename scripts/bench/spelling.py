"""How many words of texts with typing mistakes the classifier's spelling mends.

    scripts/bench/spelling.py banking77/train.tsv movie_reviews/all.tsv
    scripts/bench/spelling.py banking77/train.tsv --unlabelled dictionaries.txt

A tenth of each data set, a file or folder of labelled texts with the label's column after a colon where it has several,
is split off; known are the words of the rest, and of text without labels. Of the tenth, a share of the characters is
replaced, dropped or swapped. One JSON line a data set and share: words wrong, missing and too many, in per cent of
those that were meant, as they are typed and as they are read; how many texts are read in a second, on all cores.
"""

import argparse
import json
import time

import numpy as np
from classify import parts

from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.tokens import code_points, words_of
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.seq2seq.metrics import edits
from charrnn.text.noise import add_noise
from charrnn.text.reading import find_text

SHARES = (0.0, 0.03, 0.1)


def wrong(meant: list[str], texts: list[str]) -> float:
    """Words that differ, in per cent."""
    pairs = [(words_of(one), words_of(other)) for one, other in zip(meant, texts, strict=True)]
    return round(100 * sum(edits(other, one) for one, other in pairs) / sum(len(one) for one, _ in pairs), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FILE[:COLUMN]")
    parser.add_argument("--unlabelled", metavar="FILE")
    arguments = parser.parse_args()
    other = None
    if arguments.unlabelled:
        other = WordCounts.of(list(find_text([arguments.unlabelled]).lines()))
    for data in arguments.data:
        train, held_out = ([example.text for example in part] for part in parts(data, None))
        counts = WordCounts.of(train)
        spelling = Spelling(counts if other is None else counts.beside(other))
        spelling.corrected(held_out)  # compiles
        letters, draw = "".join(train), np.random.default_rng(0)
        for share in SHARES:
            typed = [add_noise(text, share, letters, draw) for text in held_out]
            points = code_points(typed)
            begin = time.perf_counter()
            spelling.correct(*points)
            speed = len(typed) / (time.perf_counter() - begin)
            row = {"data": data, "share": share, "typed": wrong(held_out, typed)}
            row |= {"read": wrong(held_out, spelling.corrected(typed)), "texts_per_s": round(speed)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
