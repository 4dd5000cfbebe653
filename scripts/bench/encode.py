"""Characters and bytes to ids: our NumPy table against the tokenizers library's own encode, in one run.

    scripts/bench/encode.py FILE [--megabytes 50]

One JSON line a row: megabytes of UTF-8 a second, median of repeats.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from charrnn.text.reading import find_text
from charrnn.text.vocab import build_vocab


def rate(encode: Callable[[], object], megabytes: float, repeats: int) -> float:
    """Median megabytes a second."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        encode()
        times.append(time.perf_counter() - begin)
    return megabytes / statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--megabytes", type=float, default=50, help="text to encode, the file repeated")
    arguments = parser.parse_args()
    text = "".join(find_text([arguments.file]).chunks())
    text *= max(int(arguments.megabytes * 1e6 / len(text.encode())), 1)
    short = text[: 1 << 20]
    for kind in ("char", "byte", "subword"):
        vocab = build_vocab(kind, [short])
        ours = rate(lambda vocab=vocab: vocab.encode(short), len(short.encode()) / 1e6, 5)
        if kind != "subword":
            ours = rate(lambda vocab=vocab: vocab.encode(text), len(text.encode()) / 1e6, 5)
        library = rate(lambda vocab=vocab: vocab.tokenizer.encode(short), len(short.encode()) / 1e6, 3)
        row = {"what": f"encode {kind}", "ours_mb_s": round(ours, 1), "library_mb_s": round(library, 2)}
        print(json.dumps(row | {"torch": torch.__version__, "cores": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
