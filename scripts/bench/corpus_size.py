"""Does training get slower, or take more memory, with the size of the text?

    scripts/bench/corpus_size.py FILE [--megabytes 1 100 2000] [--steps 200] [--options "--size tiny"]

FILE is repeated to each size in a temporary folder (--folder says where), and `charrnn train` makes the same number of
steps on it, twice: with nothing in its cache, and again with the text already encoded. One JSON line a run:
characters a second of the steps alone, seconds before training (reading, vocabulary, encoding)
and after its validation (saving, the final score), and peak memory of the process, which counts the pages of the
encoded text that it has mapped. Needs twice the largest size in disk space, and gives it back.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# No torch here: on Linux a process starts with its parent's peak memory, which must stay small.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 100, 2000])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--options", default="--size tiny", help="more options of `charrnn train`")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    arguments = parser.parse_args()
    options = ["--steps", str(arguments.steps), "--set", "num_validations=1", *shlex.split(arguments.options)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        warm_up = Path(folder) / "warm-up"
        train(arguments.file, warm_up, ["--steps", "2", *shlex.split(arguments.options)])  # compiles kernels
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            text = Path(folder) / "text.txt"
            write_text(arguments.file, text, int(megabytes * 1e6))
            for cache in ("empty", "filled"):
                row = {"what": "train", "options": arguments.options, "megabytes": megabytes, "cache": cache}
                row |= train(text, Path(folder) / cache, options)
                print(json.dumps(row | {"processor": platform.machine(), "cores": os.cpu_count()}), flush=True)


def write_text(source: Path, path: Path, size: int) -> None:
    """`source` repeated to about `size` bytes; no character is cut."""
    data = source.read_bytes()
    with path.open("wb") as file:
        for _ in range(size // len(data)):
            file.write(data)
        file.write(data[: size % len(data)].decode("utf-8", errors="ignore").encode())


def train(text: Path, model: Path, options: list[str]) -> dict[str, object]:
    """Figures of one run, with a cache beside the text. What it writes first and last tells when it was there."""
    command = [sys.executable, "-m", "charrnn", "train", str(text), "-o", str(model), "-q", *options]
    environment = os.environ | {"CHARRNN_CACHE": str(model.parent / "cache")}
    begin = time.time()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    end = time.time()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {shlex.join(command)}")
    training = model / "training"
    started, validated = (path.stat().st_mtime for path in (training / "run.json", training / "metrics.jsonl"))
    steps = [json.loads(line) for line in (training / "metrics.jsonl").read_text().splitlines() if "train_loss" in line]
    figures = json.loads((model / "config.json").read_text())["training"]
    chars_per_step = figures["train_chars"] * figures["passes"] / figures["step"]
    first, last = steps[0], steps[-1]
    return {
        "chars_per_s": round(chars_per_step * (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])),
        "before_s": round(started - begin, 2),
        "after_s": round(end - validated, 2),
        "wall_s": round(end - begin, 2),
        "peak_memory_mb": round(usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1024)),
    }


if __name__ == "__main__":
    main()
