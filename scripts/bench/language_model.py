"""Train on one text in several ways, one after the other, and compare what comes out in bits per byte.

    scripts/bench/language_model.py FILE --minutes 3 --run "" --run "--cell lstm" --run "--vocab subword"

Each --run holds options of `charrnn train`. One JSON line a run: the full-pass validation figures of the default
split (each character scored once, with carried state), the steps made, and the wall time of the whole command.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--run", action="append", required=True, metavar="OPTIONS")
    parser.add_argument("--test", help="also score this text with the finished model")
    arguments = parser.parse_args()
    for options in arguments.run:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            charrnn = [sys.executable, "-m", "charrnn"]
            command = [*charrnn, "train", arguments.file, "-o", str(model), "--minutes", str(arguments.minutes), "-q"]
            begin = time.perf_counter()
            subprocess.run([*command, *shlex.split(options)], check=True)
            wall = time.perf_counter() - begin
            training = json.loads((model / "config.json").read_text())["training"]
            row = {
                "what": f"train {options}".strip(),
                "minutes": arguments.minutes,
                "wall_s": round(wall, 1),
                "parameters": training["parameters"],
                "steps": training["total_steps"],
                "best_step": training["step"],
                "passes": round(training["passes"], 2),
                **{f"val_{name}": value for name, value in training["validation"].items()},
            }
            if arguments.test:
                scored = [*charrnn, "evaluate", str(model), arguments.test, "--json"]
                output = subprocess.run(scored, check=True, capture_output=True, text=True).stdout
                row |= {f"test_{name}": value for name, value in json.loads(output).items()}
            print(json.dumps(row | {"torch": torch.__version__, "cores": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
