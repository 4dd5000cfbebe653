"""How long does it take to find what samples copied from a text, and in how much memory?

    scripts/bench/novelty.py FILE [--megabytes 1 10 100] [--sample-chars 5000 100000]

FILE is read again and again up to each size. The sample is made of pieces of 20 characters from anywhere in its first
million: it has more in common with the text than what a model writes, which makes it slower. One JSON line a row:
seconds from the first byte to the figures (and those of the processor, for a machine that has other work), and peak
memory of the process.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

PIECE_CHARS = 20

# Nothing large in this process: on Linux a process starts with its parent's peak memory.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 10, 100])
    parser.add_argument("--sample-chars", type=int, nargs="+", default=[5_000, 100_000])
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as processes:
        for megabytes in arguments.megabytes:
            for sample_chars in arguments.sample_chars:
                row = processes.submit(measure, arguments.file, megabytes, sample_chars).result()
                print(json.dumps(row | {"processor": platform.machine(), "cores": os.cpu_count()}), flush=True)


def measure(file: str, megabytes: float, sample_chars: int) -> dict[str, object]:
    """One row, in a process of its own."""
    from charrnn.generation.novelty import novelty
    from charrnn.text.reading import find_text

    repeats = max(round(megabytes * 1e6 / Path(file).stat().st_size), 1)
    text = "".join(find_text([file]).slice(0, 1_000_000))
    draw = random.Random(0)
    places = [draw.randrange(max(len(text) - PIECE_CHARS, 1)) for _ in range(-(-sample_chars // PIECE_CHARS))]
    sample = "".join(text[place : place + PIECE_CHARS] for place in places)[:sample_chars]
    novelty(["ab"], ["abc"])  # compiles the kernels, or loads them
    begin, processor_begin = time.perf_counter(), time.process_time()
    novelty([sample], find_text([file] * repeats).chunks())
    seconds, processor_seconds = time.perf_counter() - begin, time.process_time() - processor_begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "what": "novelty",
        "megabytes": round(repeats * Path(file).stat().st_size / 1e6, 1),
        "sample_chars": len(sample),
        "seconds": round(seconds, 2),
        "processor_s": round(processor_seconds, 2),
        "peak_memory_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1024)),
    }


if __name__ == "__main__":
    main()
